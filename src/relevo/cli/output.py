"""What commands show: tables and sentences for people, JSON for programs, progress on standard error.

value ─► JSON            rows ─► table            step by step ─► bar on standard error
sentences, heads of tables, steps ─ said ─► the language spoken; cells, JSON and the texts of others as they are
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


_LIST_WIDTH = 1000
#: In a pipe, how often a long step says how far it is.
_LINE_EVERY_S = 30.0
_HELD_OUT = re.compile("^val(idation)?_")
_FIGURE = re.compile(r"-?\d[\d.]*(e[-+]?\d+)?")


def say(text: str) -> None:
    """Our own lines on standard output, in the language spoken; what would steer the terminal is spelt out."""
    show_text("\n".join(map(_said, text.split("\n"))))


def warn(text: str) -> None:
    """Our own line on standard error, in the language spoken."""
    sys.stderr.write(escape_control(translate(text)) + "\n")


def show_error(error: RelevoError, name: str = "") -> None:
    """A refusal on standard error, in the language spoken. name: of what it is about."""
    told = f"{name}: {error_text(error)}" if name else error_text(error)
    sys.stderr.write(f"error: {escape_control(told)} ({error.code})\n")


def show_text(text: str) -> None:
    """Somebody's text on standard output, as it is but for what would steer the terminal."""
    _write(escape_control(text, keep="\n"))


def _said(line: str) -> str:
    bare = line.strip()
    return line.replace(bare, translate(bare), 1) if bare else line


def _write(text: str) -> None:
    """At once: who reads a pipe sees it when it is said."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show_json(value: Any) -> None:
    """One JSON document on standard output: values as objects, times in ISO 8601, paths as text."""
    import msgspec

    show_text(msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode())


def show_table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table for people; `empty` is what to say without rows."""
    from rich.console import Console
    from rich.table import Table

    shown = [["" if cell is None else escape_control(str(cell)) for cell in row] for row in rows]
    if not shown:
        say(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(heads))
    for head in heads:
        table.add_column(translate(head), overflow="fold")
    for row in shown:
        table.add_row(*row)
    # Rows of a list stay lines, in a pipe and on a narrow screen: an id that is cut in two cannot be copied.
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() and not any(heads) else _LIST_WIDTH)
    with console.capture() as drawn:
        console.print(table)
    for line in drawn.get().splitlines():
        # The cells are fit to be shown; what is left of escapes is the table's own, on a terminal.
        _write(line.rstrip())


def step_said(what: str) -> str:
    """A step in the language spoken; of `training loss 0.31`, with figures after its first word, each with its name."""
    name, *figures = what.split(" ")
    if len(figures) < 2 or len(figures) % 2 or not all(_FIGURE.fullmatch(one) for one in figures[1::2]):
        return translate(what)
    told = (word for one, value in zip(figures[::2], figures[1::2], strict=True) for word in (_called(one), number(float(value))))
    return " ".join((translate(name), *told))


def _called(quantity: str) -> str:
    """A quantity as its training tells it; `validation_loss`, or Keras' `val_loss`, is that of what is held out."""
    held_out, usual = _HELD_OUT.match(quantity), translate(_HELD_OUT.sub("", quantity).replace("_", " "))
    return f"{usual} ({translate('held out')})" if held_out else usual


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Callable[[int, int, str], None]]:
    """A bar for each step of long work on standard error. Gives `step(done, total, what)`.

    In a pipe a line where each begins, and others as it goes on. A total of 0 means that nobody knows how much there is.
    """
    if quiet:
        yield lambda _done, _total, _what: None
        return
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        known: dict[str, Any] = {}

        def step(done: int, total: int, what: str) -> None:
            # One bar a step, whatever figures it tells beside its first word.
            name = what.partition(" ")[0]
            task = known.get(name)
            if task is None:
                task = known[name] = bars.add_task(escape_control(step_said(what)), total=total or None)
            bars.update(task, completed=done, total=total or None, description=escape_control(step_said(what)))

        yield step


def _lines() -> Callable[[int, int, str], None]:
    """A line where a step begins, and one more every half a minute that it lasts."""
    told: dict[str, float] = {}  # step → when it was last told of, monotonic seconds

    def step(done: int, total: int, what: str) -> None:
        name, now = what.partition(" ")[0], time.monotonic()
        # What is over when it is first told of has nothing to wait for.
        if done >= total > 0 or (name in told and now - told[name] < _LINE_EVERY_S):
            return
        how_far = f" {done}/{total}" if total and name in told else ""
        told[name] = now
        sys.stderr.write(f"{escape_control(step_said(what))}{how_far} …\n")
        sys.stderr.flush()

    return step
