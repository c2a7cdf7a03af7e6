"""The HTML of the model page: controls, escaping, languages."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from PIL import Image
from tests.support.web_app import CHURN, DIGITS, RENT, prediction

from relevo.domain import ids
from relevo.domain.signature import ImageInput
from relevo.errors import MissingFieldError, OverloadedError, RateLimitError
from relevo.i18n import catalog
from relevo.runtime.image import ImageLimits
from relevo.serve.service import ModelState
from relevo.web.pages import model_page, thumbnails

if TYPE_CHECKING:
    import httpx
    from tests.support.web_app import World

    from relevo.domain.manifest import Manifest


def state_of(manifest: Manifest) -> ModelState:
    return ModelState(name=manifest.name, version=3, manifest=manifest, ready=True, reason="")


def visit(*manifests: Manifest, language: str = "en") -> model_page.PageContext:
    return model_page.PageContext(
        language=language,
        address="http://127.0.0.1:8000",
        request_id="r-1",
        models=[state_of(manifest) for manifest in manifests],
    )


def answer(**changes: Any) -> dict[str, Any]:
    shares = [0.7, *[0.3 / 9] * 9]
    plain = {"query_id": "q", "model": "digits", "version": 3, "execution_time": "0.002 s"}
    told = {"prediction": "0", "class": 0, "confidence": 0.7, "probabilities": shares, "uncertain": False}
    return {**plain, **told, **changes}


def test_no_page_text_is_missing_or_left_over() -> None:
    """Both languages have the same page texts, and templates use exactly these."""
    folder = files("relevo.web").joinpath("templates")
    used = {key for file in folder.iterdir() for key in re.findall(r"\bt\.([a-z_]+)", file.read_text(encoding="utf-8"))}
    for language in catalog.LANGUAGES:
        assert catalog.texts("page", language).keys() == used, language
        assert all(text.strip() for text in catalog.texts("page", language).values())


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("manifest", [DIGITS, CHURN, RENT], ids=lambda it: it.name)
def test_no_text_of_a_page_comes_from_the_script(manifest: Manifest, language: str) -> None:
    """The page declares its language, and all texts of the script come from the page."""
    html = model_page.model_page(state_of(manifest), visit(manifest, language=language)).decode()
    assert f'<html lang="{language}">' in html
    assert catalog.texts("page", language)["offline"] in html


def test_a_form_is_made_from_the_signature(client: httpx.Client) -> None:
    """Each field has its control: range, step and unit for numbers, lists for categories, yes/no for booleans."""
    html = client.get("/?model=churn").text
    assert re.search(r'name="tenure" type="number"[^>]*step="1"[^>]*min="0" max="120" required', html)
    assert re.search(r'name="monthlycharges" type="number"[^>]*step="any"[^>]*placeholder="79.85"', html)
    assert re.search(r'<select id="f3" name="contract"[^>]*required>\s*<option value="">', html)
    assert "<option>two_year</option>" in html
    assert re.search(r'name="city" type="text"(?![^>]*required)', html)
    assert re.search(r'name="paperless"[^>]*>\s*<option value="">[^<]*</option>\s*<option value="true">Yes', html)
    assert "months" in html


def test_every_control_has_a_label(client: httpx.Client) -> None:
    """Each control of the form has a label."""
    html = client.get("/?model=churn").text
    controls = set(re.findall(r'<(?:input|select)[^>]* id="([^"]+)"', html))
    assert controls == set(re.findall(r'<label for="([^"]+)"', html))
    assert len(controls) == 6


def test_an_example_fills_the_form_without_a_script(client: httpx.Client) -> None:
    """The example button links to the filled form."""
    html = client.get("/?model=churn&example=1").text
    assert 'value="41"' in html
    assert "<option selected>month-to-month</option>" in html
    assert '<option value="false" selected>' in html


@pytest.mark.parametrize(("side", "mode", "offered"), [(28, "L", True), (64, "L", True), (65, "L", False), (28, "RGB", False)])
def test_the_pad_is_for_small_grey_pictures(side: int, mode: Any, offered: bool) -> None:  # noqa: FBT001 - a column of the table
    """The drawing pad is offered for grey images of up to 64 pixels a side."""
    manifest = msgspec.structs.replace(DIGITS, input=ImageInput(width=side, height=side, mode=mode))
    assert (b'id="pad"' in model_page.model_page(state_of(manifest), visit(manifest))) is offered


def test_labels_and_texts_are_escaped() -> None:
    """Labels, description and units of a package are HTML-escaped."""
    evil = "<script>alert(1)</script>"
    manifest = msgspec.structs.replace(
        DIGITS, description=evil, output=msgspec.structs.replace(DIGITS.output, labels=(evil, "b", *"cdefghij"))
    )
    html = model_page.render_result(state_of(manifest), answer(prediction=evil), visit(manifest)).decode()
    assert evil not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 3


def test_the_curl_line_cannot_break_out_of_its_quotes() -> None:
    """Record values are quoted for the shell, and an invalid Host is not repeated."""
    line = model_page.curl_command(state_of(CHURN), visit(CHURN), record={"city": "L'Hospitalet; rm -rf"})
    assert line.endswith("""-d '{"city": "L'"'"'Hospitalet; rm -rf"}' http://127.0.0.1:8000/models/churn/predict""")


def test_the_curl_line_has_a_key_where_there_are_users() -> None:
    """For logged-in users the curl command uses an API key from the environment, not the session."""
    of_nobody = model_page.curl_command(state_of(DIGITS), visit(DIGITS))
    line = model_page.curl_command(state_of(DIGITS), replace(visit(DIGITS), signed_in="ana"))
    assert "Authorization" not in of_nobody
    assert """ -H "Authorization: Bearer $RELEVO_KEY" """ in line


def test_a_strange_host_is_not_repeated(client: httpx.Client) -> None:
    """An invalid Host is rejected and not echoed."""
    response = client.post("/submit?model=churn", data={"tenure": "41"}, headers={"Host": "a'; rm -rf ~"})
    assert response.json()["code"] == "host_not_allowed"
    assert "rm -rf" not in response.text


def test_every_class_has_its_bar() -> None:
    """All classes are shown, the most probable first, and the predicted one is marked."""
    html = model_page.render_result(state_of(DIGITS), answer(), visit(DIGITS)).decode()
    assert re.findall(r'<span class="name">(.)</span>', html) == list("0123456789")
    assert html.count('<li class="chosen">') == 1
    assert "70.0%" in html


def test_uncertain_is_shown_as_such() -> None:
    """An uncertain prediction is announced in text and colour, and asks for the label."""
    html = model_page.render_result(state_of(DIGITS), answer(uncertain=True), visit(DIGITS, language="es")).decode()
    assert 'class="kicker badge">Dudoso<' in html
    assert "¿Cuál es?" in html
    assert "70,0\N{NO-BREAK SPACE}%" in html
    assert 'data-spoken="Dudoso' in html


def test_an_unrecorded_answer_takes_no_feedback() -> None:
    """Without a recorded prediction, the page says so and has no feedback form."""
    html = model_page.render_result(state_of(DIGITS), answer(recorded=False), visit(DIGITS)).decode()
    assert "could not be recorded" in html
    assert "/feedback" not in html


def test_a_refusal_keeps_what_was_typed() -> None:
    """An error page has the status, the message and the form values."""
    error = MissingFieldError(field="tenure", expected="a whole number")
    status, headers, body = model_page.render_refusal(error, state_of(CHURN), visit(CHURN), record={"monthlycharges": 12.5})
    assert (status, dict(headers)[b"content-type"]) == (422, b"text/html; charset=utf-8")
    assert b'value="12.5"' in body
    assert b"&#39;tenure&#39; is missing" in body


def test_a_full_server_says_when_to_come_back_in_html_too() -> None:
    """A 503 page has Retry-After, as JSON does."""
    status, headers, _ = model_page.render_refusal(OverloadedError(limit=1), None, visit())
    assert status == 503
    assert b"retry-after" in dict(headers)
    told = RateLimitError(retry_after=37)
    assert dict(model_page.render_refusal(told, None, visit())[1])[b"retry-after"] == b"37"


def test_language_is_remembered(client: httpx.Client) -> None:
    """The language in the URL overrides the browser's and applies to the next page."""
    assert '<html lang="en">' in client.get("/").text
    assert '<html lang="es">' in client.get("/", headers={"Accept-Language": "es-ES,es;q=0.9"}).text
    chosen = client.get("/?lang=es")
    assert "HttpOnly" in chosen.headers["set-cookie"]
    assert '<html lang="es">' in client.get("/", headers={"Accept-Language": "en"}).text
    assert '<html lang="es">' in client.get("/?lang=klingon").text


def test_an_unknown_model_is_a_page_too(client: httpx.Client) -> None:
    """A link to an unknown model shows a page, not JSON."""
    answered = client.get("/?model=nobody")
    assert (answered.status_code, answered.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "nobody" in answered.text


def test_without_a_model_the_page_says_how_to_bring_one(world: World, client: httpx.Client) -> None:
    """Without models the page explains how to add one."""
    world.service.manifests = []
    answered = client.get("/")
    assert answered.status_code == 200
    assert "relevo import" in answered.text


def test_files_of_the_page_are_kept_for_ever_under_their_hash(client: httpx.Client) -> None:
    """Style and script have a hash in their URL, are cached for a year, and come from this host only."""
    html = client.get("/").text
    links = re.findall(r'(?:href|src)="(/static/[^"]+)"', html)
    assert len(links) == 3
    for link in links:
        answered = client.get(link)
        assert "immutable" in answered.headers["cache-control"]
        assert "http" not in re.sub(r"http://www.w3.org/\S+", "", answered.text)
    assert "//" not in re.sub(r"<!doctype html>", "", html).replace("http://127.0.0.1", "")
    assert client.get("/").headers["cache-control"] == "no-store"


def test_the_form_works_without_a_script(world: World, client: httpx.Client) -> None:
    """A plain form post returns a page whose feedback form stores the label."""
    form = {"tenure": "5", "monthlycharges": "80.5", "contract": "one_year", "paperless": "true"}
    html = client.post("/submit?model=churn&lang=en", data=form).text
    assert '<p class="verdict">leaves</p>' in html
    query_id = re.search(r'name="query_id" value="([^"]+)"', html)
    assert query_id is not None
    thanks = client.post("/feedback?lang=es", data={"query_id": query_id[1], "value": "stays"})
    assert "Gracias" in thanks.text
    key = ids.raw(query_id[1])
    assert key is not None
    label = world.store.labels.resolved(key)
    assert label is not None
    assert (label.value, label.source) == ("stays", "page")


def test_feedback_from_another_site_is_refused(world: World, client: httpx.Client) -> None:
    """A cross-site form cannot submit labels."""
    made = prediction()
    world.store.predictions.insert([made])
    form = {"query_id": ids.text(made.id), "value": "3"}
    answered = client.post("/feedback", data=form, headers={"Sec-Fetch-Site": "cross-site"})
    assert (answered.status_code, answered.json()["code"]) == (403, "forbidden")
    assert "another site" in answered.text
    assert world.store.labels.resolved(made.id) is None


def test_refused_feedback_is_a_page(world: World, client: httpx.Client) -> None:
    """An invalid label gives an error page in the user's language."""
    made = prediction()
    world.store.predictions.insert([made])
    answered = client.post("/feedback?lang=es", data={"query_id": ids.text(made.id), "value": "ten"})
    assert answered.status_code == 422
    assert "La etiqueta debe ser una de" in answered.text


def test_pictures_in_pages_are_new_ones() -> None:
    """Embedded images are new PNGs, upright, reduced, without metadata."""
    target = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "where I live"
    Image.new("RGB", (2000, 1000), "red").save(target, format="JPEG", exif=exif)
    shown = thumbnails.upload_thumbnail(target.getvalue(), ImageLimits())
    assert shown is not None
    assert (shown.width, shown.height, shown.tiny) == (320, 640, False)
    assert b"where I live" not in thumbnails.reencode(target.getvalue(), ImageLimits())


def test_a_broken_picture_is_left_out() -> None:
    """Images that cannot be decoded are omitted."""
    assert thumbnails.upload_thumbnail(b"\x89PNG\r\n\x1a\nnothing", ImageLimits()) is None
    assert thumbnails.model_input_thumbnail(b"nothing", DIGITS, ImageLimits()) is None
