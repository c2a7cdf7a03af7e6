"""Inputs and notes sealed at rest: AES-256-GCM, a key a subject, and those keys wrapped by one that never lies in the database.

    prepare(subject) ─► a data key: drawn, wrapped by the master key, kept in subject_keys        before a request is answered
    seal(prediction) ─► nonce and ciphertext in place of the input, the key's id beside it        in memory, nothing is asked
    open(id, key, bytes) ─► the input, unless the key was destroyed
    seal_text, open_text ─► the same of what people write about a prediction; the store is asked for the key

What nobody is named for is sealed with the key of its day. A ciphertext is tied to its row: moved to another one, it does not open.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec
from sqlalchemy import func, select

from relevo.domain.audit import AuditEvent
from relevo.errors import InputUndecryptableError, JournalUnavailableError, MissingDependencyError
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import subject_keys
from relevo.util.state_file import load_state, save_state
from relevo.util.timestamps import to_us

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from sqlalchemy import Connection, Engine

    from relevo.domain.audit import Actor
    from relevo.domain.prediction import PredictionRecord
    from relevo.store.audit.log import AuditLog

_NONCE = 12
_KEY_BYTES = 32
#: Seconds after which a worker looks again whether a subject's key still counts: what comes for an erased subject until then is
#: sealed with the destroyed key, and so erased, too.
_TRUSTED_S = 60.0
_MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """A data key in use."""

    id: str
    cipher: AESGCM
    until: float  # monotonic; when it is looked up again


class _Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """The key of a day as a file holds it, for a start while the store is away."""

    id: str
    subject: str
    wrapped: bytes


def count_data_keys(engine: Engine) -> int:
    """How many keys count, whatever wrapped them: without one nothing was sealed. Raises DatabaseUnavailableError."""
    with read_transaction(engine) as connection:
        return connection.scalar(select(func.count()).where(subject_keys.c.wrapped.is_not(None))) or 0


class InputEncryption:
    """Seals and opens inputs; lives as long as the process, safe for several threads."""

    def __init__(
        self, engine: Engine, master: bytes, *, remembered: Path | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """master: 32 bytes. remembered: where the wrapped key of the day is kept for a start without the store.

        Raises MissingDependencyError without the extra that encrypts.
        """
        if find_spec("cryptography") is None:
            raise MissingDependencyError(extra="sealing")
        self._engine = engine
        self._master = _cipher(master)
        self._monotonic = monotonic
        self._place = remembered
        self._known: dict[str, _Key] = {}
        self._today: _Key | None = None
        self._day = ""
        #: How wrapped keys name the master key.
        self.master_id = hmac.new(master, b"master key", hashlib.sha256).hexdigest()[:16]

    # --- before a request is answered ---------------------------------------------------------------------------------------

    def is_ready(self, subject: str) -> bool:
        """Whether this subject's input can be sealed without a look into the store."""
        known = self._known.get(subject)
        return known is not None and known.until > self._monotonic()

    def prepare(self, subject: str, *, at: datetime) -> None:
        """Have this subject's key at hand. Raises DatabaseUnavailableError."""
        known = self._key_for(subject, at)
        while len(self._known) >= _MOST_KNOWN:
            # Race: another thread may have taken the oldest already.
            self._known.pop(next(iter(self._known)), None)
        self._known[subject] = known

    def prepare_day(self, at: datetime) -> None:
        """Have the key of the day at hand; yesterday's goes on while the store is away."""
        day = _day(at)
        if day == self._day:
            return
        self._today = self._key_for(day, at, remembers=True)
        self._day = day

    def recall_day(self) -> None:
        """Take the key that was used last in this home, when the store is away at the start; nothing where none is remembered."""
        if self._place is not None and self._today is None:
            kept = load_state(self._place, _Remembered)
            # Wrapped by another master key, it is of no use here.
            with contextlib.suppress(InputUndecryptableError):
                if kept is not None:
                    self._today = _Key(id=kept.id, cipher=self._unwrapped(kept.id, kept.subject, kept.wrapped), until=0)

    # --- in the path of a request -------------------------------------------------------------------------------------------

    def seal(self, prediction: PredictionRecord) -> PredictionRecord:
        """The prediction with its input sealed. Raises JournalUnavailableError where no key is at hand."""
        data = prediction.input
        if data is None:
            return prediction
        key = self._today if prediction.subject is None else self._known.get(prediction.subject)
        if key is None:
            raise JournalUnavailableError(reason="the key to seal inputs with is not at hand while the database is away")
        nonce = os.urandom(_NONCE)
        sealed = nonce + key.cipher.encrypt(nonce, data, _tied(prediction.id, key.id))
        return msgspec.structs.replace(prediction, input=sealed, key=key.id)

    def seal_all(self, predictions: Sequence[PredictionRecord]) -> list[PredictionRecord]:
        """Each with its input sealed. Raises JournalUnavailableError."""
        return [self.seal(one) for one in predictions]

    # --- afterwards ---------------------------------------------------------------------------------------------------------

    def open(self, prediction: bytes, key: str, sealed: bytes) -> bytes:
        """The input of that prediction. Raises InputUndecryptableError when its key is gone or not ours, or it was changed or moved."""
        with read_transaction(self._engine) as connection:
            cipher = self._look_up(connection, key)
        return _decrypted(cipher, sealed, _tied(prediction, key))

    def seal_text(self, text: str, row: bytes, *, subject: str | None, at: datetime) -> tuple[bytes, str]:
        """A text sealed with the key of this subject, or of the day where nobody is named, and the id of that key.

        row: what the text belongs to: table, column and row. Raises DatabaseUnavailableError.
        """
        key = self._key_for(_day(at) if subject is None else subject, at)
        nonce = os.urandom(_NONCE)
        return nonce + key.cipher.encrypt(nonce, text.encode(), row + b"\0" + key.id.encode()), key.id

    def open_text(self, connection: Connection, sealed: bytes, key: str, row: bytes) -> str:
        """The text that `seal_text` sealed, within the caller's transaction. Raises InputUndecryptableError as `open` does."""
        return _decrypted(self._look_up(connection, key), sealed, row + b"\0" + key.encode()).decode()

    def rewrap(self, master: bytes, audit: AuditLog, *, at: datetime, by: Actor) -> int:
        """Wrap every key anew by another master key, so that older copies of them are worth nothing once its own is gone.

        Nobody may seal meanwhile. Those that the new one has wrapped already stay, so it may be done again after a kill.
        Returns how many keys. Raises InputUndecryptableError when one does not open, and then nothing was changed.
        """
        new = InputEncryption(self._engine, master)
        with write_transaction(self._engine) as connection:
            old = subject_keys.c.wrapped.is_not(None) & (subject_keys.c.master != new.master_id)
            rows = connection.execute(select(subject_keys).where(old)).all()
            for row in rows:
                secret = self._secret(row.id, row.subject, bytes(row.wrapped))
                values = {"wrapped": new.wrap(row.id, row.subject, secret), "master": new.master_id}
                connection.execute(subject_keys.update().where(subject_keys.c.id == row.id).values(**values))
            act = AuditEvent(by=by, action="sealing.rewrap", object="master_key", before=self.master_id, after=new.master_id)
            audit.append(connection, act, at=at)
        if self._place is not None:
            self._place.unlink(missing_ok=True)
        return len(rows)

    def wrap(self, key: str, subject: str, secret: bytes) -> bytes:
        """A data key as the table holds it."""
        nonce = os.urandom(_NONCE)
        return nonce + self._master.encrypt(nonce, secret, _wrapping(key, subject))

    def closed_keys(self) -> int:
        """How many keys that count were wrapped by another master key. Raises DatabaseUnavailableError."""
        others = subject_keys.c.wrapped.is_not(None) & (subject_keys.c.master != self.master_id)
        with read_transaction(self._engine) as connection:
            return connection.scalar(select(func.count()).select_from(subject_keys).where(others)) or 0

    def _look_up(self, connection: Connection, key: str) -> AESGCM:
        row = connection.execute(select(subject_keys).where(subject_keys.c.id == key)).first()
        if row is None or row.wrapped is None:
            raise InputUndecryptableError
        return self._unwrapped(row.id, row.subject, bytes(row.wrapped))

    def _key_for(self, subject: str, at: datetime, *, remembers: bool = False) -> _Key:
        """The newest key of a subject that counts, or a new one. Two that are made at once both count.

        remembers: whether a file keeps it for a start without the store.
        """
        counts = select(subject_keys).where(subject_keys.c.subject == subject, subject_keys.c.wrapped.is_not(None))
        with read_transaction(self._engine) as connection:
            row = connection.execute(counts.order_by(subject_keys.c.made_us.desc()).limit(1)).first()
        if row is None or row.master != self.master_id:
            key, wrapped = self._made(subject, at)
        else:
            key, wrapped = row.id, bytes(row.wrapped)
        cipher = self._unwrapped(key, subject, wrapped)
        if remembers and self._place is not None:
            save_state(self._place, _Remembered(id=key, subject=subject, wrapped=wrapped))
        return _Key(id=key, cipher=cipher, until=self._monotonic() + _TRUSTED_S)

    def _made(self, subject: str, at: datetime) -> tuple[str, bytes]:
        key, secret = uuid4().hex, os.urandom(_KEY_BYTES)
        wrapped = self.wrap(key, subject, secret)
        row = {"id": key, "subject": subject, "wrapped": wrapped, "master": self.master_id, "made_us": to_us(at)}
        with write_transaction(self._engine) as connection:
            connection.execute(subject_keys.insert().values(row))
        return key, wrapped

    def _unwrapped(self, key: str, subject: str, wrapped: bytes) -> AESGCM:
        return _cipher(self._secret(key, subject, wrapped))

    def _secret(self, key: str, subject: str, wrapped: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            return self._master.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], _wrapping(key, subject))
        except (InvalidTag, ValueError) as cause:
            raise InputUndecryptableError from cause


def _cipher(secret: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(secret)


def _decrypted(cipher: AESGCM, sealed: bytes, tied: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], tied)
    except (InvalidTag, ValueError) as cause:
        raise InputUndecryptableError from cause


def _day(at: datetime) -> str:
    """How the key of a day is found."""
    return f"day:{at:%Y-%m-%d}"


def _tied(prediction: bytes, key: str) -> bytes:
    """What a sealed input belongs to: table, column, row and key."""
    return b"predictions\0input\0" + prediction + b"\0" + key.encode()


def _wrapping(key: str, subject: str) -> bytes:
    return b"subject_keys\0wrapped\0" + key.encode() + b"\0" + subject.encode()
