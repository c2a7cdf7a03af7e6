"""What people write about predictions, free text: sealed where inputs are, with the key of the same subject or day.

label, judgement ─ seal ─► its columns: the text as it came, or ciphertext and the id of its key
row ─ of ─► the text, or SEALED where its key was destroyed or is not this server's
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from relevo.errors import InputUndecryptableError
from relevo.store.db.engine import read_transaction
from relevo.store.db.tables import predictions
from relevo.store.db.text import strip_unstorable

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Row

    from relevo.domain.prediction import Label
    from relevo.store.encryption import InputEncryption

#: What is told in place of a note that does not open.
SEALED = "[sealed]"


class Notes:
    """Seals and opens notes; lives as long as the process, safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, sealing: InputEncryption | None = None, *, seals: bool = False) -> None:
        """sealing: what opens those that are sealed. seals: whether new ones are."""
        self._engine = engine
        self._sealing = sealing
        self._seals = seals

    def columns(self, label: Label, at_us: int) -> dict[str, Any]:
        """The columns of a label that hold its note. It may write a key: not within a transaction."""
        return self._columns("note", label.note, label.prediction, _of_label(label.prediction, at_us))

    def reason_columns(self, reason: str, prediction: bytes, label: int) -> dict[str, Any]:
        """The columns of a judgement on a label, by its number, that hold the reason; as above."""
        return self._columns("reason", reason, prediction, _of_judgement(label))

    def of(self, connection: Connection, row: Row[Any]) -> str:
        """The note of a label's row."""
        if row.note_key is None:
            return str(row.note)
        if self._sealing is None:
            return SEALED
        try:
            tied = _of_label(bytes(row.prediction), row.at_us)
            return self._sealing.open_text(connection, bytes(row.sealed_note), row.note_key, tied)
        except InputUndecryptableError:
            return SEALED

    def _columns(self, name: str, text: str, prediction: bytes, tied: bytes) -> dict[str, Any]:
        text, sealed, key = strip_unstorable(text), None, None
        if text and self._seals and self._sealing is not None:
            # The prediction's day: retention destroys that key when it removes the prediction.
            day = datetime.fromtimestamp(int.from_bytes(prediction[:6], "big") / 1000, UTC)
            sealed, key = self._sealing.seal_text(text, tied, subject=self._subject_of(prediction), at=day)
            text = ""
        return {name: text, f"sealed_{name}": sealed, f"{name}_key": key}

    def _subject_of(self, prediction: bytes) -> str | None:
        with read_transaction(self._engine) as connection:
            found: str | None = connection.scalar(select(predictions.c.subject).where(predictions.c.id == prediction))
        return found


def _of_label(prediction: bytes, at_us: int) -> bytes:
    return b"labels\0note\0" + prediction + str(at_us).encode()


def _of_judgement(label: int) -> bytes:
    return b"judgements\0reason\0" + str(label).encode()
