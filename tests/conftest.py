"""What tests of several packages share: two tiny real models packed once, inputs they have not seen, the real-world data where it is."""

from __future__ import annotations

import io
import os
import random
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image
from tests.support.browser import Seen, launched, visiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    from relevo.package.package import Package

# A machine with other work to do is slow now and then; that is no failure of what is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a shell, Ctrl-C is ignored by us and by every process we start; some tests are about it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Commands speak as the machine does; what is tested of their words is tested in English, or in the language a test asks for.
os.environ["LC_ALL"] = "C.UTF-8"

# TensorFlow leaves it out on some processors, and then cannot ask a network that has its channels first.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

settings.register_profile("relevo", deadline=None)
settings.load_profile("relevo")

_DATA = Path(os.environ.get("RELEVO_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
_TESTS = Path(__file__).parent
#: Folders whose tests train, serve or start browsers, longest first.
_LONG = ("chaos", "examples", "docs", "cli", "console", "server", "flow", "importing", "converters", "package")
#: The slow tier, in addition to tests that are marked `slow` or `chaos` or use a browser.
_SLOW = (
    "chaos/",
    "cli/commands/test_demo.py",
    "cli/commands/test_serve.py",
    "cli/test_https.py",
    "cli/test_program.py",
    "cli/test_promotion_guard.py",
    "cli/test_stdio.py",
    "cli/test_workspace.py",
    "converters/boosting/test_xgboost.py",
    "converters/keras/test_convert.py",
    "docs/",
    "examples/",
    "flow/",
    "importing/legacy/",
    "importing/sandbox/test_client.py",
    "importing/test_import_keras.py",
    "importing/test_import_model.py",
    "package/test_parity.py",
    "runtime/test_image_bounds.py",
    "server/test_connections.py",
    "server/test_https.py",
    "server/test_main.py",
    "server/test_settings_effect.py",
    "server/test_home.py",
    "web/routes/test_login.py",
    "web/test_fuzz.py",
    "web/test_old_clients.py",
    "web/test_query_string.py",
)
_BROWSER_FIXTURES = frozenset({"browser", "chromium", "visit"})
#: Rows of the bundled digits that train; the others are held out.
_TRAINED = 1200


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Two processes share the files as `tests.support.xdist_scheduler` says."""
    from tests.support.xdist_scheduler import ByFile

    return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tier. Long tests come first, so that at the end no process is left alone with one."""
    for item in items:
        if _is_slow(item):
            item.add_marker("slow")
    items.sort(key=lambda item: _LONG.index(_folder(item)) if _folder(item) in _LONG else len(_LONG))


def _is_slow(item: pytest.Item) -> bool:
    if item.path.relative_to(_TESTS).as_posix().startswith(_SLOW) or item.get_closest_marker("chaos"):
        return True
    return not _BROWSER_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(_TESTS).parts[0]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real-world data; a test that needs it is skipped where it is absent."""
    if not _DATA.is_dir():
        pytest.skip(f"no real-world data at {_DATA} (RELEVO_TEST_DATA)")
    return _DATA


def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    pixels, truth = load_digits(return_X_y=True)
    return np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8), truth


def _pack_digits(rows: int) -> Package:
    from sklearn.linear_model import LogisticRegression

    import relevo

    pictures, truth = _digits()
    model = LogisticRegression(max_iter=300).fit(pictures[:rows].reshape(rows, -1) / 255, truth[:rows])
    held_out = slice(_TRAINED, _TRAINED + 60)
    return relevo.pack(model, name="digits", samples=pictures[held_out], truth=truth[held_out], scale=1 / 255, figures=False)


@pytest.fixture(scope="session")
def digits_package() -> Package:
    """Model `digits`: 8 × 8 grey pictures, ten labels."""
    return _pack_digits(_TRAINED)


@pytest.fixture(scope="session")
def digits_package_2() -> Package:
    """A further version of `digits`, of another digest."""
    return _pack_digits(700)


@pytest.fixture(scope="session")
def digit_pngs() -> list[bytes]:
    """A hundred held-out digits as PNG files."""
    return [_png(picture) for picture in _digits()[0][_TRAINED : _TRAINED + 100]]


def _png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def churn_package() -> Package:
    """Model `churn`: records of four fields, two labels, *uncertain* between 0.35 and 0.65."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression

    import relevo
    from relevo.domain.decision import ThresholdDecision

    records = _customers(600)
    truth = [int(one["contract"] == "month-to-month" and one["tenure"] < 30) for one in records]
    vectorizer = DictVectorizer(sparse=False)
    model = LogisticRegression(max_iter=2000).fit(vectorizer.fit_transform(records[:500]), truth[:500])
    return relevo.pack(
        (vectorizer, model),
        name="churn",
        samples=records[500:],
        truth=truth[500:],
        labels=["stays", "leaves"],
        decision=ThresholdDecision(accept_at=0.65, reject_at=0.35),
        figures=False,
    )


@pytest.fixture(scope="session")
def churn_records() -> list[dict[str, Any]]:
    """A hundred records that `churn` takes."""
    return _customers(100, seed=5)


def _customers(count: int, seed: int = 1) -> list[dict[str, Any]]:
    draw = random.Random(seed)  # noqa: S311 - made-up customers, no secret
    return [
        {
            "tenure": draw.randint(0, 72),
            "monthlycharges": round(draw.uniform(18, 120), 2),
            "contract": draw.choice(["month-to-month", "one_year", "two_year"]),
            "partner": draw.choice(["yes", "no"]),
        }
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of a file; closed after the last, because no other event loop may run at the same time."""
    with launched() as browser:
        yield browser


@pytest.fixture
def seen() -> Seen:
    """Filled while pages are used."""
    return Seen()


@pytest.fixture
def visit(browser: Browser, address: str, seen: Seen) -> Iterator[Callable[..., Page]]:
    """Opens a path in a fresh context; afterwards there must be no complaint and no outside host."""
    with visiting(browser, address, seen) as visit:
        yield visit
