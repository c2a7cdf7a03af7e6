"""The pages linked in the footer: history and health."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.support.login import add, signed_in

if TYPE_CHECKING:
    import httpx
    from tests.support.web_app import World


def test_the_foot_leads_to_pages(client: httpx.Client) -> None:
    """Every link in the footer leads to an HTML page."""
    foot = client.get("/").text.partition("<footer")[2]
    addresses = re.findall(r'href="([^"]+)"', foot)
    assert addresses
    for address in addresses:
        assert client.get(address).headers["content-type"].startswith("text/html"), address


@pytest.mark.parametrize(("language", "told"), [("en", "No prediction yet."), ("es", "Todavía no hay predicciones.")])
def test_an_empty_history_says_what_to_do(client: httpx.Client, language: str, told: str) -> None:
    """Without predictions the page links to the form."""
    html = client.get(f"/history?lang={language}").text
    assert told in html
    assert 'class="button" href="/"' in html


def test_the_history_is_paged_and_written_by_locale(client: httpx.Client) -> None:
    """Predictions are newest first, paginated, with localized numbers and dates."""
    for _ in range(26):
        client.post(
            "/submit?model=churn", data={"tenure": "30", "monthlycharges": "1", "contract": "one_year", "paperless": "true"}
        )
    first = client.get("/history?lang=es").text
    assert first.count("<tr>") == 1 + 25
    assert "75,0\N{NO-BREAK SPACE}%" in first
    assert re.search(r'<time datetime="[-\dT:.]+\+00:00">\d+ \w+ \d{4}, [\d:]+ UTC</time>', first)
    older = re.search(r'href="(/history\?cursor=[^"]+)"', first)
    assert older is not None
    rest = client.get(older[1]).text
    assert rest.count("<tr>") == 1 + 1
    assert "75.0%" in client.get("/history?lang=en").text


def test_a_history_of_no_model_says_so(client: httpx.Client) -> None:
    """An unknown model or an invalid cursor gives an error page."""
    answer = client.get("/history?cursor=none")
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


def test_health_is_told_in_words(world: World, client: httpx.Client) -> None:
    """Readiness, reason and model states are shown in the user's language."""
    assert "Ahora mismo se respondería" in client.get("/health?lang=es").text
    world.service.reason = "the server is stopping"
    answer = client.get("/health?lang=es")
    assert answer.status_code == 503
    assert "el servidor se está deteniendo" in answer.text


BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_a_person_with_a_browser_never_reads_json(world: World, client: httpx.Client, address: str) -> None:
    """Browsers get error pages with *sign out*; programs and scripts get JSON."""
    add(world, "ana")
    add(world, "bob", role=None)
    with signed_in(address, "bob") as bob:
        for path, status in (("/", 403), ("/history", 403), ("/nowhere", 404), ("/predictions/none", 403), ("/users", 403)):
            page = bob.get(path, headers=BROWSER)
            assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8"), path
            assert "Sign out" in page.text, path
            assert page.headers["x-request-id"] in page.text
            assert bob.get(path).json()["code"], "a program reads JSON"
        assert "Salir" in bob.get("/nowhere?lang=es", headers=BROWSER).text
        assert bob.get("/login", headers=BROWSER).status_code == 200
        allowed = bob.put("/models", headers=BROWSER)
        assert (allowed.status_code, allowed.headers["allow"]) == (405, "GET")
    assert client.get("/models", headers=BROWSER).status_code == 303


def test_a_prediction_of_the_history_is_a_page(world: World, client: httpx.Client) -> None:
    """Ids in the history link to a page with the prediction and its input; programs get JSON."""
    form = {"tenure": "30", "monthlycharges": "1", "contract": "one_year", "paperless": "true"}
    client.post("/submit?model=churn", data=form)
    link = re.search(r'href="(/predictions/[^"]+)"', client.get("/history").text)
    assert link is not None
    page = client.get(link[1], headers=BROWSER)
    assert page.headers["content-type"].startswith("text/html")
    body = client.get(link[1]).json()
    assert str(body["prediction"]) in page.text
    assert f'href="{link[1]}/input"' in page.text
    gone = client.get("/predictions/00000000-0000-7000-8000-000000000000", headers=BROWSER)
    assert (gone.status_code, gone.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert world.store.predictions.count() == 1
