"""The model page in a real Chromium: all inputs, both languages, a phone, and without JavaScript."""

from __future__ import annotations

import base64
import io
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from tests.support.browser import IN_A_BROWSER, Seen, draw_a_seven, sideways, verdict

from relevo.domain import ids

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page
    from tests.support.web_app import World

pytestmark = IN_A_BROWSER


def file_of(folder: Path, shade: int, name: str = "picture.png", side: int = 40) -> Path:
    path = folder / name
    Image.new("L", (side, side), shade).save(path)
    return path


def test_a_record_is_asked_and_corrected(world: World, visit: Callable[..., Page]) -> None:
    """The example fills the form, the prediction appears in place, and feedback is stored through the public route."""
    page = visit("/?model=churn")
    page.click("#fill")
    page.click(".primary")
    assert "leaves" in verdict(page)
    page.click(".feedback button:has-text('stays')")
    page.wait_for_selector(".kept:has-text('Thank you')")
    label = world.store.labels.resolved(world.store.predictions.page().items[0].prediction.id)
    assert label is not None
    assert (label.value, label.source) == ("stays", "api")


def test_a_wrong_field_is_pointed_at(seen: Seen, visit: Callable[..., Page]) -> None:
    """An error appears in place, form values stay, and the invalid field has the focus."""
    page = visit("/?model=churn")
    page.click("#fill")
    page.evaluate("document.querySelector('#ask').noValidate = true")
    page.fill("[name=tenure]", "999")
    page.click(".primary")
    page.wait_for_selector(".refusal")
    assert "tenure" in page.inner_text(".refusal")
    assert page.evaluate("document.activeElement.name") == "tenure"
    assert page.input_value("[name=monthlycharges]") == "79.85"
    # The browser logs each rejected request.
    assert all("422" in complaint for complaint in seen.complaints)
    seen.complaints.clear()


def test_a_drawing_is_sent_at_the_models_size(world: World, visit: Callable[..., Page]) -> None:
    """A drawing reaches the model cropped, centred and area-averaged, white on black."""
    page = visit("/")
    draw_a_seven(page)
    page.click(".primary")
    assert verdict(page) == "7"
    stored = world.store.predictions.page().items[0].prediction
    picture = Image.open(io.BytesIO(world.store.predictions.input(stored.id)[1])).convert("L")
    assert picture.size == (8, 8)
    rows = [[picture.getpixel((x, y)) for x in range(8)] for y in range(8)]
    assert min(rows[0][2:6]) > 100, "the bar of the seven fills the top row"  # type: ignore[type-var, operator]  # grey pixels
    assert rows[6][0] == 0, "nothing at the lower left"


def test_the_pad_can_be_wiped_and_erased(visit: Callable[..., Page]) -> None:
    """Clearing empties the pad, an empty pad is not sent, and the eraser removes ink."""
    page = visit("/")
    draw_a_seven(page)
    inked = (
        "Array.from(document.querySelector('#mini').getContext('2d').getImageData(0,0,8,8).data).filter((v,i)=>i%4<1&&v>0).length"
    )
    before = page.evaluate(inked)
    page.click("#eraser")
    draw_a_seven(page)
    assert page.evaluate(inked) < before
    page.click("#clear")
    assert page.evaluate(inked) == 0
    page.click(".primary")
    page.wait_for_selector("#waiting:has-text('Draw something first')")
    assert page.query_selector(".verdict") is None


def test_a_finger_draws_too(visit: Callable[..., Page]) -> None:
    """On a touch screen a stroke draws without scrolling the page."""
    page = visit("/", has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    page.locator("#pad").scroll_into_view_if_needed()
    box = page.locator("#pad").bounding_box()
    assert box is not None
    touch = page.context.new_cdp_session(page)
    before = page.evaluate("scrollY")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.8
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 8):
        point = {"x": x, "y": y - step * box["height"] * 0.08}
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert page.evaluate("scrollY") == before
    page.click(".primary")
    assert verdict(page) == "7"


def test_an_uploaded_file_is_previewed_and_uncertain_is_said(tmp_path: Path, visit: Callable[..., Page]) -> None:
    """A chosen file is previewed; an uncertain prediction is announced in text and to screen readers."""
    page = visit("/")
    page.click("[data-way=file]")
    page.set_input_files("#file", file_of(tmp_path, 255))
    page.wait_for_selector("#preview:visible")
    page.click(".primary")
    page.wait_for_selector(".unsure")
    assert "not sure" in page.inner_text(".badge").lower()
    assert page.inner_text("#spoken").startswith("Not sure")
    assert page.evaluate("document.querySelector('.sent').naturalWidth") == 40


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_dropped_and_pasted_pictures_are_asked_at_once(tmp_path: Path, visit: Callable[..., Page], event: str) -> None:
    """A dropped or pasted image is submitted without another click."""
    page = visit("/")
    data = base64.b64encode(file_of(tmp_path, 10).read_bytes()).decode()
    page.evaluate(
        """([kind, data]) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const carrier = new DataTransfer();
            carrier.items.add(new File([bytes], "p.png", { type: "image/png" }));
            const event = kind === "drop"
                ? new DragEvent("drop", { dataTransfer: carrier, bubbles: true, cancelable: true })
                : new ClipboardEvent("paste", { clipboardData: carrier, bubbles: true, cancelable: true });
            document.body.dispatchEvent(event);
        }""",
        [event, data],
    )
    assert verdict(page) == "7"


def test_the_camera_is_offered_where_there_is_one(visit: Callable[..., Page]) -> None:
    """A touch screen gets a button for the rear camera; a desktop does not."""
    phone = visit("/", has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    phone.click("[data-way=file]")
    assert phone.is_visible("#camera")
    assert phone.get_attribute("#photo", "capture") == "environment"
    desk = visit("/")
    desk.click("[data-way=file]")
    assert not desk.is_visible("#camera")


def test_the_language_switches_and_stays(visit: Callable[..., Page]) -> None:
    """A Spanish browser gets Spanish; the language switch applies to all later pages."""
    page = visit("/?model=churn", locale="es-ES")
    assert page.inner_text(".primary") == "Preguntar al modelo"
    page.click(".languages >> text=English")
    assert page.inner_text(".primary") == "Ask the model"
    page.click(".models >> text=rent")
    page.click("#fill")
    page.click(".primary")
    assert verdict(page).startswith("1,000")
    assert page.inner_text(".kicker").lower() == "answer"


@pytest.mark.parametrize("path", ["/", "/?model=churn&lang=es", "/?model=rent", "/docs?lang=es", "/history?lang=es", "/health"])
def test_a_phone_needs_no_sideways_scroll(visit: Callable[..., Page], path: str) -> None:
    """At 360 pixels no page scrolls horizontally, also with a prediction."""
    page = visit(path, has_touch=True, is_mobile=True, viewport={"width": 360, "height": 740})
    assert sideways(page) == 0
    if "model=" in path:
        page.click("#fill")
        page.click(".primary")
        page.wait_for_selector(".verdict")
        page.click(".facts-list summary")
    elif path == "/":
        page.click("[data-way=file]")
    assert sideways(page) == 0


@pytest.mark.parametrize(("language", "month"), [("en", "[A-Z][a-z]+"), ("es", "[a-z]+")])
def test_times_are_the_readers_own(visit: Callable[..., Page], language: str, month: str) -> None:
    """The history shows times in the browser's time zone, with its name."""
    page = visit("/?model=rent", timezone_id="America/Bogota")
    page.click("#fill")
    page.click(".primary")
    verdict(page)
    page.goto(f"{page.url.partition('?')[0]}history?lang={language}")
    time = page.locator("time").first
    at = datetime.fromisoformat(time.get_attribute("datetime") or "") - timedelta(hours=5)
    assert re.fullmatch(rf"{at.day} {month} {at.year}, {at:%H:%M:%S} (GMT-5|COT)", time.inner_text())


def test_everything_works_by_keyboard(visit: Callable[..., Page]) -> None:
    """Tab reaches the skip link first and the form next, and Enter submits it."""
    page = visit("/?model=rent")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus("[name=area]")
    page.keyboard.type("40")
    page.keyboard.press("Enter")
    assert verdict(page).startswith("500")


def test_without_a_script_the_whole_path_works(world: World, tmp_path: Path, visit: Callable[..., Page]) -> None:
    """Without JavaScript, an image is chosen, submitted, shown with its prediction, and labelled."""
    page = visit("/", java_script_enabled=False)
    assert not page.is_visible("#pad")
    page.set_input_files("#file", file_of(tmp_path, 10))
    page.click(".primary")
    assert verdict(page) == "7"
    page.select_option("#truth", "1")
    page.click(".feedback >> text=Send")
    page.wait_for_selector("h1:has-text('Thank you')")
    label = world.store.labels.resolved(world.store.predictions.page().items[0].prediction.id)
    assert label is not None
    assert label.value == "1"


def test_a_server_that_is_gone_is_told(visit: Callable[..., Page], seen: Seen) -> None:
    """A failed request shows a message, and the form can be submitted again."""
    page = visit("/?model=rent")
    page.click("#fill")
    page.context.set_offline(offline=True)
    page.click(".primary")
    page.wait_for_selector("#waiting:has-text('cannot be reached')")
    page.context.set_offline(offline=False)
    page.click(".primary")
    assert verdict(page)
    seen.complaints.clear()


def contrast(page: Page, selector: str) -> float:
    """WCAG 2 contrast of an element's text against the first painted background behind it."""
    return float(
        page.evaluate(
            """(selector) => {
            const pixel = document.createElement("canvas").getContext("2d");
            const rgb = (colour) => { pixel.clearRect(0, 0, 1, 1); pixel.fillStyle = colour; pixel.fillRect(0, 0, 1, 1);
                return [...pixel.getImageData(0, 0, 1, 1).data]; };
            const light = (colour) => { const [r, g, b] = colour.map((v) => { v /= 255;
                return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
            let element = document.querySelector(selector);
            const ink = light(rgb(getComputedStyle(element).color));
            while (element && rgb(getComputedStyle(element).backgroundColor)[3] < 255) element = element.parentElement;
            const paper = light(rgb(getComputedStyle(element || document.body).backgroundColor));
            return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        }""",
            selector,
        )
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(visit: Callable[..., Page], scheme: str) -> None:
    """All text has a contrast of at least 4.5 to 1, in light and dark mode."""
    page = visit("/?model=churn", color_scheme=scheme, reduced_motion="reduce")
    page.click("#fill")
    page.click(".primary")
    verdict(page)
    texts = [
        ".lead",
        ".facts li",
        ".field label",
        ".unit",
        ".badge",
        ".verdict",
        ".bars .figure",
        "summary",
        ".languages a",
        "footer a",
    ]
    page.mouse.move(0, 0)
    poor = {text: ratio for text in [*texts, ".primary", ".small"] if (ratio := contrast(page, text)) < 4.5}
    assert poor == {}


def test_ids_in_the_page_are_those_of_the_history(world: World, visit: Callable[..., Page]) -> None:
    """The id under details finds the prediction."""
    page = visit("/?model=rent")
    page.click("#fill")
    page.click(".primary")
    verdict(page)
    page.click(".facts-list summary")
    assert page.inner_text(".facts-list dd code") == ids.text(world.store.predictions.page().items[0].prediction.id)
