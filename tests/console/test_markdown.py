"""What came from outside is shown by Streamlit's Markdown as it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from playwright.sync_api import expect
from sklearn.datasets import load_digits
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from tests.support.browser import IN_A_BROWSER
from tests.support.console import Console, console_over, opened
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
    ("text", "written"),
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
def test_every_sign_of_markdown_is_taken_by_its_word(text: str, written: str) -> None:
    """Pictures, links, colours, formulas, HTML and lists stay letters; what has none is as it was, for a reader of the screen."""
    assert escape_markdown(text) == written


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory, digit_pngs: list[bytes]) -> Iterator[Console]:
    """A console over a server with models whose names are Markdown, one of which has answered."""
    with running(tmp_path_factory.mktemp("marked"), _of_records(), _of_pictures()) as server:
        with Client(server.url) as client:
            client.prediction(client.predict("pictures", digit_pngs[0]).query_id)
        with console_over(server.url, tmp_path_factory.mktemp("marked-console")) as console:
            yield console


def _of_records() -> Package:
    records = [{_FIELD: float(paid)} for paid in range(40)]
    truth = [int(paid > 20) for paid in range(40)]
    vectorizer = DictVectorizer(sparse=False)
    model = LogisticRegression().fit(vectorizer.fit_transform(records), truth)
    return relevo.pack((vectorizer, model), name="records", samples=records, truth=truth, figures=False)


def _of_pictures() -> Package:
    pixels, digits = load_digits(return_X_y=True)
    truth = (digits > 4).astype(int)
    model = LogisticRegression(max_iter=300).fit(pixels[:300] / 16, truth[:300])
    pictures = (pixels[300:340] * 15).astype(np.uint8).reshape(-1, 8, 8)
    return relevo.pack(
        model, name="pictures", samples=pictures, truth=truth[300:340], labels=_LABELS, scale=1 / 240, figures=False
    )  # fmt: skip


@pytest.mark.browser
class TestInABrowser:
    """A model whose names are Markdown."""

    pytestmark = IN_A_BROWSER

    def test_fields_and_answers_are_read_as_they_are_called(self, chromium: Browser, marked: Console) -> None:
        """No sign is lost from a field's name or an answer, and no picture is asked for elsewhere."""
        with opened(chromium, marked, "/?model=records") as page:
            expect(page.get_by_text(_FIELD, exact=True)).to_be_visible()
        with opened(chromium, marked, "/history?model=pictures") as page:
            one, other = (page.get_by_role("button", name=label) for label in _LABELS)
            expect(one.or_(other)).to_have_count(1)
