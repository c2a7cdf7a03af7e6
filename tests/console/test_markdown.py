"""Escaping of text for the Markdown of Streamlit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from playwright.sync_api import expect
from sklearn.datasets import load_digits
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from tests.support.browser import IN_A_BROWSER
from tests.support.console import Console, open_page, run_console
from tests.support.server import running

import relevo
from relevo.client import Client
from relevo.console.markdown import escape_markdown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from relevo.package.package import Package

_FIELD = "__paid__ :red[now]"
_LABELS = ["![left](https://elsewhere.invalid/p.png)", "$stays$ _here_"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("monthly_charges", "monthly_charges"),
        ("month-to-month", "month-to-month"),
        ("_paid_", r"\_paid\_"),
        ("www.elsewhere.invalid", r"www\.elsewhere\.invalid"),
        ("![x](http://host/p.png)", r"\!\[x\]\(http\://host/p\.png\)"),
        (":red[sold] <b>&lt;", r"\:red\[sold\] \<b\>\&lt;"),
        ("1. one\n# two", r"1\. one \# two"),
        ("$x$ `y` ~~z~~ a|b \\", r"\$x\$ \`y\` \~\~z\~\~ a\|b \\"),
    ],
)
def test_markdown_syntax_is_escaped(text: str, expected: str) -> None:
    """Images, links, colours, formulas, HTML and lists become plain text; other text is unchanged, for screen readers."""
    assert escape_markdown(text) == expected


@pytest.fixture(scope="module")
def markdown_console(tmp_path_factory: pytest.TempPathFactory, digit_pngs: list[bytes]) -> Iterator[Console]:
    """A console for models with Markdown in the names of fields and labels; one of them has a prediction."""
    with running(tmp_path_factory.mktemp("marked"), _record_package(), _image_package()) as server:
        with Client(server.url) as client:
            client.prediction(client.predict("pictures", digit_pngs[0]).query_id)
        with run_console(server.url, tmp_path_factory.mktemp("marked-console")) as console:
            yield console


def _record_package() -> Package:
    records = [{_FIELD: float(paid)} for paid in range(40)]
    truth = [int(paid > 20) for paid in range(40)]
    vectorizer = DictVectorizer(sparse=False)
    model = LogisticRegression().fit(vectorizer.fit_transform(records), truth)
    return relevo.pack((vectorizer, model), name="records", samples=records, truth=truth, figures=False)


def _image_package() -> Package:
    pixels, digits = load_digits(return_X_y=True)
    truth = (digits > 4).astype(int)
    model = LogisticRegression(max_iter=300).fit(pixels[:300] / 16, truth[:300])
    pictures = (pixels[300:340] * 15).astype(np.uint8).reshape(-1, 8, 8)
    return relevo.pack(
        model, name="pictures", samples=pictures, truth=truth[300:340], labels=_LABELS, scale=1 / 240, figures=False
    )  # fmt: skip


@pytest.mark.browser
class TestInABrowser:
    """Models with Markdown in their names."""

    pytestmark = IN_A_BROWSER

    def test_field_names_and_labels_are_shown_unchanged(self, chromium: Browser, markdown_console: Console) -> None:
        """No character of a field name or label is lost, and no image is loaded."""
        with open_page(chromium, markdown_console, "/?model=records") as page:
            expect(page.get_by_text(_FIELD, exact=True)).to_be_visible()
        with open_page(chromium, markdown_console, "/history?model=pictures") as page:
            first, second = (page.get_by_role("button", name=label) for label in _LABELS)
            expect(first.or_(second)).to_have_count(1)
