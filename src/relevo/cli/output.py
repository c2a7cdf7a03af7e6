"""Prints the output of commands: translated text and tables for people, JSON for programs, progress on standard error.

value ─► JSON            rows ─► table            step(done, total, what) ─► progress bar on standard error
sentences, table headers, steps ─ translate ─► current language; cells, JSON and external texts are not translated
"""

from __future__ import annotations

import re
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from relevo.cli.translate import error_text, number, translate
from relevo.util.terminal import escape_control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from relevo.errors import RelevoError


_TABLE_WIDTH = 1000
#: Without a terminal: interval between two progress lines of a step.
_LINE_INTERVAL_S = 30.0
_HELD_OUT = re.compile("^val(idation)?_")
_NUMBER = re.compile(r"-?\d[\d.]*(e[-+]?\d+)?")


def say(text: str) -> None:
    """Prints lines on standard output, translated; terminal control characters are escaped."""
    show_text("\n".join(map(_translate_line, text.split("\n"))))


def warn(text: str) -> None:
    """Prints a line on standard error, translated."""
    sys.stderr.write(escape_control(translate(text)) + "\n")


def show_error(error: RelevoError, name: str = "") -> None:
    """Prints an error on standard error, translated. name: of the object it concerns."""
    message = f"{name}: {error_text(error)}" if name else error_text(error)
    sys.stderr.write(f"error: {escape_control(message)} ({error.code})\n")


def show_text(text: str) -> None:
    """Prints external text on standard output, with terminal control characters escaped."""
    _write(escape_control(text, keep="\n"))


def _translate_line(line: str) -> str:
    text = line.strip()
    return line.replace(text, translate(text), 1) if text else line


def _write(text: str) -> None:
    """Writes and flushes a line, so that the reader of a pipe sees it at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show_json(value: Any) -> None:
    """Prints one JSON document on standard output: times in ISO 8601, paths as text."""
    import msgspec

    show_text(msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode())


def show_table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Prints a table. empty: the text to print without rows."""
    from rich.console import Console
    from rich.table import Table

    cells = [["" if cell is None else escape_control(str(cell)) for cell in row] for row in rows]
    if not cells:
        say(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(heads))
    for header in heads:
        table.add_column(translate(header), overflow="fold")
    for row in cells:
        table.add_row(*row)
    # Rows with headers are not wrapped, because a wrapped id cannot be copied.
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() and not any(heads) else _TABLE_WIDTH)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        # The cells are escaped above; remaining escape sequences are the table's own.
        _write(line.rstrip())


def show_list(
    value: Callable[[], Any],
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    as_json: bool,
    empty: str,
    cursor: str | None = None,
) -> None:
    """Prints a list: the value as JSON, or a table. cursor: of the next page, if there is one."""
    if as_json:
        show_json(value())
        return
    show_table(heads, rows, empty=empty)
    if cursor is not None:
        say(f"More: --cursor {cursor}")


def show_outcome(value: Any, *lines: str, as_json: bool) -> None:
    """Prints what a command did: the value as JSON, or the lines. value: also a function that gives it."""
    if as_json:
        show_json(value() if callable(value) else value)
    else:
        say("\n".join(lines))


def step_text(step: str) -> str:
    """Translates a step such as `training loss 0.31`: its first word, then pairs of metric name and value."""
    name, *metrics = step.split(" ")
    if len(metrics) < 2 or len(metrics) % 2 or not all(_NUMBER.fullmatch(metric) for metric in metrics[1::2]):
        return translate(step)
    words = (
        word
        for metric, value in zip(metrics[::2], metrics[1::2], strict=True)
        for word in (_metric_name(metric), number(float(value)))
    )
    return " ".join((translate(name), *words))


def _metric_name(metric: str) -> str:
    """Translates a metric name; `validation_loss` or Keras' `val_loss` becomes the loss on held-out data."""
    held_out, name = _HELD_OUT.match(metric), translate(_HELD_OUT.sub("", metric).replace("_", " "))
    return f"{name} ({translate('held out')})" if held_out else name


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Callable[[int, int, str], None]]:
    """Shows a progress bar per step of long work on standard error. Gives `step(done, total, what)`.

    Without a terminal, prints a line at the start of each step and periodically. A total of 0 means that it is unknown.
    """
    if quiet:
        yield lambda _done, _total, _what: None
        return
    if not sys.stderr.isatty():
        yield _progress_lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def step(done: int, total: int, text: str) -> None:
            # One bar per step; its first word identifies the step.
            name = text.partition(" ")[0]
            task = tasks.get(name)
            if task is None:
                task = tasks[name] = bars.add_task(escape_control(step_text(text)), total=total or None)
            bars.update(task, completed=done, total=total or None, description=escape_control(step_text(text)))

        yield step


def _progress_lines() -> Callable[[int, int, str], None]:
    """Prints a line at the start of a step, and every 30 seconds while it lasts."""
    printed_at: dict[str, float] = {}  # step → time of its last line, monotonic seconds

    def step(done: int, total: int, text: str) -> None:
        name, now = text.partition(" ")[0], time.monotonic()
        # A step that is complete at its first call needs no line.
        if done >= total > 0 or (name in printed_at and now - printed_at[name] < _LINE_INTERVAL_S):
            return
        progress_text = f" {done}/{total}" if total and name in printed_at else ""
        printed_at[name] = now
        sys.stderr.write(f"{escape_control(step_text(text))}{progress_text} …\n")
        sys.stderr.flush()

    return step
