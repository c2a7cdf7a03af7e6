"""Extra fields of a prediction response, under names that the project chooses for its existing clients.

    churn_probability = "probability:leaves"   ─►  "churn_probability": 0.64
    churn             = "is:leaves"            ─►  "churn": true

    prediction · class · confidence · uncertain     alias of a standard field
    number                                          the label as a number, if every label is one: 7 instead of "7"
    probability:LABEL · is:LABEL                    probability of one label; whether it is the predicted one

The short response of /predict/, for legacy clients, may redefine standard fields: `prediction = "number"` there does not change
`prediction` in other responses. If every label is a number, its prediction is a number by default.

Configured in [extra_fields] of relevo.toml, stored in the manifest's `answer`. Pure. Sources are resolved once, when a version is loaded,
so that a response costs only the fields it has.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from relevo.domain.signature import Output, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relevo.domain.decision import DecisionResult

#: Standard fields of a response.
OWN = frozenset(
    {
        *("query_id", "model", "version", "prediction", "class", "confidence", "probabilities", "uncertain", "execution_time"),
        *("recorded", "error", "code", "field", "request_id", "status_code", "warnings"),
    }
)
#: Standard fields that the short response may redefine, for clients of an older service.
_SHORT_FIELDS = frozenset({"model", "version", "prediction", "class", "confidence", "probabilities", "uncertain"})
_GETTERS: Mapping[str, Callable[[DecisionResult], Any]] = {
    "prediction": attrgetter("predicted_label"),
    "class": attrgetter("index"),
    "confidence": attrgetter("confidence"),
    "uncertain": attrgetter("uncertain"),
}
_LABEL_SOURCES = ("probability", "is")
_MAX_NAME_LENGTH = 64
_SOURCES = "prediction, class, confidence, uncertain, number, probability:LABEL or is:LABEL"


class ExtraFields:
    """The extra fields of one version. Lifetime: as long as the version is loaded."""

    __slots__ = ("_readers", "_short", "any")

    def __init__(self, fields: Mapping[str, str], output: Output) -> None:
        """fields: name → source, validated by `problem_of`."""
        numbers = {"prediction": "number"} if output.task is Task.CLASSIFICATION and are_numbers(output.labels) else {}
        self._short = tuple((name, _reader(source, output)) for name, source in {**numbers, **fields}.items())
        self._readers = tuple((name, read) for name, read in self._short if name not in OWN)
        #: Whether any response has extra fields.
        self.any = bool(self._short)

    def of(self, answer: DecisionResult) -> dict[str, Any]:
        """Name → value, in the manifest's order."""
        return {name: read(answer) for name, read in self._readers}

    def short(self, answer: DecisionResult) -> dict[str, Any]:
        """Name → value for the short response, including redefined standard fields."""
        return {name: read(answer) for name, read in self._short}


def are_numbers(labels: Sequence[str]) -> bool:
    """Whether every label is a canonical integer: "7", but not "07"."""
    return bool(labels) and all(_as_number(label) is not None for label in labels)


def _as_number(label: str) -> int | None:
    try:
        number = int(label)
    except ValueError:
        return None
    return number if str(number) == label else None


def problem_of(fields: Mapping[str, str], task: Task, labels: Sequence[str] | None) -> str | None:
    """The problem of the first invalid field; None if all are valid. labels: None where they are not known yet."""
    for name, source in fields.items():
        problem = _name_problem(name) or _source_problem(source, task, labels)
        if problem:
            return f"the answer's field {name[:_MAX_NAME_LENGTH]!r} {problem}"
    return None


def _name_problem(name: str) -> str | None:
    if name in OWN - _SHORT_FIELDS:
        return "is one that every answer has; choose another name"
    if not 1 <= len(name) <= _MAX_NAME_LENGTH or not name.isprintable():
        return f"needs a name of 1 to {_MAX_NAME_LENGTH} printable characters"
    return None


def _source_problem(source: str, task: Task, labels: Sequence[str] | None) -> str | None:
    if task is Task.REGRESSION:
        return None if source == "prediction" else "can only be prediction: the answer is a number"
    if source in _GETTERS:
        return None
    if source == "number":
        return None if labels is None or are_numbers(labels) else "can only be number where every label is a whole number"
    kind, colon, label = source.partition(":")
    if kind not in _LABEL_SOURCES or not colon:
        return f"must be {_SOURCES}"
    return None if labels is None or label in labels else f"speaks of the label {label!r}; there are {', '.join(labels)}"


def _reader(source: str, output: Output) -> Callable[[DecisionResult], Any]:
    if output.task is Task.REGRESSION:
        return attrgetter("value")
    if source in _GETTERS:
        return _GETTERS[source]
    if source == "number":
        values = tuple(_as_number(label) for label in output.labels)
        return lambda answer: None if answer.index is None else values[answer.index]
    kind, _, label = source.partition(":")
    index = output.labels.index(label)
    if kind == "is":
        return lambda answer: answer.index == index
    return lambda answer: answer.probabilities[index]
