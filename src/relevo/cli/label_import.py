"""Lines of a file become labels: by id at a server or in the folder, by one's own key in the folder alone.

Line ─ own key? ─► the one prediction whose record has it; none or several: refused
     └ id ───────► known? a label of its model? ─► labels, some hundred a transaction, one link of the audit each
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from relevo.cli.label_csv import Outcome
from relevo.cli.os_user import current_user
from relevo.cli.translate import sentence
from relevo.domain import ids
from relevo.domain.prediction import InputKind, Label, PredictionRecord
from relevo.domain.signature import Task
from relevo.errors import (
    InvalidInputError,
    InvalidLabelError,
    NotFoundError,
    PermissionDeniedError,
    PredictionNotFoundError,
    RecordKeyAmbiguousError,
    RecordKeyNotFoundError,
    RelevoError,
)
from relevo.web.routes.labels import check_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from relevo.cli.label_csv import Line
    from relevo.client import Client
    from relevo.server import Store
    from relevo.store.predictions import StoredInput

SOURCE = "csv"
_AT_ONCE = 500
_A_PAGE = 1000


def import_remotely(client: Client, lines: Iterable[Line], progress: Callable[[int], None]) -> Outcome:
    """Send every line to a server, which names the author it knows."""
    outcome = Outcome()
    for done, line in enumerate(lines, 1):
        if not line.label:
            outcome.empty += 1
            continue
        try:
            client.label(line.about, line.label, note=line.note, wait=0)
            outcome.kept += 1
            outcome.compare(line, line.about)
        except (InvalidInputError, InvalidLabelError, PermissionDeniedError, NotFoundError) as refusal:
            outcome.refuse(line, sentence(refusal))
        progress(done)
    return outcome


class LabelImporter:
    """One file into the store of this folder; lives as long as the command."""

    def __init__(self, store: Store, author: str | None) -> None:
        self._store = store
        self._author = author or current_user()
        self._known: dict[tuple[str, int], tuple[Task, tuple[str, ...]]] = {}
        self._waiting: list[Label] = []
        #: What somebody last said of a prediction, labels that wait included.
        self._said: dict[tuple[bytes, str], tuple[str, str]] = {}
        self.outcome = Outcome(rule=store.labels.rule().rule.value)

    def run(self, lines: Iterable[Line], progress: Callable[[int], None], *, keys: dict[str, list[bytes]] | None = None) -> Outcome:
        """Keep every line that can be kept. keys: own key → predictions that have it; None when the lines name ids."""
        for done, line in enumerate(lines, 1):
            if not line.label:
                self.outcome.empty += 1
                continue
            try:
                self._take(line, self._find(line, keys))
            except RelevoError as refusal:
                self.outcome.refuse(line, sentence(refusal))
            if len(self._waiting) >= _AT_ONCE:
                self._keep()
            progress(done)
        self._keep()
        return self.outcome

    def _find(self, line: Line, keys: dict[str, list[bytes]] | None) -> bytes:
        if keys is None:
            found = ids.raw(line.about)
            if found is None:
                raise PredictionNotFoundError
            return found
        several = keys.get(line.about, [])
        if len(several) != 1:
            raise RecordKeyAmbiguousError if several else RecordKeyNotFoundError
        return several[0]

    def _take(self, line: Line, prediction: bytes) -> None:
        it = self._store.history.get(prediction).prediction
        check_label(line.label, *self._expected(it))
        self.outcome.compare(line, prediction)
        author = line.author or self._author
        said = (line.label, line.note)
        if self._last_word(prediction, author) == said:
            self.outcome.unchanged += 1
            return
        self._said[prediction, author] = said
        now = datetime.now(UTC)
        self._waiting.append(Label(prediction=prediction, value=said[0], author=author, source=SOURCE, at=now, note=said[1]))

    def _last_word(self, prediction: bytes, author: str) -> tuple[str, str] | None:
        if (prediction, author) in self._said:
            return self._said[prediction, author]
        mine = [label for label in self._store.labels.of(prediction) if label.author == author]
        return (mine[-1].value, mine[-1].note) if mine else None

    def _expected(self, it: PredictionRecord) -> tuple[Task, tuple[str, ...]]:
        where = (it.model, it.version)
        if where not in self._known:
            summary = self._store.registry.version(*where).summary
            self._known[where] = (Task(summary["task"]), tuple(summary["labels"]))
        return self._known[where]

    def _keep(self) -> None:
        self._store.labels.put_many(self._waiting)
        self.outcome.kept += len(self._waiting)
        self._waiting.clear()


def find_by_record_key(store: Store, model: str, field: str, wanted: Sequence[str]) -> dict[str, list[bytes]]:
    """Which predictions of a model were asked with these values in that field of their record."""
    found: dict[str, list[bytes]] = {value: [] for value in wanted}
    cursor = None
    while True:
        page = store.history.window(model=model, cursor=cursor, limit=_A_PAGE)
        for start in range(0, len(page.items), _AT_ONCE):
            for sent in store.history.inputs([stored.prediction.id for stored in page.items[start : start + _AT_ONCE]]):
                value = _field_of(sent, field)
                if value in found:
                    found[value].append(sent.prediction)
        cursor = page.next_cursor
        if cursor is None:
            return found


def _field_of(sent: StoredInput, field: str) -> str | None:
    if sent.data is None or sent.kind is not InputKind.RECORD:
        return None
    try:
        value = msgspec.json.decode(sent.data).get(field)
    except (msgspec.DecodeError, AttributeError):
        return None
    return None if value is None else str(value)
