"""An example's README read as a script, so that what it documents is what is run.

    README.md ─ fenced blocks ─► sh: commands, one a line            json | html after it: what the last of them answers
    answer got ─ differences(documented, got) ─► sentences           none: it is as documented

Only `sh` blocks are run. What takes an hour, or needs what most machines lack, stands in a block of another kind.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: What differs from one asking to the next and is only held to be of the same kind.
VARYING = frozenset({"query_id", "request_id", "execution_time"})
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ADDRESS = re.compile(r"https?://(?:127\.0\.0\.1|localhost):\d+")
#: Their work is done by whoever runs the example.
_DONE_BY_THE_RUNNER = ("make ", "cd ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of a README, and the answer it documents."""

    line: str
    answer: str = ""
    #: `json`, `html`, or nothing where no answer is shown.
    kind: str = ""

    @property
    def serves(self) -> bool:
        """Whether it starts the server, which stays up from then on."""
        return self.line.startswith("relevo serve")

    @property
    def asks(self) -> bool:
        """Whether it asks the running server."""
        return self.line.startswith("curl ")

    def at(self, url: str) -> str:
        """The command with the server's real address."""
        return _ADDRESS.sub(url, self.line)


def steps(readme: Path) -> list[Step]:
    """The commands of a README in their order; a line that ends in a backslash goes on in the next."""
    found: list[Step] = []
    before = ""
    for kind, text in _BLOCK.findall(readme.read_text(encoding="utf-8")):
        if kind == "sh":
            lines = text.replace("\\\n", " ").splitlines()
            found += [Step(line=line.strip()) for line in lines if line.strip() and not line.startswith(_DONE_BY_THE_RUNNER)]
        elif kind in ("json", "html") and before == "sh" and found:
            found[-1] = Step(line=found[-1].line, answer=text, kind=kind)
        before = kind
    return found


def unlike(step: Step, got: str, *, tolerance: float, exact: bool) -> list[str]:
    """What the server answered otherwise than documented, one sentence each.

    tolerance: largest distance of a number with a fraction. exact: False compares only keys and kinds, for a smaller model.
    """
    if step.kind == "html":
        return [f"the page lacks {line.strip()!r}" for line in step.answer.splitlines() if line.strip() not in got]
    try:
        answer = json.loads(got)
    except ValueError:
        return [f"it answered no JSON but {got[:200]!r}"]
    return list(_differences(json.loads(step.answer), answer, "", tolerance=tolerance, exact=exact))


def _differences(documented: Any, got: Any, place: str, *, tolerance: float, exact: bool) -> Iterator[str]:
    if isinstance(documented, dict) and isinstance(got, dict):
        if list(documented) != list(got):
            yield f"{place or 'the answer'} has the keys {list(got)} and not {list(documented)}"
            return
        for key, value in documented.items():
            fixed = exact and key not in VARYING
            yield from _differences(value, got[key], f"{place}.{key}".lstrip("."), tolerance=tolerance, exact=fixed)
    elif isinstance(documented, list) and isinstance(got, list) and len(documented) == len(got):
        for number, (one, other) in enumerate(zip(documented, got, strict=True)):
            yield from _differences(one, other, f"{place}[{number}]", tolerance=tolerance, exact=exact)
    elif not _same_kind(documented, got):
        yield f"{place} is {got!r} and not of the kind of {documented!r}"
    elif exact and not _same_value(documented, got, tolerance):
        yield f"{place} is {got!r} and not {documented!r}"


def _same_kind(documented: object, got: object) -> bool:
    numbers = (int, float)
    if type(documented) in numbers and type(got) in numbers:
        return True
    return type(documented) is type(got) and not isinstance(documented, list)


def _same_value(documented: object, got: object, tolerance: float) -> bool:
    if isinstance(documented, float) and isinstance(got, int | float):
        return abs(documented - got) <= tolerance
    return documented == got
