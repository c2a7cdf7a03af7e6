"""Notes of labels and reasons of reviews: free text, encrypted where inputs are, with the key of the same subject or day.

label, review ─ columns ─► the plain text, or ciphertext and the id of its key
row ─ of ─► the text, or SEALED where its key was destroyed or is unknown to this server
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

#: Shown in place of a note that cannot be decrypted.
SEALED = "[sealed]"


class Notes:
    """Encrypts and decrypts notes. Lifetime: the process; safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, encryption: InputEncryption | None = None, *, encrypts: bool = False) -> None:
        """encryption: decrypts encrypted notes. encrypts: whether new notes are encrypted."""
        self._engine = engine
        self._encryption = encryption
        self._encrypt = encrypts

    def columns(self, label: Label, at_us: int) -> dict[str, Any]:
        """Returns the columns of a label that hold its note. May create a key: do not call within a transaction."""
        return self._columns("note", label.note, label.prediction, _note_context(label.prediction, at_us))

    def reason_columns(self, reason: str, prediction: bytes, label: int) -> dict[str, Any]:
        """Returns the columns of a review that hold its reason. May create a key: do not call within a transaction.

        label: serial of the label.
        """
        return self._columns("reason", reason, prediction, _reason_context(label))

    def read(self, connection: Connection, row: Row[Any]) -> str:
        """Returns the note of a label's row."""
        if row.note_key is None:
            return str(row.note)
        if self._encryption is None:
            return SEALED
        try:
            context = _note_context(bytes(row.prediction), row.at_us)
            return self._encryption.decrypt_text(connection, bytes(row.encrypted_note), row.note_key, context)
        except InputUndecryptableError:
            return SEALED

    def _columns(self, name: str, text: str, prediction: bytes, context: bytes) -> dict[str, Any]:
        text, sealed, key = strip_unstorable(text), None, None
        if text and self._encrypt and self._encryption is not None:
            # The key of the prediction's day: retention destroys it when it deletes the prediction.
            day = datetime.fromtimestamp(int.from_bytes(prediction[:6], "big") / 1000, UTC)
            sealed, key = self._encryption.encrypt_text(text, context, subject=self._load_subject(prediction), at=day)
            text = ""
        return {name: text, f"encrypted_{name}": sealed, f"{name}_key": key}

    def _load_subject(self, prediction: bytes) -> str | None:
        with read_transaction(self._engine) as connection:
            subject: str | None = connection.scalar(select(predictions.c.subject).where(predictions.c.id == prediction))
        return subject


def _note_context(prediction: bytes, at_us: int) -> bytes:
    return b"labels\0note\0" + prediction + str(at_us).encode()


def _reason_context(label: int) -> bytes:
    return b"label_reviews\0reason\0" + str(label).encode()
