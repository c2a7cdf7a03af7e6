"""Fields an answer carries beside its own, under names a project chooses: what its old clients read.

    churn_probability = "probability:leaves"   ─►  "churn_probability": 0.64
    churn             = "is:leaves"            ─►  "churn": true

    prediction · class · confidence · uncertain     the answer's own field, once more by another name
    number                                          the label as a number, where every label is one: 7 in place of "7"
    probability:LABEL · is:LABEL                    of one label: its probability, and whether it is the one predicted

The short answer of /predict/, which exists for old clients alone, may be given its own fields otherwise: `prediction = "number"`
there and `prediction` everywhere else live side by side. Where every label is a number its prediction is one anyway.

Told in relevo.toml's [answer], kept in the manifest's `answer`. Pure; read once when a version is loaded, so that an answer
pays only for what it carries.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from relevo.domain.signature import Output, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relevo.domain.decision import DecisionResult

#: Names that an answer has already, or may have.
OWN = frozenset(
    {
        *("query_id", "model", "version", "prediction", "class", "confidence", "probabilities", "uncertain", "execution_time"),
        *("recorded", "error", "code", "field", "request_id", "status_code", "warnings"),
    }
)
#: Those of them that the short answer may give another meaning: it is for clients of one old service, which knew its own.
_SHORT = frozenset({"model", "version", "prediction", "class", "confidence", "probabilities", "uncertain"})
_PLAIN: Mapping[str, Callable[[DecisionResult], Any]] = {
    "prediction": attrgetter("label"),
    "class": attrgetter("index"),
    "confidence": attrgetter("confidence"),
    "uncertain": attrgetter("uncertain"),
}
_OF_A_LABEL = ("probability", "is")
_LONGEST_NAME = 64
_FACTS = "prediction, class, confidence, uncertain, number, probability:LABEL or is:LABEL"


class ExtraFields:
    """The fields of one version, ready to be read off its answers; lives as long as the version is loaded."""

    __slots__ = ("_readers", "_short", "any")

    def __init__(self, fields: Mapping[str, str], output: Output) -> None:
        """fields: name → fact, as `problem_of` finds nothing wrong with."""
        numbers = {"prediction": "number"} if output.task is Task.CLASSIFICATION and are_numbers(output.labels) else {}
        self._short = tuple((name, _reader(fact, output)) for name, fact in {**numbers, **fields}.items())
        self._readers = tuple((name, read) for name, read in self._short if name not in OWN)
        #: Whether an answer of any kind carries something beside its own.
        self.any = bool(self._short)

    def of(self, answer: DecisionResult) -> dict[str, Any]:
        """Name → value, in the manifest's order."""
        return {name: read(answer) for name, read in self._readers}

    def short(self, answer: DecisionResult) -> dict[str, Any]:
        """Name → value for the short answer, fields of its own among them."""
        return {name: read(answer) for name, read in self._short}


def are_numbers(labels: Sequence[str]) -> bool:
    """Whether each label is a whole number as a program writes it: "7", but not "07"."""
    return bool(labels) and all(_as_number(label) is not None for label in labels)


def _as_number(label: str) -> int | None:
    try:
        number = int(label)
    except ValueError:
        return None
    return number if str(number) == label else None


def problem_of(fields: Mapping[str, str], task: Task, labels: Sequence[str] | None) -> str | None:
    """What is wrong with the first field that cannot be; None when all can. labels: None where they are not known yet."""
    for name, fact in fields.items():
        problem = _name_problem(name) or _fact_problem(fact, task, labels)
        if problem:
            return f"the answer's field {name[:_LONGEST_NAME]!r} {problem}"
    return None


def _name_problem(name: str) -> str | None:
    if name in OWN - _SHORT:
        return "is one that every answer has; choose another name"
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        return f"needs a name of 1 to {_LONGEST_NAME} printable characters"
    return None


def _fact_problem(fact: str, task: Task, labels: Sequence[str] | None) -> str | None:
    if task is Task.REGRESSION:
        return None if fact == "prediction" else "can only be prediction: the answer is a number"
    if fact in _PLAIN:
        return None
    if fact == "number":
        return None if labels is None or are_numbers(labels) else "can only be number where every label is a whole number"
    kind, colon, label = fact.partition(":")
    if kind not in _OF_A_LABEL or not colon:
        return f"must be {_FACTS}"
    return None if labels is None or label in labels else f"speaks of the label {label!r}; there are {', '.join(labels)}"


def _reader(fact: str, output: Output) -> Callable[[DecisionResult], Any]:
    if output.task is Task.REGRESSION:
        return attrgetter("value")
    if fact in _PLAIN:
        return _PLAIN[fact]
    if fact == "number":
        values = tuple(_as_number(label) for label in output.labels)
        return lambda answer: None if answer.index is None else values[answer.index]
    kind, _, label = fact.partition(":")
    place = output.labels.index(label)
    if kind == "is":
        return lambda answer: answer.index == place
    return lambda answer: answer.probabilities[place]
