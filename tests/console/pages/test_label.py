"""The label page in a real browser."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from tests.support.browser import IN_A_BROWSER
from tests.support.console import SIGNED_PASSWORD, Console, open_page_as, wait_until_idle

from relevo.client import Client
from relevo.console.pages.label import assign_keys

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    import relevo.server

_PREDICTIONS = 240


@pytest.fixture(scope="module")
def queue(signed_server: relevo.server.RunningServer) -> int:
    """Makes predictions, some of which are sampled for the queue; returns their number."""
    rng = np.random.default_rng(7)
    with Client(signed_server.url) as client:
        client.sign_in("ana", SIGNED_PASSWORD)
        for _ in range(_PREDICTIONS):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(file, "PNG")
            last = client.predict("digits", file.getvalue()).query_id
        client.prediction(last)
    return _PREDICTIONS


def _picture(page: Page) -> str:
    return str(page.evaluate("document.querySelector('.rv-ask img')?.src ?? ''"))


def _press(page: Page, key: str) -> str:
    """Presses the key, waits for another picture and returns it."""
    before = _picture(page)
    page.keyboard.press(key)
    page.wait_for_function("before => (document.querySelector('.rv-ask img')?.src ?? '') !== before", arg=before)
    _view(page)
    return _picture(page)


def _view(page: Page) -> None:
    """Waits as long as a person needs to see a new picture."""
    wait_until_idle(page)
    page.wait_for_timeout(300)


def _labels(server: relevo.server.RunningServer) -> dict[str, list[str]]:
    """All labels so far, by prediction id."""
    with Client(server.url) as client:
        client.sign_in("ana", SIGNED_PASSWORD)
        items = client.all_history(model="digits", labelled=True)
        return {item["query_id"]: [label["value"] for label in client.labels(item["query_id"])] for item in items}


@pytest.mark.browser
class TestInABrowser:
    """Labeling by keyboard."""

    pytestmark = IN_A_BROWSER

    def test_keys_label_skip_and_undo(
        self, chromium: Browser, signed_console: Console, signed_server: relevo.server.RunningServer, queue: int
    ) -> None:
        """7 labels, s skips, u goes back and another key corrects; the server stores the corrected label."""
        assert queue
        with open_page_as(chromium, signed_console, "leo", "/label?model=digits") as page:
            page.wait_for_selector(".rv-ask img")
            _view(page)
            first = _picture(page)
            _press(page, "7")
            expect(page.get_by_text("you said 7")).to_be_visible()
            assert _press(page, "u") == first
            wait_until_idle(page)
            _press(page, "5")
            expect(page.get_by_text("you said 5")).to_be_visible()
            _press(page, "s")
            expect(page.get_by_text("skipped")).to_be_visible()
        with Client(signed_server.url) as client:
            client.sign_in("ana", SIGNED_PASSWORD)
            items = client.history(model="digits", truth="5", limit=200).items
            assert [[label["value"] for label in client.labels(item["query_id"])] for item in items if item["label"] == "5"] == [
                ["7", "5"]
            ]

    def test_a_key_applies_to_the_picture_on_the_screen(
        self, chromium: Browser, signed_console: Console, signed_server: relevo.server.RunningServer, queue: int
    ) -> None:
        """Holding a key, pressing twice, pressing another at once or a double click labels only the picture shown."""
        assert queue
        with open_page_as(chromium, signed_console, "leo", "/label?model=digits") as page:
            page.wait_for_selector(".rv-ask img")
            _view(page)
            for presses in (_hold, _press_twice, _press_another, _click_twice):
                before, picture = _labels(signed_server), _picture(page)
                presses(page)
                page.wait_for_timeout(1500)
                wait_until_idle(page)
                after = _labels(signed_server)
                new = {key: value for key, value in after.items() if before.get(key) != value}
                assert [value[-1:] for value in new.values()] == [["3"]], presses.__name__
                assert _press(page, "u") == picture, presses.__name__
                _press(page, "s")

    def test_the_last_ten_can_be_undone(self, chromium: Browser, signed_console: Console, queue: int) -> None:
        """After ten labels, ten presses of u lead back to the first picture."""
        assert queue
        with open_page_as(chromium, signed_console, "leo", "/label?model=digits") as page:
            page.wait_for_selector(".rv-ask img")
            _view(page)
            pictures = [_picture(page)]
            pictures += [_press(page, "4") for _ in range(10)]
            assert len(set(pictures)) == 11
            assert [_press(page, "u") for _ in range(10)] == pictures[-2::-1]

    def test_a_viewer_cannot_open_the_label_page(self, chromium: Browser, signed_console: Console) -> None:
        """The navigation has no link, and the address shows no input."""
        with open_page_as(chromium, signed_console, "bob") as page:
            expect(page.locator('[data-testid="stSidebarNavLink"]', has_text="Label")).to_have_count(0)
            page.goto(f"{signed_console.url}/label?model=digits")
            wait_until_idle(page)
            expect(page.locator(".rv-ask")).to_have_count(0)


def _hold(page: Page) -> None:
    for _ in range(30):
        page.keyboard.down("3")  # every further one is marked as a repeat
        page.wait_for_timeout(30)
    page.keyboard.up("3")


def _press_twice(page: Page) -> None:
    for _ in range(3):
        page.keyboard.press("3")


def _press_another(page: Page) -> None:
    for key in "35":
        page.keyboard.press(key)


def _click_twice(page: Page) -> None:
    page.get_by_role("button", name="3", exact=False).first.dblclick()


def test_each_label_has_a_key_of_its_own() -> None:
    """Digits are their own keys; other labels get 1–9 and then letters without another function."""
    assert assign_keys([str(digit) for digit in range(10)]) == list("0123456789")
    assert assign_keys(["stays", "leaves"]) == ["1", "2"]
    many = assign_keys([f"label {number}" for number in range(31)])
    assert len(set(many)) == 31
    assert not {"c", "r", "s", "u"} & set(many)
    assert assign_keys(["A", "S"]) == ["1", "2"]
