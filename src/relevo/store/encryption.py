"""Envelope encryption of inputs and notes at rest: AES-256-GCM with one data key for each subject.

A master key, which is never stored in the database, wraps the data keys.

    prepare(subject) ─► data key: generated, wrapped by the master key, stored in data_keys    before a request is answered
    seal(prediction) ─► nonce and ciphertext replace the input; the record names the key         in memory, no query
    open(id, key, bytes) ─► the input, unless the key was destroyed
    seal_text, open_text ─► the same for notes and review reasons; these query the store for the key

Records without a subject are encrypted with the key of their day. The additional data binds a ciphertext to its row: copied into
another row, it does not decrypt.
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
from relevo.store.db.tables import data_keys
from relevo.util.files import load_state, save_state
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

_NONCE_BYTES = 12
_KEY_BYTES = 32
#: Seconds a worker caches a subject's key. Inputs of a subject that was erased meanwhile are encrypted with the destroyed key, and
#: so erased as well.
_CACHE_S = 60.0
_MAX_CACHED_KEYS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """A cached data key."""

    id: str
    cipher: AESGCM
    until: float  # monotonic seconds; then it is queried again


class _SavedKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key of a day as saved in a file, for a start while the database is unavailable."""

    id: str
    subject: str
    wrapped: bytes


def count_data_keys(engine: Engine) -> int:
    """Returns the number of active data keys, whatever master key wrapped them. Raises DatabaseUnavailableError."""
    with read_transaction(engine) as connection:
        return connection.scalar(select(func.count()).where(data_keys.c.wrapped.is_not(None))) or 0


class InputEncryption:
    """Encrypts and decrypts inputs. Lifetime: the process; safe for several threads."""

    def __init__(
        self, engine: Engine, master: bytes, *, remembered: Path | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """master: 32 bytes. remembered: file of the wrapped key of the day, for a start without the database.

        Raises MissingDependencyError without the extra `sealing`.
        """
        if find_spec("cryptography") is None:
            raise MissingDependencyError(extra="sealing")
        self._engine = engine
        self._master = _cipher(master)
        self._monotonic = monotonic
        self._key_file = remembered
        self._cache: dict[str, _Key] = {}
        self._day_key: _Key | None = None
        self._current_day = ""
        #: The id of the master key in `data_keys`.
        self.master_id = hmac.new(master, b"master key", hashlib.sha256).hexdigest()[:16]

    # --- before a request is answered ---------------------------------------------------------------------------------------

    def is_ready(self, subject: str) -> bool:
        """Whether this subject's input can be encrypted without a query."""
        key = self._cache.get(subject)
        return key is not None and key.until > self._monotonic()

    def prepare(self, subject: str, *, at: datetime) -> None:
        """Loads this subject's key into the cache. Raises DatabaseUnavailableError."""
        key = self._key_for(subject, at)
        while len(self._cache) >= _MAX_CACHED_KEYS:
            # Race: another thread may have removed the oldest already.
            self._cache.pop(next(iter(self._cache)), None)
        self._cache[subject] = key

    def load_day_key(self, at: datetime) -> None:
        """Loads the key of the day. While the database is unavailable, yesterday's key remains in use."""
        day = _day_subject(at)
        if day == self._current_day:
            return
        self._day_key = self._key_for(day, at, remembers=True)
        self._current_day = day

    def restore_day_key(self) -> None:
        """Restores the last used day key from the file when the database is unavailable at start. Does nothing without a file."""
        if self._key_file is not None and self._day_key is None:
            saved = load_state(self._key_file, _SavedKey)
            # The saved key may have been wrapped by another master key; then it is ignored.
            with contextlib.suppress(InputUndecryptableError):
                if saved is not None:
                    self._day_key = _Key(id=saved.id, cipher=self._unwrap(saved.id, saved.subject, saved.wrapped), until=0)

    # --- on the request path ------------------------------------------------------------------------------------------------

    def encrypt(self, prediction: PredictionRecord) -> PredictionRecord:
        """Returns the prediction with its input encrypted. Raises JournalUnavailableError when no key is loaded."""
        data = prediction.input
        if data is None:
            return prediction
        key = self._day_key if prediction.subject is None else self._cache.get(prediction.subject)
        if key is None:
            raise JournalUnavailableError(reason="the key to seal inputs with is not at hand while the database is away")
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = nonce + key.cipher.encrypt(nonce, data, _input_context(prediction.id, key.id))
        return msgspec.structs.replace(prediction, input=ciphertext, key=key.id)

    def encrypt_all(self, predictions: Sequence[PredictionRecord]) -> list[PredictionRecord]:
        """Encrypts the input of each prediction. Raises JournalUnavailableError."""
        return [self.encrypt(prediction) for prediction in predictions]

    # --- decryption, texts and key rotation ---------------------------------------------------------------------------------

    def decrypt(self, prediction: bytes, key: str, ciphertext: bytes) -> bytes:
        """Decrypts the input of a prediction.

        Raises InputUndecryptableError when its key is gone or wrapped by another master key, or when it was changed or moved.
        """
        with read_transaction(self._engine) as connection:
            cipher = self._load_cipher(connection, key)
        return _decrypt(cipher, ciphertext, _input_context(prediction, key))

    def encrypt_text(self, text: str, row: bytes, *, subject: str | None, at: datetime) -> tuple[bytes, str]:
        """Encrypts a text with the key of this subject, or of the day without a subject. Returns the ciphertext and the id of the key.

        row: table, column and row that the text belongs to. Raises DatabaseUnavailableError.
        """
        key = self._key_for(_day_subject(at) if subject is None else subject, at)
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + key.cipher.encrypt(nonce, text.encode(), row + b"\0" + key.id.encode()), key.id

    def decrypt_text(self, connection: Connection, ciphertext: bytes, key: str, row: bytes) -> str:
        """Decrypts a text of `seal_text` within the caller's transaction. Raises InputUndecryptableError as `open` does."""
        return _decrypt(self._load_cipher(connection, key), ciphertext, row + b"\0" + key.encode()).decode()

    def rewrap(self, master: bytes, audit: AuditLog, *, at: datetime, by: Actor) -> int:
        """Rewraps every data key with another master key, so that older copies are worthless once the former master key is deleted.

        No other process may encrypt meanwhile. Keys already wrapped by the new master key are skipped, so a killed run can be repeated.
        Returns the number of keys. Raises InputUndecryptableError when a key cannot be unwrapped; then nothing was changed.
        """
        new = InputEncryption(self._engine, master)
        with write_transaction(self._engine) as connection:
            outdated = data_keys.c.wrapped.is_not(None) & (data_keys.c.master != new.master_id)
            rows = connection.execute(select(data_keys).where(outdated)).all()
            for row in rows:
                secret = self._unwrap_secret(row.id, row.subject, bytes(row.wrapped))
                values = {"wrapped": new.wrap(row.id, row.subject, secret), "master": new.master_id}
                connection.execute(data_keys.update().where(data_keys.c.id == row.id).values(**values))
            event = AuditEvent(by=by, action="sealing.rewrap", object="master_key", before=self.master_id, after=new.master_id)
            audit.append(connection, event, at=at)
        if self._key_file is not None:
            self._key_file.unlink(missing_ok=True)
        return len(rows)

    def wrap(self, key: str, subject: str, secret: bytes) -> bytes:
        """Returns a data key in the form stored in the table."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._master.encrypt(nonce, secret, _wrapping_context(key, subject))

    def undecryptable_keys(self) -> int:
        """Returns the number of active keys wrapped by another master key. Raises DatabaseUnavailableError."""
        foreign_keys = data_keys.c.wrapped.is_not(None) & (data_keys.c.master != self.master_id)
        with read_transaction(self._engine) as connection:
            return connection.scalar(select(func.count()).select_from(data_keys).where(foreign_keys)) or 0

    def _load_cipher(self, connection: Connection, key: str) -> AESGCM:
        row = connection.execute(select(data_keys).where(data_keys.c.id == key)).first()
        if row is None or row.wrapped is None:
            raise InputUndecryptableError
        return self._unwrap(row.id, row.subject, bytes(row.wrapped))

    def _key_for(self, subject: str, at: datetime, *, remembers: bool = False) -> _Key:
        """Returns the newest active key of a subject, or a new one. Two created at the same time are both valid.

        remembers: whether to save it to the file, for a start without the database.
        """
        active = select(data_keys).where(data_keys.c.subject == subject, data_keys.c.wrapped.is_not(None))
        with read_transaction(self._engine) as connection:
            row = connection.execute(active.order_by(data_keys.c.made_us.desc()).limit(1)).first()
        if row is None or row.master != self.master_id:
            key, wrapped = self._create_key(subject, at)
        else:
            key, wrapped = row.id, bytes(row.wrapped)
        cipher = self._unwrap(key, subject, wrapped)
        if remembers and self._key_file is not None:
            save_state(self._key_file, _SavedKey(id=key, subject=subject, wrapped=wrapped))
        return _Key(id=key, cipher=cipher, until=self._monotonic() + _CACHE_S)

    def _create_key(self, subject: str, at: datetime) -> tuple[str, bytes]:
        key, secret = uuid4().hex, os.urandom(_KEY_BYTES)
        wrapped = self.wrap(key, subject, secret)
        row = {"id": key, "subject": subject, "wrapped": wrapped, "master": self.master_id, "made_us": to_us(at)}
        with write_transaction(self._engine) as connection:
            connection.execute(data_keys.insert().values(row))
        return key, wrapped

    def _unwrap(self, key: str, subject: str, wrapped: bytes) -> AESGCM:
        return _cipher(self._unwrap_secret(key, subject, wrapped))

    def _unwrap_secret(self, key: str, subject: str, wrapped: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            return self._master.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], _wrapping_context(key, subject))
        except (InvalidTag, ValueError) as cause:
            raise InputUndecryptableError from cause


def _cipher(secret: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(secret)


def _decrypt(cipher: AESGCM, ciphertext: bytes, context: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(ciphertext[:_NONCE_BYTES], ciphertext[_NONCE_BYTES:], context)
    except (InvalidTag, ValueError) as cause:
        raise InputUndecryptableError from cause


def _day_subject(at: datetime) -> str:
    """The `subject` under which the key of a day is stored."""
    return f"day:{at:%Y-%m-%d}"


def _input_context(prediction: bytes, key: str) -> bytes:
    """Additional authenticated data of an encrypted input: table, column, row and key."""
    return b"predictions\0input\0" + prediction + b"\0" + key.encode()


def _wrapping_context(key: str, subject: str) -> bytes:
    return b"data_keys\0wrapped\0" + key.encode() + b"\0" + subject.encode()
