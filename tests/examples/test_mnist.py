"""The digits example, from its data to its last answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from examples.running import run_example
from tests.serving_world import QUICK, started

from relevo.config import Settings

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("keras", reason="the extra keras is not installed")


def test_it_answers_as_its_readme_tells(tmp_path: Path) -> None:
    """Trained on 1,800 digits, it is served, asked with the documented curl lines, and answers of the documented form."""
    outcome = run_example("mnist", tmp_path, limit=2100, tell=lambda _: None)
    assert not outcome.problems
    assert outcome.asked == 7
    assert outcome.figures[0].reached > 0.8


@pytest.mark.parametrize(("language", "told"), [("en", "The model is not loaded"), ("es", "El modelo no está cargado")])
def test_a_server_without_a_model_says_so(tmp_path: Path, language: str, told: str) -> None:
    """Before anything is trained the answer is 503 with the code `not_ready`, in the caller's language."""
    with started(Settings(home=tmp_path / "home", **QUICK)) as server:
        files = {"file": ("7.png", b"any", "image/png")}
        answer = httpx.post(f"{server.url}/predict", files=files, headers={"accept-language": language})
    assert answer.status_code == 503
    assert answer.json()["code"] == "not_ready"
    assert told in answer.json()["error"]
