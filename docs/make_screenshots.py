"""Takes the screenshots of the console manual with a real server, console and Chromium, in both languages.

relevo train (twice) ─► server ─ predictions, some labelled ─► console ─ logged in ─► docs/console/pictures/<language>/*.png

`python docs/make_screenshots.py [page …]`, with the extras sklearn and console and with Chromium. Colours are reduced to keep
each file below some tens of kilobytes.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tests.support.browser import launched  # noqa: E402 - the line above makes it found
from tests.support.console import Console, add_users, open_page, open_page_as, run_console, wait_until_idle  # noqa: E402 - the same
from tests.support.server import settings_of, started  # noqa: E402 - the same

import relevo  # noqa: E402 - the same
from relevo.domain.access import Role  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, Page

PICTURES = HERE / "console" / "pictures"
LOCALES = {"en": "en-GB", "es": "es-ES"}
DESKTOP = {"viewport": {"width": 1200, "height": 860}}
PHONE = {"viewport": {"width": 390, "height": 800}, "device_scale_factor": 1.5}
_COLOURS = 96
_ASKED = 240
_SETTLE_S = 2.5


def digits() -> tuple[list[bytes], list[str]]:
    """Real handwritten digits as PNG files, and their labels."""
    found = load_digits()
    files = []
    for picture in found.images[:_ASKED]:
        file = io.BytesIO()
        Image.fromarray((picture * 15).astype(np.uint8)).save(file, "PNG")
        files.append(file.getvalue())
    return files, [str(one) for one in found.target[:_ASKED]]


def trained(folder: Path) -> Path:
    """The home of a project with two versions; the first is the champion."""

    def run(*words: str) -> None:
        where = folder if words[0] == "new" else folder / "digits"
        subprocess.run([sys.executable, "-m", "relevo", *words], cwd=where, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - ours

    run("new", "digits")
    run("train", "--reason", "the first")
    script = folder / "digits" / "train.py"
    told = script.read_text(encoding="utf-8")
    script.write_text(told.replace("EPOCHS = ", "EPOCHS = 1 + 0 * "), encoding="utf-8")
    run("train", "--reason", "a quick try")
    run("models", "alias", "digits", "champion", "1", "--reason", "the quick try was too quick", "--yes")
    run("models", "alias", "digits", "challenger", "2", "--reason", "to be looked at")
    return folder / "digits" / ".relevo"


def asked(url: str) -> None:
    """Send prediction requests, and label every other one of the first half."""
    files, truths = digits()
    with relevo.Client(url) as client:
        answers = [client.predict("digits", file) for file in files]
        while len(list(client.all_history())) < len(files):
            time.sleep(0.2)
        for answer, truth in list(zip(answers, truths, strict=True))[: _ASKED // 2 : 2]:
            client.label(answer.query_id, truth)


def taken(page: Page, language: str, name: str, *, ready: str | None = None) -> None:
    """Wait until the page is rendered, and save a screenshot."""
    wait_until_idle(page)
    if ready is not None:
        page.wait_for_selector(ready)
    time.sleep(_SETTLE_S)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    path = PICTURES / language / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    sys.stdout.write(f"{path.relative_to(HERE)} {path.stat().st_size // 1024} KiB\n")


def classify(page: Page) -> None:
    """Upload a digit and wait for the prediction."""
    page.set_input_files("input[type=file]", {"name": "digit.png", "mimeType": "image/png", "buffer": digits()[0][3]})
    wait_until_idle(page)


def untouched(page: Page) -> None:
    """The page without interaction."""
    wait_until_idle(page)


def last_hour(page: Page) -> None:
    """The traffic of the last hour."""
    wait_until_idle(page)
    page.locator('[data-testid="stButtonGroup"] button').first.click()
    wait_until_idle(page)


def beside(page: Page) -> None:
    """The comparison of two versions."""
    wait_until_idle(page)
    page.locator("h2").nth(1).scroll_into_view_if_needed()
    page.mouse.move(700, 500)
    page.mouse.wheel(0, 620)
    page.mouse.move(150, 600)


SCENES: dict[str, tuple[str, Callable[[Page], None]]] = {
    "classify": ("/", classify),
    "history": ("/history", untouched),
    "label": ("/label", untouched),
    "models": ("/models", untouched),
    "beside": ("/models", beside),
    "traffic": ("/traffic", last_hour),
    "people": ("/people", untouched),
}


def take(browser: Browser, console: Console, wanted: set[str]) -> None:
    """Take the selected screenshots, in both languages."""
    for language, locale in LOCALES.items():
        if not wanted or "sign-in" in wanted:
            with open_page(browser, console, "/sign-in", locale=locale, **DESKTOP) as page:
                page.wait_for_selector("input[name=password]")
                taken_plainly(page, language, "sign-in")
        for name, (path, prepare) in SCENES.items():
            if not wanted or name in wanted:
                with open_page_as(browser, console, "ana", path, locale=locale, **DESKTOP) as page:
                    prepare(page)
                    taken(page, language, name)
        if not wanted or "phone" in wanted:
            with open_page_as(browser, console, "ana", "/label", locale=locale, color_scheme="dark", **PHONE) as page:
                taken(page, language, "phone")


def taken_plainly(page: Page, language: str, name: str) -> None:
    """Save a screenshot of a page that Streamlit does not render."""
    path = PICTURES / language / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(_COLOURS).save(path, optimize=True)


def main() -> None:
    """Run everything."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = settings_of(folder, home=trained(folder))
        server = stack.enter_context(started(settings))
        asked(server.url)
        add_users(settings, ana=Role.ADMIN, luis=Role.LABELER, noor=Role.VIEWER)
        console = stack.enter_context(run_console(server.url, folder))
        browser = stack.enter_context(launched())
        take(browser, console, set(sys.argv[1:]))


if __name__ == "__main__":
    main()
