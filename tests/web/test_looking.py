"""The pages that the foot leads to: what was asked, and how the models stand, in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import httpx
    from tests.web.web_world import World


def test_the_foot_leads_to_pages(client: httpx.Client) -> None:
    """What a person is led to from the foot of a page is a page each time, never a program's JSON."""
    foot = client.get("/").text.partition("<footer")[2]
    addresses = re.findall(r'href="([^"]+)"', foot)
    assert addresses
    for address in addresses:
        assert client.get(address).headers["content-type"].startswith("text/html"), address


@pytest.mark.parametrize(("language", "told"), [("en", "No prediction yet."), ("es", "Todavía no hay predicciones.")])
def test_an_empty_history_says_what_to_do(client: httpx.Client, language: str, told: str) -> None:
    """Without predictions the page says so, and leads to the form."""
    html = client.get(f"/history?lang={language}").text
    assert told in html
    assert 'class="button" href="/"' in html


def test_the_history_is_paged_and_written_by_locale(client: httpx.Client) -> None:
    """Predictions come newest first, a page at a time, their shares and moments as the language writes them."""
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
    """A model that is not there, and a cursor that is none, are refused on a page."""
    answer = client.get("/history?cursor=none")
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


def test_health_is_told_in_words(world: World, client: httpx.Client) -> None:
    """Ready or not, and why, with the state of each model, in the reader's language."""
    assert "Ahora mismo se respondería" in client.get("/health?lang=es").text
    world.service.reason = "the server is stopping"
    answer = client.get("/health?lang=es")
    assert answer.status_code == 503
    assert "el servidor se está deteniendo" in answer.text
