"""Labelling by keyboard in a real browser."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from tests.support.browser import IN_A_BROWSER
from tests.support.console import SIGNED_PASSWORD, Console, settled, signed_in

from relevo.client import Client
from relevo.console.pages.label import assign_keys

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    import relevo.server

_ASKED = 240


@pytest.fixture(scope="module")
def doubtful(signed_server: relevo.server.RunningServer) -> int:
    """Answers of which some are drawn by lot for the queue; gives how many were asked for."""
    rng = np.random.default_rng(7)
    with Client(signed_server.url) as client:
        client.sign_in("ana", SIGNED_PASSWORD)
        for _ in range(_ASKED):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(file, "PNG")
            last = client.predict("digits", file.getvalue()).query_id
        client.prediction(last)
    return _ASKED


def _picture(page: Page) -> str:
    return str(page.evaluate("document.querySelector('.rv-ask img')?.src ?? ''"))


def _press(page: Page, key: str) -> str:
    """Press it and wait for another picture; gives that."""
    before = _picture(page)
    page.keyboard.press(key)
    page.wait_for_function("before => (document.querySelector('.rv-ask img')?.src ?? '') !== before", arg=before)
    _seen(page)
    return _picture(page)


def _seen(page: Page) -> None:
    """Wait as long as a person needs to see a picture that was just drawn."""
    settled(page)
    page.wait_for_timeout(300)


def _given(server: relevo.server.RunningServer) -> dict[str, list[str]]:
    """Every label that was given so far, by prediction."""
    with Client(server.url) as client:
        client.sign_in("ana", SIGNED_PASSWORD)
        items = client.all_history(model="digits", labelled=True)
        return {item["query_id"]: [one["value"] for one in client.labels(item["query_id"])] for item in items}


@pytest.mark.browser
class TestInABrowser:
    """What a labeler does."""

    pytestmark = IN_A_BROWSER

    def test_a_key_labels_another_skips_and_a_third_goes_back(
        self, chromium: Browser, signed_console: Console, signed_server: relevo.server.RunningServer, doubtful: int
    ) -> None:
        """7 labels and shows the next, s skips, u goes back, and another key then corrects; the server has the last word said."""
        assert doubtful
        with signed_in(chromium, signed_console, "leo", "/label?model=digits") as page:
            page.wait_for_selector(".rv-ask img")
            _seen(page)
            first = _picture(page)
            _press(page, "7")
            expect(page.get_by_text("you said 7")).to_be_visible()
            assert _press(page, "u") == first
            settled(page)
            _press(page, "5")
            expect(page.get_by_text("you said 5")).to_be_visible()
            _press(page, "s")
            expect(page.get_by_text("skipped")).to_be_visible()
        with Client(signed_server.url) as client:
            client.sign_in("ana", SIGNED_PASSWORD)
            said = client.history(model="digits", truth="5", limit=200).items
            assert [[one["value"] for one in client.labels(item["query_id"])] for item in said if item["label"] == "5"] == [
                ["7", "5"]
            ]

    def test_a_key_belongs_to_the_picture_that_was_seen(
        self, chromium: Browser, signed_console: Console, signed_server: relevo.server.RunningServer, doubtful: int
    ) -> None:
        """A key held down, pressed twice, followed by another one at once, or clicked twice labels one picture: the one shown."""
        assert doubtful
        with signed_in(chromium, signed_console, "leo", "/label?model=digits") as page:
            page.wait_for_selector(".rv-ask img")
            _seen(page)
            for presses in (_hold, _press_twice, _press_another, _click_twice):
                before, picture = _given(signed_server), _picture(page)
                presses(page)
                page.wait_for_timeout(1500)
                settled(page)
                after = _given(signed_server)
                new = {key: value for key, value in after.items() if before.get(key) != value}
                assert [value[-1:] for value in new.values()] == [["3"]], presses.__name__
                assert _press(page, "u") == picture, presses.__name__
                _press(page, "s")

    def test_the_last_ten_can_be_undone(self, chromium: Browser, signed_console: Console, doubtful: int) -> None:
        """After ten answers u goes back to the first of them."""
        assert doubtful
        with signed_in(chromium, signed_console, "leo", "/label?model=digits") as page:
            page.wait_for_selector(".rv-ask img")
            _seen(page)
            pictures = [_picture(page)]
            pictures += [_press(page, "4") for _ in range(10)]
            assert len(set(pictures)) == 11
            assert [_press(page, "u") for _ in range(10)] == pictures[-2::-1]

    def test_a_viewer_is_told_whom_to_ask(self, chromium: Browser, signed_console: Console) -> None:
        """The navigation does not lead there, and the address alone shows no question."""
        with signed_in(chromium, signed_console, "bob") as page:
            expect(page.locator('[data-testid="stSidebarNavLink"]', has_text="Label")).to_have_count(0)
            page.goto(f"{signed_console.url}/label?model=digits")
            settled(page)
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
    """Digits are their own keys; texts get 1–9 and then letters, none of which does something else."""
    assert assign_keys([str(digit) for digit in range(10)]) == list("0123456789")
    assert assign_keys(["stays", "leaves"]) == ["1", "2"]
    many = assign_keys([f"label {number}" for number in range(31)])
    assert len(set(many)) == 31
    assert not {"c", "r", "s", "u"} & set(many)
    assert assign_keys(["A", "S"]) == ["1", "2"]
