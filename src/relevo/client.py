"""A Relevo server as a Python object.

    Client ─ predict · label · history ─► HTTP ─► answers, or the same RelevoError that the server raised
       └─ a refused connection, 503 or 429: waits as long as the server says, then tries again

A connection that breaks after a prediction was sent is not repeated: the server may have answered and recorded it, and an
input that killed a worker must not kill the next. The exception is a kept connection that is reset, which tells that the request
was not read. Reading and labelling change nothing when repeated, so they are.
"""

from __future__ import annotations

import math
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Self, overload
from urllib.parse import quote

import httpx
import msgspec

from relevo.errors import (
    AuthenticationError,
    ConfigError,
    FieldTypeError,
    InvalidInputError,
    MissingInputError,
    ModelError,
    PredictionNotFoundError,
    RelevoError,
    TooManyRecordsError,
    UnavailableError,
    by_code,
)
from relevo.util.hmac_signing import Purpose, caller_header, sign
from relevo.util.records import is_record, is_table, plain, record_of, rows_of
from relevo.util.time_parsing import aware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

#: One input: an image's path (text or Path) or bytes, or a record of named fields. A Series is taken for a record, too.
Input = str | Path | bytes | dict[str, Any]

_RECORDS_A_REQUEST = 500
_IMAGES_AT_ONCE = 4
_BACKOFF_S = 0.1
#: The longest pause between two tries: one of our own making, and one that the server told.
_LONGEST_PAUSE_S, _LONGEST_TOLD_S = 5.0, 60.0
#: How long an idle connection is kept: shorter than any common server or proxy does, since one that closes just then loses a call.
_KEPT_S = 4.0
_TRY_AGAIN = frozenset({429, 503})
_NOT_TRUSTED = (
    "The certificate of {url} is not trusted here: {reason}. If it is the server's own, name its file: --ca or RELEVO_CA, "
    "in Python verify=."
)
_BROKE_OFF = (
    "The server at {url} broke the connection off without an answer ({reason}). It may speak https: let its address begin with "
    "https://, and where its certificate is its own, name its file: --ca or RELEVO_CA, in Python verify=."
)
_NO_INPUT = (
    "An input is an image's path or bytes, or a record as a dict or a Series; this is a {kind}. An array has no names of fields: "
    "make a DataFrame of it, or give a picture as the bytes of its file."
)
_ONE_INPUT = "predict_many takes several inputs, as a list or a DataFrame; for a single one use predict."
#: What concerns one input; after any other error the next input would fail as well.
_OF_THE_INPUT = (InvalidInputError, ModelError)
_LOST = (
    "The server at {url} closed the connection without an answer ({reason}). Whether it recorded a prediction is not known; its "
    "history tells."
)
_MAGIC = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))


class Result(msgspec.Struct, frozen=True, kw_only=True, rename={"index": "class"}):
    """One answer of the server, with the id under which the history keeps it."""

    query_id: str
    model: str
    version: int
    #: The label; of a regression its number.
    prediction: str | float | None = None
    #: Position of the label in the model's list.
    index: int | None = None
    confidence: float | None = None  # 0..1
    probabilities: tuple[float, ...] = ()  # one a label
    uncertain: bool = False
    execution_time: str = ""
    #: What of a record was ignored, or counted as 0, as its model's policies say.
    warnings: tuple[str, ...] = ()


#: An input's index in the caller's list, and its answer or what failed.
_Outcome = tuple[int, Result | RelevoError]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some predictions of the history, newest first, and where the next page begins (None at the end)."""

    items: list[dict[str, Any]]
    next_cursor: str | None


class Client:
    """Talks to one server; lives as long as you keep it, and is a context manager. May be shared by threads."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout: float = 30.0,
        *,
        retries: int = 6,
        verify: str | Path | ssl.SSLContext | None = None,
    ) -> None:
        """Connect lazily to url ("http://127.0.0.1:8000"); timeout in seconds a try; retries: tries after the first one.

        verify: file with the certificates to trust over https, the server's own for one; None trusts SSL_CERT_FILE or
        SSL_CERT_DIR of the environment, else the usual authorities. Raises ConfigError when it cannot be read or url is no
        address, AuthenticationError for a key that no server can have made.
        """
        headers = {"Accept": "application/json", "Accept-Language": "en"}
        if key is not None:
            headers["Authorization"] = f"Bearer {_sendable(key)}"
        self.url = _address(url)
        self._origin = _origin(self.url)
        self._retries = retries
        # Proxies of the environment are not asked: a local server must not be reached by way of a stranger.
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=_KEPT_S)
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout, trust_env=False, verify=_trusted(verify), limits=limits
        )
        #: The server has answered before, so it speaks as its address says.
        self._heard = False

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @overload
    def predict(self, model: str | None, input: Input, *, subject: str | None = None) -> Result: ...

    @overload
    def predict(self, model: str | None, input: list[Any], *, subject: str | None = None) -> list[Result]: ...

    def predict(self, model: str | None, input: Any, *, subject: str | None = None) -> Result | list[Result]:  # noqa: A002 - the word for it
        """The answer for one image (path or bytes) or record (dict or Series). model None asks the default one.

        A list or a DataFrame is several inputs and gets a list, as `predict_many` gives it.
        subject: whom the input is about, so that it can be erased; kept as a pseudonym alone.
        Raises InvalidInputError, ModelNotFoundError, UnavailableError, ModelError.
        """
        if isinstance(input, list | tuple) or is_table(input):
            return self.predict_many(model, input, subject=subject)
        return msgspec.convert(self._post(model, _sent(input), subject), Result)

    def predict_form(self, model: str | None, image: bytes, *, part: str = "file", file_name: str = "image") -> Result:
        """The answer for one image sent as a browser's form sends it."""
        kind = next((kind for magic, kind in _MAGIC if image.startswith(magic)), "application/octet-stream")
        return msgspec.convert(self._call("POST", _predict_path(model), files={part: (file_name, image, kind)}), Result)

    def predict_many(
        self,
        model: str | None,
        inputs: Iterable[Input],
        *,
        progress: Callable[[int], object] | None = None,
        subject: str | None = None,
    ) -> list[Result]:
        """The answers for many inputs, in order. Records travel in batches, images one by one on a few connections.

        inputs: a list, or a DataFrame with one record a row. progress: told how many are done so far. subject: whom all of them
        are about. A batch that is larger than the server takes is sent in parts.
        Raises like `predict`, once all others were asked: the error names the first input that failed by its index, `error.results`
        has one entry an input (None where there is no answer) and `error.failures` the error of each index that was refused.
        """
        waiting = _listed(inputs)
        results: list[Result | None] = [None] * len(waiting)
        failures: dict[int, RelevoError] = {}
        done = 0
        for some in self._outcomes(model, waiting, subject):
            for place, outcome in some:
                if isinstance(outcome, RelevoError):
                    failures[place] = outcome
                else:
                    results[place] = outcome
            done += len(some)
            if progress is not None:
                progress(done)
        if failures:
            raise _partial(waiting, results, failures)
        return [one for one in results if one is not None]

    def _outcomes(self, model: str | None, waiting: list[Any], subject: str | None) -> Iterator[list[_Outcome]]:
        """What becomes of each input, by its index. Ends early at an error that every other input would meet as well."""
        if all(is_record(one) for one in waiting):
            yield from self._batches(model, waiting, subject)
            return
        stopped = Event()

        def ask(place: int) -> list[_Outcome]:
            if stopped.is_set():
                return []
            try:
                return [(place, self.predict(model, _single(waiting[place]), subject=subject))]
            except RelevoError as error:
                if not isinstance(error, _OF_THE_INPUT):
                    stopped.set()
                return [(place, error)]

        with ThreadPoolExecutor(_IMAGES_AT_ONCE) as pool:
            yield from pool.map(ask, range(len(waiting)))

    def _batches(self, model: str | None, records: list[Any], subject: str | None) -> Iterator[list[_Outcome]]:
        """Batches as large as the server takes. One that is refused was not recorded: it is sent again without its bad record."""
        start = 0
        size = most = _RECORDS_A_REQUEST
        while start < len(records):
            size = min(size, len(records) - start)
            try:
                results = self._batch(model, [_sent(one) for one in records[start : start + size]], subject)
            except _OF_THE_INPUT as error:
                bad = _place_at_fault(error, size)
                if bad == 0:
                    yield [(start, error)]
                    start += 1
                if isinstance(error, TooManyRecordsError) and size > 1:
                    most = size // 2
                # Halved where nobody knows which record it is, and where one bad record may be followed by many.
                size = bad or max(1, size // 2)
            except RelevoError as error:
                yield [(start, error)]
                return
            else:
                yield list(enumerate(results, start))
                start += size
                size = min(2 * size, most)

    def label(self, query_id: str, value: str | float, *, note: str = "", wait: float = 5.0) -> dict[str, Any]:
        """Say what a prediction should have been; a later call corrects, and the history keeps both.

        wait: seconds to wait for a fresh prediction to arrive in the history.
        Raises PredictionNotFoundError, InvalidLabelError, LabelNotNumberError.
        """
        body = {"value": plain(value), "note": note}
        return self._once_shipped("PUT", f"/predictions/{quote(query_id, safe='')}/label", wait, json=body)

    def prediction(self, query_id: str, *, wait: float = 5.0) -> dict[str, Any]:
        """One prediction of the history. wait: seconds to wait for a fresh one to arrive. Raises PredictionNotFoundError."""
        return self._once_shipped("GET", f"/predictions/{quote(query_id, safe='')}", wait)

    def labels(self, query_id: str) -> list[dict[str, Any]]:
        """Every label of a prediction, in the order they were given: value, author, note, at. Raises PredictionNotFoundError."""
        found: list[dict[str, Any]] = self._call("GET", f"/predictions/{quote(query_id, safe='')}/label")["history"]
        return found

    def history(self, *, limit: int = 50, cursor: str | None = None, **wanted: Any) -> Page:
        """A page of predictions, newest first.

        wanted: model, version, since, until, label, uncertain, truth, labelled, asked_by.
        since, until: a date, a datetime, or a text like 2026-01-31T12:00+01:00; without an offset it is local.
        """
        asked = {"limit": limit, "cursor": cursor, **wanted}
        asked = _moments({key: value for key, value in asked.items() if value is not None})
        found = self._call("GET", "/predictions", params={key: _word(value) for key, value in asked.items()})
        return Page(items=found["items"], next_cursor=found.get("next_cursor"))

    def all_history(self, **wanted: Any) -> Iterator[dict[str, Any]]:
        """Every prediction wanted, newest first, page after page."""
        page = self.history(limit=200, **wanted)
        yield from page.items
        while page.next_cursor is not None:
            page = self.history(limit=200, cursor=page.next_cursor, **wanted)
            yield from page.items

    def pages(self, path: str, **wanted: Any) -> Iterator[dict[str, Any]]:
        """Every page of a list: `pages("/users")`, "/keys", "/labels", "/audit". wanted: what narrows it, and its limit."""
        asked = {key: _word(value) for key, value in _moments(dict(wanted)).items() if value is not None}
        while True:
            page: dict[str, Any] = self._call("GET", path, params=asked)
            yield page
            if page.get("next_cursor") is None:
                return
            asked["cursor"] = str(page["next_cursor"])

    def models(self) -> list[dict[str, Any]]:
        """The registered models with their versions and aliases."""
        return list(self._call("GET", "/models")["models"])

    def ask(self, method: str, path: str, **what: Any) -> Any:
        """The JSON of any route: `ask("GET", "/models/churn/traffic", params={"bucket": "hour"})`. Raises what the server raised.

        what: params, json, headers, as httpx takes them.
        """
        return self._call(method, path, **what)

    def send(self, method: str, path: str, **what: Any) -> None:
        """The same for a route that answers nothing."""
        self._answer(method, path, **what)

    def file(self, path: str, **params: str) -> tuple[str, bytes]:
        """What a route sends as a file: media type and content. Raises what the server raised."""
        response = self._answer("GET", path, params=params)
        return response.headers.get("content-type", "").partition(";")[0], response.content

    def speak(self, language: str) -> None:
        """Ask for sentences in this language from now on, as `Accept-Language` names it."""
        self._http.headers["Accept-Language"] = language

    def on_behalf_of(self, address: str, *, key: bytes = b"") -> None:
        """Tell whose machine it is that asks by way of this one.

        A server believes it by the key that it shares with its console, or where it lists this machine as a proxy.
        """
        self._http.headers["X-Forwarded-For"] = address
        if key:
            self._http.headers["Relevo-Caller"] = caller_header(key, address)

    def sign_in(self, name: str, password: str) -> dict[str, Any]:
        """Sign in as a person; the client keeps the session from then on. Gives what the server tells of the user.

        Raises InvalidCredentialsError, ConcurrencyLimitError.
        """
        return self._signed_in("/login", {"name": name, "password": password})

    def take_over(self, code: str, verifier: str, *, console: str, key: bytes) -> dict[str, Any]:
        """Sign in as whoever the server sent to this console with a code; otherwise as `sign_in`. Raises IdentityProofError."""
        marked = sign(key, Purpose.REDEEM, code, console)
        return self._signed_in("/login/console", {"code": code, "verifier": verifier, "console": console, "mark": marked})

    def _signed_in(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        told = self._call("POST", path, json=body, headers={"Origin": self._origin})
        self._http.headers.update({"X-CSRF-Token": str(told.get("csrf", "")), "Origin": self._origin})
        return dict(told["user"])

    def sign_out(self) -> None:
        """End the session on the server."""
        self._answer("POST", "/logout")
        self._http.cookies.clear()

    def ready(self) -> bool:
        """Whether the server can answer predictions now; False also when nobody listens."""
        return self._is_well("/health/ready")

    def live(self) -> bool:
        """Whether the server answers at all, with or without a model."""
        return self._is_well("/health/live")

    def _is_well(self, path: str) -> bool:
        try:
            return self._http.get(path).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _post(self, model: str | None, payload: bytes | dict[str, Any] | list[Any], subject: str | None = None) -> Any:
        if isinstance(payload, bytes):
            content = payload
            kind = next((kind for magic, kind in _MAGIC if content.startswith(magic)), "application/octet-stream")
        else:
            content, kind = _json(payload), "application/json"
        headers: dict[str, str | bytes] = {"Content-Type": kind}
        if subject is not None:
            # As UTF-8, whatever the letters; httpx would refuse other ones than ASCII in a text.
            headers["Relevo-Subject"] = subject.encode()
        return self._call("POST", _predict_path(model), content=content, headers=headers)

    def _batch(self, model: str | None, records: list[Any], subject: str | None) -> list[Result]:
        found = self._post(model, records, subject)
        return msgspec.convert(found["predictions"] if isinstance(found, dict) else found, list[Result])

    def _once_shipped(self, method: str, path: str, wait: float, **what: Any) -> dict[str, Any]:
        deadline = time.monotonic() + wait
        while True:
            try:
                return dict(self._call(method, path, **what))
            except PredictionNotFoundError:
                # An answer is acknowledged when it is in the worker's journal; the history has it a moment later.
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_BACKOFF_S)

    def _call(self, method: str, path: str, **what: Any) -> Any:
        return _content(self._answer(method, path, **what))

    def _answer(self, method: str, path: str, **what: Any) -> httpx.Response:
        for left in range(self._retries, -1, -1):
            pause = min(_BACKOFF_S * 2 ** (self._retries - left), _LONGEST_PAUSE_S)
            way = _Way()
            try:
                response = self._http.request(method, path, extensions={"trace": way.went}, **what)
            except httpx.TransportError as cause:
                distrust = _distrust(cause)
                if distrust is not None:
                    raise UnavailableError.told(_NOT_TRUSTED.format(url=self.url, reason=distrust.verify_message)) from cause
                if left == 0 or not (_may_repeat(method, cause) or way.was_unread()):
                    raise UnavailableError.told(_silence(self.url, cause, heard=self._heard)) from cause
            else:
                self._heard = True
                if left == 0 or response.status_code not in _TRY_AGAIN:
                    self._follow(response)
                    return _good(response)
                pause = _told_pause(response, pause)
            time.sleep(pause)
        raise UnavailableError

    def _follow(self, response: httpx.Response) -> None:
        """A session that was given a new id has another token for its forms."""
        if "x-csrf-token" in response.headers:
            self._http.headers["X-CSRF-Token"] = response.headers["x-csrf-token"]


def _address(url: str) -> str:
    """The address as requests build on it. Raises ConfigError."""
    if not url.lower().startswith(("http://", "https://")):
        raise ConfigError(reason=f"the server's address must begin with http:// or https://, but it is '{url}'")
    try:
        httpx.URL(url)
    except httpx.InvalidURL as cause:
        raise ConfigError(reason=f"the server's address '{url}' cannot be read") from cause
    return url.rstrip("/")


def _origin(url: str) -> str:
    """What a browser would call the origin of this address: scheme, host and port, without the path below which a proxy serves."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode('ascii')}"


def _listed(inputs: Any) -> list[Any]:
    """The inputs one by one. Raises InvalidInputError for what is one input, or none."""
    if is_table(inputs):
        try:
            return rows_of(inputs)
        except ValueError as cause:
            raise InvalidInputError.told(
                f"Two columns of the DataFrame are called '{cause}'; each field needs its own name."
            ) from cause
    if is_record(inputs) and not hasattr(inputs, "dtype"):
        raise InvalidInputError.told(_ONE_INPUT)
    if isinstance(inputs, str | bytes | bytearray | Path) or not hasattr(inputs, "__iter__"):
        raise InvalidInputError.told(_ONE_INPUT)
    return list(inputs)


def _single(given: Any) -> Any:
    """One input of several. Raises InvalidInputError for a list within the list."""
    if isinstance(given, list | tuple) or is_table(given):
        raise InvalidInputError.told(_NO_INPUT.format(kind=type(given).__name__))
    return given


def _sent(given: Any) -> bytes | dict[str, Any]:
    """One input as it is sent: an image's bytes, or a record of JSON's values. Raises InvalidInputError."""
    if is_record(given):
        return record_of(given)
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    if not isinstance(given, str | Path):
        raise InvalidInputError.told(_NO_INPUT.format(kind=type(given).__name__))
    try:
        return Path(given).read_bytes()
    except (OSError, ValueError) as cause:
        raise MissingInputError.told(f"'{given}' cannot be read: {getattr(cause, 'strerror', None) or cause}.") from cause


def _json(payload: dict[str, Any] | list[Any]) -> bytes:
    """Records as JSON. Raises InvalidInputError for a value that JSON does not have."""
    try:
        _refuse_infinity(payload)
        return msgspec.json.encode(payload)
    except (TypeError, ValueError, OverflowError, RecursionError) as cause:
        record = payload[0] if isinstance(payload, list) and payload else payload
        field = next((name for name, value in dict(record).items() if not _is_json(value)), "")
        raise InvalidInputError.told(
            f"The field '{field}' cannot be sent as JSON; a field is a number, a text, true, false or null.", field=field
        ) from cause


def _refuse_infinity(payload: dict[str, Any] | list[Any]) -> None:
    """JSON has no infinity: null would be sent in its place, and the answer be that for a missing value. Raises FieldTypeError."""
    for row, record in enumerate(payload if isinstance(payload, list) else [payload]):
        for name, value in record.items():
            if isinstance(value, float) and math.isinf(value):
                place = {"row": row} if isinstance(payload, list) else {}
                raise FieldTypeError(field=name[:64], expected="a finite number", got="infinity", **place)


def _is_json(value: object) -> bool:
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    return True


def _place_at_fault(error: RelevoError, size: int) -> int | None:
    """Index in the batch of the record that the server named; None where it named none."""
    if size == 1:
        return 0
    row = error.facts.get("row")
    return row if isinstance(row, int) and 0 <= row < size else None


def _partial(waiting: list[Any], results: list[Result | None], failures: dict[int, RelevoError]) -> RelevoError:
    """The first failure, with its input's index and all that was answered."""
    place = min(failures)
    first, given = failures[place], waiting[place]
    name = f"inputs[{place}]" + (f" ('{given}')" if isinstance(given, str | Path) else "")
    answered = sum(one is not None for one in results)
    more = f" {len(failures) - 1} more failed." if len(failures) > 1 else ""
    kept = f" {answered} of {len(results)} were answered: see `results` and `failures` of this error."
    facts = {**first.facts, "index": place, "results": results, "failures": failures}
    return type(first).told(f"{name}: {first}{more}{kept}", **facts)


def _sendable(key: str) -> str:
    """The key as a header carries it: one read from a file may end its line. Raises AuthenticationError, which does not repeat it."""
    plain = key.strip()
    if not (plain.isascii() and plain.isprintable()):
        raise AuthenticationError
    return plain


def _trusted(verify: str | Path | ssl.SSLContext | None) -> ssl.SSLContext:
    if isinstance(verify, ssl.SSLContext):
        return verify
    if verify is None:
        return httpx.create_ssl_context()
    try:
        context = ssl.create_default_context(cafile=verify)
    except OSError as cause:
        raise ConfigError(reason=f"{verify} holds no certificates to trust ({cause.strerror or cause})") from cause
    # A server's certificate that nobody signed is its own end of the chain.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return context


def _distrust(cause: BaseException) -> ssl.SSLCertVerificationError | None:
    """Why the server's certificate was not believed, where that was it: no later try would be."""
    found: BaseException | None = cause
    while found is not None and not isinstance(found, ssl.SSLCertVerificationError):
        found = found.__cause__ or found.__context__
    return found


class _Way:
    """What a request went through; lives as long as one try."""

    def __init__(self) -> None:
        self._connected = False
        self._answered = False
        self._reset = False

    def went(self, event: str, facts: Mapping[str, Any]) -> None:
        """Hear of one step. A request that cannot be written to its end is no failure by itself: its answer may be there."""
        self._reset |= event.endswith(".failed") and _was_reset(facts["exception"])
        self._connected |= event.startswith("connection.connect_")
        self._answered |= event.endswith("receive_response_headers.complete")

    def was_unread(self) -> bool:
        """Whether the server cannot have read the whole request: a connection kept from before was reset before any answer.

        A system resets who sends to a closed connection, or whose bytes nobody had read when it closed. An end without a reset may
        be that of a worker which had read the request and died of it; that is not repeated.
        """
        return self._reset and not self._connected and not self._answered


def _was_reset(cause: BaseException | None) -> bool:
    while cause is not None and not isinstance(cause, ConnectionResetError | BrokenPipeError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _silence(url: str, cause: httpx.TransportError, *, heard: bool) -> str:
    """Why nothing came. One that never answered and breaks off is, without encryption, most likely one that encrypts."""
    reason = type(cause).__name__
    if heard and isinstance(cause, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError):
        return _LOST.format(url=url, reason=reason)
    if url.lower().startswith("http://") and isinstance(cause, httpx.RemoteProtocolError | httpx.ReadError):
        return _BROKE_OFF.format(url=url, reason=reason)
    return f"No answer from {url} ({reason}). Is `relevo serve` running?"


def _predict_path(model: str | None) -> str:
    return "/predict" if model is None else f"/models/{quote(model, safe='')}/predict"


def _may_repeat(method: str, cause: httpx.TransportError) -> bool:
    return method != "POST" or isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)


def _told_pause(response: httpx.Response, otherwise: float) -> float:
    try:
        return min(max(float(response.headers["Retry-After"]), 0.0), _LONGEST_TOLD_S)
    except (KeyError, ValueError):
        return otherwise


def _good(response: httpx.Response) -> httpx.Response:
    """The answer, unless it is a refusal."""
    if response.is_error:
        raise _error(_content(response), response.status_code)
    return response


def _content(response: httpx.Response) -> Any:
    try:
        return msgspec.json.decode(response.content)
    except msgspec.DecodeError as cause:
        raise RelevoError.told(f"The server answered {response.status_code} with something that is no JSON.") from cause


def _error(content: object, status: int) -> RelevoError:
    told: Mapping[str, Any] = content if isinstance(content, dict) else {}
    facts = {key: told[key] for key in ("field", "row", "request_id", "code") if told.get(key) is not None}
    words = told.get("error") or f"The server answered {status}."
    return by_code(str(told.get("code"))).told(str(words), **facts)


def _word(value: str | float | bool | date) -> str:  # noqa: FBT001 - a value of a query
    """A value as addresses carry it. A date or a time without an offset is local, as Python itself takes it."""
    if hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime()
    if isinstance(value, date):
        return aware(value, None).isoformat()
    value = plain(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _moments(wanted: dict[str, Any]) -> dict[str, Any]:
    """The same with `since` and `until` as text; what is no time is left for the server to refuse."""
    for name in {"since", "until"} & wanted.keys():
        if isinstance(wanted[name], str):
            with suppress(ValueError):
                wanted[name] = aware(wanted[name], None)
    return wanted
