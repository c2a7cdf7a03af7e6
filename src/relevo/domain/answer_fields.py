"""Fields an answer carries beside its own, under names a project chooses: what its old clients read.

    churn_probability = "probability:leaves"   ─►  "churn_probability": 0.64
    churn             = "is:leaves"            ─►  "churn": true

    prediction · class · confidence · uncertain     the answer's own field, once more by another name
    probability:LABEL · is:LABEL                    of one label: its probability, and whether it is the one predicted

Told in relevo.toml's [answer], kept in the manifest's `answer`. Pure; read once when a version is loaded, so that an answer
pays only for what it carries.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from relevo.domain.signature import Output, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relevo.domain.decision import Answer

#: Names that an answer has already, or may have.
OWN = frozenset(
    {
        *("query_id", "model", "version", "prediction", "class", "confidence", "probabilities", "uncertain", "execution_time"),
        *("recorded", "error", "code", "field", "request_id"),
    }
)
_PLAIN: Mapping[str, Callable[[Answer], Any]] = {
    "prediction": attrgetter("label"),
    "class": attrgetter("index"),
    "confidence": attrgetter("confidence"),
    "uncertain": attrgetter("uncertain"),
}
_OF_A_LABEL = ("probability", "is")
_LONGEST_NAME = 64
_FACTS = "prediction, class, confidence, uncertain, probability:LABEL or is:LABEL"


class AnswerFields:
    """The fields of one version, ready to be read off its answers; lives as long as the version is loaded."""

    __slots__ = ("_readers",)

    def __init__(self, fields: Mapping[str, str], output: Output) -> None:
        """fields: name → fact, as `problem_of` finds nothing wrong with."""
        self._readers = tuple((name, _reader(fact, output)) for name, fact in fields.items())

    def of(self, answer: Answer) -> dict[str, Any]:
        """Name → value, in the manifest's order."""
        return {name: read(answer) for name, read in self._readers}


def problem_of(fields: Mapping[str, str], task: Task, labels: Sequence[str] | None) -> str | None:
    """What is wrong with the first field that cannot be; None when all can. labels: None where they are not known yet."""
    for name, fact in fields.items():
        problem = _name_problem(name) or _fact_problem(fact, task, labels)
        if problem:
            return f"the answer's field {name[:_LONGEST_NAME]!r} {problem}"
    return None


def _name_problem(name: str) -> str | None:
    if name in OWN:
        return "is one that every answer has; choose another name"
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        return f"needs a name of 1 to {_LONGEST_NAME} printable characters"
    return None


def _fact_problem(fact: str, task: Task, labels: Sequence[str] | None) -> str | None:
    if task is Task.REGRESSION:
        return None if fact == "prediction" else "can only be prediction: the answer is a number"
    if fact in _PLAIN:
        return None
    kind, colon, label = fact.partition(":")
    if kind not in _OF_A_LABEL or not colon:
        return f"must be {_FACTS}"
    return None if labels is None or label in labels else f"speaks of the label {label!r}; there are {', '.join(labels)}"


def _reader(fact: str, output: Output) -> Callable[[Answer], Any]:
    if output.task is Task.REGRESSION:
        return attrgetter("value")
    if fact in _PLAIN:
        return _PLAIN[fact]
    kind, _, label = fact.partition(":")
    place = output.labels.index(label)
    if kind == "is":
        return lambda answer: answer.index == place
    return lambda answer: answer.probabilities[place]
