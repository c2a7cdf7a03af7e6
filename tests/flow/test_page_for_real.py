"""The model page in a real Chromium against a real server: asked, answered, corrected, and found in the history."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.support.browser import IN_A_BROWSER, Seen, draw_a_seven, sideways, verdict
from tests.support.server import running

from relevo.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from relevo.package.package import Package

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, digits_package: Package, churn_package: Package) -> Iterator[str]:
    """A server with two workers that serves pictures and records, as `relevo serve` does."""
    with running(tmp_path_factory.mktemp("page"), digits_package, churn_package, workers=2) as server:
        yield server.url


def newest(address: str, model: str, *, labelled: str | None = None) -> dict[str, Any]:
    """The newest prediction of a model in the history, once its journal has arrived there."""
    deadline = time.monotonic() + 20
    with Client(address) as client:
        while True:
            items = client.history(model=model, limit=1).items
            if items and labelled in {None, items[0]["label"]}:
                return items[0]
            assert time.monotonic() < deadline, items
            time.sleep(0.05)


def test_a_drawn_digit_is_answered_corrected_and_kept(address: str, visit: Callable[..., Page]) -> None:
    """Draw, ask, say what it was: answer, picture and label are in the history."""
    page = visit("/?model=digits")
    draw_a_seven(page)
    page.click(".primary")
    answer = verdict(page)
    assert answer == "7"
    page.click(".facts-list summary")
    shown = page.inner_text(".facts-list dd code")
    kept = newest(address, "digits")
    assert (kept["query_id"], kept["prediction"]) == (shown, answer)
    picture = httpx.get(f"{address}/predictions/{shown}/input")
    assert picture.headers["content-type"] == "image/png"
    page.click(".feedback button:has-text('Right')")
    page.wait_for_selector(".kept:has-text('Thank you')")
    assert newest(address, "digits", labelled="7")["query_id"] == shown


def test_an_uploaded_digit_is_answered(address: str, visit: Callable[..., Page], digit_pngs: list[bytes], tmp_path: Path) -> None:
    """A file chosen on a phone, in the dark and in Spanish, is answered like the same bytes sent by a program."""
    (tmp_path / "digit.png").write_bytes(digit_pngs[0])
    page = visit(
        "/?model=digits",
        locale="es-ES",
        color_scheme="dark",
        has_touch=True,
        is_mobile=True,
        viewport={"width": 360, "height": 740},
    )
    page.click("[data-way=file]")
    page.set_input_files("#file", tmp_path / "digit.png")
    page.click(".primary")
    answer = verdict(page)
    assert page.inner_text(".kicker").lower() == "respuesta"
    assert sideways(page) == 0
    program = httpx.post(f"{address}/models/digits/predict", content=digit_pngs[0], headers={"Content-Type": "image/png"})
    assert program.json()["prediction"] == answer


def test_a_record_is_answered_and_corrected(address: str, visit: Callable[..., Page]) -> None:
    """The generated form accepts a customer; a correction is shown next to the prediction."""
    page = visit("/?model=churn")
    page.click("#fill")
    page.fill("[name=tenure]", "2")
    page.click(".primary")
    answer = verdict(page)
    assert answer in {"stays", "leaves"}
    truth = "leaves" if answer == "stays" else "stays"
    page.click(f".feedback button:has-text('{truth}')")
    page.wait_for_selector(".kept:has-text('Thank you')")
    kept = newest(address, "churn", labelled=truth)
    assert kept["prediction"] == answer
    assert httpx.get(f"{address}/predictions/{kept['query_id']}/input").json()["tenure"] == 2


def test_without_a_script_it_works_in_spanish(
    address: str, visit: Callable[..., Page], digit_pngs: list[bytes], tmp_path: Path
) -> None:
    """A plain form asks the real server, shows the picture with its answer, takes a correction, and speaks Spanish."""
    (tmp_path / "digit.png").write_bytes(digit_pngs[1])
    page = visit("/?model=digits", java_script_enabled=False, locale="es-ES")
    assert page.inner_text(".primary") == "Preguntar al modelo"
    page.set_input_files("#file", tmp_path / "digit.png")
    page.click(".primary")
    assert verdict(page) in set("0123456789")
    assert page.evaluate("document.documentElement.lang") == "es"
    page.select_option("#truth", "3")
    page.click(".feedback >> text=Enviar")
    page.wait_for_selector("h1:has-text('Gracias')")
    assert newest(address, "digits", labelled="3")


def test_a_refused_file_is_told_in_place(address: str, visit: Callable[..., Page], seen: Seen, tmp_path: Path) -> None:
    """A file that is no picture is refused in words, with or without a script, and nothing is recorded."""
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    before = newest(address, "digits")["query_id"]
    page = visit("/?model=digits", java_script_enabled=False)
    page.set_input_files("#file", tmp_path / "notes.txt")
    with page.expect_response("**/submit*") as answered:
        page.click(".primary")
    assert answered.value.status == httpx.codes.UNSUPPORTED_MEDIA_TYPE
    page.wait_for_selector(".refusal")
    assert newest(address, "digits")["query_id"] == before
    # The browser itself notes each refused request.
    assert all("415" in complaint for complaint in seen.complaints)
    seen.complaints.clear()
