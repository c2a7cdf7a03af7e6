"""Output of commands: external text cannot control the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from relevo.cli import output
from relevo.cli.app import run
from relevo.cli.output import progress, say, show_json, show_table, step_text
from relevo.cli.translate import percent, set_language

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EVIL = "\x1b]0;owned\x07\x9b31m\x9d\u202e\r"


def steering(text: str) -> set[str]:
    return set(text) & set("\x1b\x07\x9b\x9d\u202e\r")


@pytest.mark.parametrize(
    "show",
    [
        lambda: say(f"Kept: {EVIL}"),
        lambda: show_table(("label",), [(EVIL + "\nfaked row",)], empty=""),
        lambda: show_table(("", ""), [("description", EVIL + "\nfaked  row")], empty=""),
    ],
)
def test_words_of_strangers_are_spelt_out(capsys: pytest.CaptureFixture[str], show: Callable[[], None]) -> None:
    """Texts and cells show control characters escaped, and a cell cannot start a new line."""
    show()
    message = capsys.readouterr().out
    assert not steering(message)
    assert "\\u001b" in message
    assert not any(line.startswith("faked") for line in message.splitlines())


def test_json_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON output contains the exact text, without raw control characters."""
    show_json({"label": EVIL + "\n"})
    message = capsys.readouterr().out
    assert not steering(message)
    assert json.loads(message) == {"label": EVIL + "\n"}


def test_an_error_is_one_plain_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of an untrusted relevo.toml cannot overwrite the error message."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relevo.toml").write_text('[server]\n"evil\\u001b[2Jkey\\n\\u009b" = 1\n', encoding="utf-8")
    assert run(["models"]) == 1
    message = capsys.readouterr().err
    assert not steering(message)
    assert message.count("\n") == 1
    assert "evil\\u001b[2Jkey\\n\\u009b" in message


def test_a_table_on_a_terminal_keeps_its_own_style(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Table headers are bold on a terminal: only external text is escaped."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    show_table(("label",), [("\x1b[31mred",)], empty="")
    message = capsys.readouterr().out
    assert "\x1b[1m" in message
    assert "\\u001b[31mred" in message


@pytest.mark.parametrize(
    ("share", "told"), [(0.99987, "99.9%"), (0.9996, "99.9%"), (1.0, "100.0%"), (0.57, "57.0%"), (0.0, "0.0%")]
)
def test_what_is_not_certain_is_not_100(share: float, told: str) -> None:
    """A fraction below one is never shown as 100 %."""
    assert percent(share) == told


def test_the_figures_of_an_epoch_are_in_the_language() -> None:
    """Metric names and decimal separators are translated; a step without metrics stays as it is."""
    set_language("es")
    try:
        assert step_text("training loss 0.3125 val_loss 0.5 accuracy 0.9788") == (
            "entrenando pérdida 0,3125 pérdida (reservados) 0,5 exactitud 0,9788"
        )
        assert step_text("loading data") == "cargando datos"
    finally:
        set_language("en")
    assert step_text("training loss nan") == "training loss nan"
    assert step_text("training validation_loss 0.5") == "training loss (held out) 0.5"


def test_long_work_without_a_terminal_says_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal, a step prints a line at its start and periodically; a short one prints one line."""
    with progress() as step:
        for epoch in range(4):
            step(epoch, 3, f"training loss {epoch + 0.5}")
    assert capsys.readouterr().err == "training loss 0.5 …\n"
    monkeypatch.setattr(output, "_LINE_INTERVAL_S", 0.0)
    with progress() as step:
        for epoch in range(4):
            step(epoch, 3, f"training loss {epoch + 0.5}")
    assert capsys.readouterr().err == "training loss 0.5 …\ntraining loss 1.5 1/3 …\ntraining loss 2.5 2/3 …\n"
