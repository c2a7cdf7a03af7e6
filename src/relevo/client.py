"""Python client of a Relevo server.

    Client ─ predict · label · history ─► HTTP ─► results, or the RelevoError that the server raised
       └─ on a refused connection, 503 or 429: waits as long as the server says, then retries

If the connection breaks after a prediction was sent, the client does not retry: the server may have answered and recorded it, and
an input that crashed one worker must not crash the next. The exception is a reset of a reused connection, which means that the
request was not read. Reading and labelling are idempotent and are retried.
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

#: One input: path (text or Path) or bytes of an image, or a record of named fields. A Series is also a record.
Input = str | Path | bytes | dict[str, Any]

_MAX_BATCH_SIZE = 500
_IMAGE_CONNECTIONS = 4
_BACKOFF_S = 0.1
#: Maximum delay between two attempts: by exponential backoff, and by the server's Retry-After.
_MAX_BACKOFF_S, _MAX_RETRY_AFTER_S = 5.0, 60.0
#: Keep-alive time of idle connections: shorter than that of any common server or proxy, which may close during a request.
_KEEP_ALIVE_S = 4.0
_RETRY_STATUS = frozenset({429, 503})
_UNTRUSTED_CERTIFICATE = (
    "The certificate of {url} is not trusted here: {reason}. If it is the server's own, name its file: --ca or RELEVO_CA, "
    "in Python verify=."
)
_CONNECTION_CLOSED = (
    "The server at {url} broke the connection off without an answer ({reason}). It may speak https: let its address begin with "
    "https://, and where its certificate is its own, name its file: --ca or RELEVO_CA, in Python verify=."
)
_INVALID_INPUT = (
    "An input is an image's path or bytes, or a record as a dict or a Series; this is a {kind}. An array has no names of fields: "
    "make a DataFrame of it, or give a picture as the bytes of its file."
)
_SINGLE_INPUT = "predict_many takes several inputs, as a list or a DataFrame; for a single one use predict."
#: Errors that concern one input; after any other error the next input would fail as well.
_INPUT_ERRORS = (InvalidInputError, ModelError)
_RESPONSE_LOST = (
    "The server at {url} closed the connection without an answer ({reason}). Whether it recorded a prediction is not known; its "
    "history tells."
)
_MAGIC = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))


class Result(msgspec.Struct, frozen=True, kw_only=True, rename={"index": "class"}):
    """One prediction of the server, with its id in the history."""

    query_id: str
    model: str
    version: int
    #: The label, or the value of a regression.
    prediction: str | float | None = None
    #: Index of the label in the model's list.
    index: int | None = None
    confidence: float | None = None  # 0..1
    probabilities: tuple[float, ...] = ()  # one per label
    uncertain: bool = False
    execution_time: str = ""
    #: Fields of a record that were ignored or counted as 0, by the policies of the model.
    warnings: tuple[str, ...] = ()


#: Index of an input in the caller's list, and its result or error.
_Outcome = tuple[int, Result | RelevoError]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of predictions, newest first, and the cursor of the next page (None at the end)."""

    items: list[dict[str, Any]]
    next_cursor: str | None


class Client:
    """Client of one server; a context manager. Lifetime: the caller's. Thread-safe."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout: float = 30.0,
        *,
        retries: int = 6,
        verify: str | Path | ssl.SSLContext | None = None,
    ) -> None:
        """Connects lazily to url ("http://127.0.0.1:8000"). timeout: seconds per attempt; retries: attempts after the first one.

        verify: file with trusted certificates for https, for example the server's own; None uses SSL_CERT_FILE or SSL_CERT_DIR
        of the environment, else the usual authorities. Raises ConfigError if it cannot be read or url is invalid,
        AuthenticationError for a key with invalid characters.
        """
        headers = {"Accept": "application/json", "Accept-Language": "en"}
        if key is not None:
            headers["Authorization"] = f"Bearer {_header_value(key)}"
        self.url = _base_url(url)
        self._origin = _origin(self.url)
        self._retries = retries
        # Proxy settings of the environment are ignored: requests to a local server must not pass through a proxy.
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=_KEEP_ALIVE_S)
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout, trust_env=False, verify=_ssl_context(verify), limits=limits
        )
        #: Whether the server has answered before, so that the scheme of the URL is right.
        self._has_answered = False

    def __enter__(self) -> Self:
        """Returns the client."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes the connections."""
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    @overload
    def predict(self, model: str | None, input: Input, *, subject: str | None = None) -> Result: ...

    @overload
    def predict(self, model: str | None, input: list[Any], *, subject: str | None = None) -> list[Result]: ...

    def predict(self, model: str | None, input: Any, *, subject: str | None = None) -> Result | list[Result]:  # noqa: A002 - the public name
        """Predicts for one image (path or bytes) or record (dict or Series). model None is the default model.

        A list or a DataFrame is several inputs; the result is a list, as of `predict_many`.
        subject: the data subject of the input, for erasure; stored only as a pseudonym.
        Raises InvalidInputError, ModelNotFoundError, UnavailableError, ModelError.
        """
        if isinstance(input, list | tuple) or is_table(input):
            return self.predict_many(model, input, subject=subject)
        return msgspec.convert(self._post(model, _to_payload(input), subject), Result)

    def predict_form(self, model: str | None, image: bytes, *, part: str = "file", file_name: str = "image") -> Result:
        """Predicts for one image, sent as a multipart form like a browser's."""
        kind = next((kind for magic, kind in _MAGIC if image.startswith(magic)), "application/octet-stream")
        return msgspec.convert(self._request_json("POST", _predict_path(model), files={part: (file_name, image, kind)}), Result)

    def predict_many(
        self,
        model: str | None,
        inputs: Iterable[Input],
        *,
        progress: Callable[[int], object] | None = None,
        subject: str | None = None,
    ) -> list[Result]:
        """Predicts for many inputs, in order. Records are sent in batches, images one by one on a few connections.

        inputs: a list, or a DataFrame with one record per row. progress: called with the number of finished inputs. subject: the
        data subject of all inputs. A batch that exceeds the limit of the server is split.
        Raises like `predict`, after all other inputs were sent: the error names the index of the first failed input,
        `error.results` has one entry per input (None without a result) and `error.failures` the error of each failed index.
        """
        items = _to_list(inputs)
        results: list[Result | None] = [None] * len(items)
        failures: dict[int, RelevoError] = {}
        done = 0
        for outcomes in self._outcomes(model, items, subject):
            for index, outcome in outcomes:
                if isinstance(outcome, RelevoError):
                    failures[index] = outcome
                else:
                    results[index] = outcome
            done += len(outcomes)
            if progress is not None:
                progress(done)
        if failures:
            raise _batch_error(items, results, failures)
        return [result for result in results if result is not None]

    def _outcomes(self, model: str | None, items: list[Any], subject: str | None) -> Iterator[list[_Outcome]]:
        """Yields results and errors by index. Stops early at an error that does not concern a single input."""
        if all(is_record(item) for item in items):
            yield from self._batches(model, items, subject)
            return
        stopped = Event()

        def predict(index: int) -> list[_Outcome]:
            if stopped.is_set():
                return []
            try:
                return [(index, self.predict(model, _check_single(items[index]), subject=subject))]
            except RelevoError as error:
                if not isinstance(error, _INPUT_ERRORS):
                    stopped.set()
                return [(index, error)]

        with ThreadPoolExecutor(_IMAGE_CONNECTIONS) as pool:
            yield from pool.map(predict, range(len(items)))

    def _batches(self, model: str | None, records: list[Any], subject: str | None) -> Iterator[list[_Outcome]]:
        """Yields results in batches up to the server's limit. Resends a rejected batch, which was not recorded, without the bad record."""
        start = 0
        size = limit = _MAX_BATCH_SIZE
        while start < len(records):
            size = min(size, len(records) - start)
            try:
                results = self._batch(model, [_to_payload(record) for record in records[start : start + size]], subject)
            except _INPUT_ERRORS as error:
                invalid = _invalid_index(error, size)
                if invalid == 0:
                    yield [(start, error)]
                    start += 1
                if isinstance(error, TooManyRecordsError) and size > 1:
                    limit = size // 2
                # Halved if the server does not name the invalid record, and if many invalid records may follow.
                size = invalid or max(1, size // 2)
            except RelevoError as error:
                yield [(start, error)]
                return
            else:
                yield list(enumerate(results, start))
                start += size
                size = min(2 * size, limit)

    def label(self, query_id: str, value: str | float, *, note: str = "", wait: float = 5.0) -> dict[str, Any]:
        """Labels a prediction with the true value; a later call corrects it, and the history keeps both.

        wait: seconds to wait until a recent prediction is in the history.
        Raises PredictionNotFoundError, InvalidLabelError, LabelNotNumberError.
        """
        body = {"value": plain(value), "note": note}
        return self._retry_until_stored("PUT", f"/predictions/{quote(query_id, safe='')}/label", wait, json=body)

    def prediction(self, query_id: str, *, wait: float = 5.0) -> dict[str, Any]:
        """One prediction of the history. wait: seconds to wait until a recent one is in the history. Raises PredictionNotFoundError."""
        return self._retry_until_stored("GET", f"/predictions/{quote(query_id, safe='')}", wait)

    def labels(self, query_id: str) -> list[dict[str, Any]]:
        """Every label of a prediction, in chronological order: value, author, note, at. Raises PredictionNotFoundError."""
        labels: list[dict[str, Any]] = self._request_json("GET", f"/predictions/{quote(query_id, safe='')}/label")["history"]
        return labels

    def history(self, *, limit: int = 50, cursor: str | None = None, **filters: Any) -> Page:
        """A page of predictions, newest first.

        filters: model, version, since, until, label, uncertain, truth, labelled, requested_by.
        since, until: a date, a datetime, or a text like 2026-01-31T12:00+01:00; without an offset, local time.
        """
        parameters = {"limit": limit, "cursor": cursor, **filters}
        parameters = _parse_times({key: value for key, value in parameters.items() if value is not None})
        page = self._request_json("GET", "/predictions", params={key: _query_value(value) for key, value in parameters.items()})
        return Page(items=page["items"], next_cursor=page.get("next_cursor"))

    def all_history(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Every prediction that matches the filters of `history`, newest first."""
        page = self.history(limit=200, **filters)
        yield from page.items
        while page.next_cursor is not None:
            page = self.history(limit=200, cursor=page.next_cursor, **filters)
            yield from page.items

    def pages(self, path: str, **filters: Any) -> Iterator[dict[str, Any]]:
        """Every page of a list: `pages("/users")`, "/keys", "/labels", "/audit". filters: query parameters, also the limit."""
        parameters = {key: _query_value(value) for key, value in _parse_times(dict(filters)).items() if value is not None}
        while True:
            page: dict[str, Any] = self._request_json("GET", path, params=parameters)
            yield page
            if page.get("next_cursor") is None:
                return
            parameters["cursor"] = str(page["next_cursor"])

    def models(self) -> list[dict[str, Any]]:
        """The registered models with their versions and aliases."""
        return list(self._request_json("GET", "/models")["models"])

    def request_json(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of any route: `ask("GET", "/models/churn/traffic", params={"bucket": "hour"})`. Raises the server's error.

        options: params, json, headers, as for httpx.
        """
        return self._request_json(method, path, **options)

    def request(self, method: str, path: str, **options: Any) -> None:
        """Like `ask`, for a route without a response body."""
        self._request(method, path, **options)

    def download(self, path: str, **params: str) -> tuple[str, bytes]:
        """Downloads a file: media type and content. Raises the server's error."""
        response = self._request("GET", path, params=params)
        return response.headers.get("content-type", "").partition(";")[0], response.content

    def set_language(self, language: str) -> None:
        """Sets the language of error messages, as in `Accept-Language`."""
        self._http.headers["Accept-Language"] = language

    def forward_client(self, address: str, *, key: bytes = b"") -> None:
        """Forwards the address of the original client.

        The server trusts it if it is signed with the key shared with its console, or if this machine is a trusted proxy.
        """
        self._http.headers["X-Forwarded-For"] = address
        if key:
            self._http.headers["Relevo-Caller"] = caller_header(key, address)

    def sign_in(self, name: str, password: str) -> dict[str, Any]:
        """Logs in with a password; the client keeps the session. Returns the user.

        Raises InvalidCredentialsError, ConcurrencyLimitError.
        """
        return self._start_session("/login", {"name": name, "password": password})

    def take_over(self, code: str, verifier: str, *, console: str, key: bytes) -> dict[str, Any]:
        """Logs in by redeeming a login code that the server issued to this console. Returns as `sign_in`. Raises IdentityProofError."""
        signature = sign(key, Purpose.REDEEM, code, console)
        return self._start_session("/login/console", {"code": code, "verifier": verifier, "console": console, "mark": signature})

    def _start_session(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        response = self._request_json("POST", path, json=body, headers={"Origin": self._origin})
        self._http.headers.update({"X-CSRF-Token": str(response.get("csrf", "")), "Origin": self._origin})
        return dict(response["user"])

    def sign_out(self) -> None:
        """Ends the session on the server."""
        self._request("POST", "/logout")
        self._http.cookies.clear()

    def ready(self) -> bool:
        """Whether the server is ready to predict; False also without a connection."""
        return self._is_healthy("/health/ready")

    def live(self) -> bool:
        """Whether the server is running, with or without a model."""
        return self._is_healthy("/health/live")

    def _is_healthy(self, path: str) -> bool:
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
            # As UTF-8 bytes; httpx rejects non-ASCII text in headers.
            headers["Relevo-Subject"] = subject.encode()
        return self._request_json("POST", _predict_path(model), content=content, headers=headers)

    def _batch(self, model: str | None, records: list[Any], subject: str | None) -> list[Result]:
        response = self._post(model, records, subject)
        return msgspec.convert(response["predictions"] if isinstance(response, dict) else response, list[Result])

    def _retry_until_stored(self, method: str, path: str, wait: float, **options: Any) -> dict[str, Any]:
        deadline = time.monotonic() + wait
        while True:
            try:
                return dict(self._request_json(method, path, **options))
            except PredictionNotFoundError:
                # A prediction is acknowledged once it is in the worker's journal; it reaches the history shortly after.
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_BACKOFF_S)

    def _request_json(self, method: str, path: str, **options: Any) -> Any:
        return _content(self._request(method, path, **options))

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        for remaining in range(self._retries, -1, -1):
            delay = min(_BACKOFF_S * 2 ** (self._retries - remaining), _MAX_BACKOFF_S)
            events = _ConnectionTrace()
            try:
                response = self._http.request(method, path, extensions={"trace": events.record}, **options)
            except httpx.TransportError as cause:
                certificate_error = _certificate_error(cause)
                if certificate_error is not None:
                    raise UnavailableError.with_message(
                        _UNTRUSTED_CERTIFICATE.format(url=self.url, reason=certificate_error.verify_message)
                    ) from cause
                if remaining == 0 or not (_is_retryable(method, cause) or events.is_unread()):
                    raise UnavailableError.with_message(
                        _no_response_message(self.url, cause, has_answered=self._has_answered)
                    ) from cause
            else:
                self._has_answered = True
                if remaining == 0 or response.status_code not in _RETRY_STATUS:
                    self._update_csrf_token(response)
                    return _checked(response)
                delay = _retry_delay(response, delay)
            time.sleep(delay)
        raise UnavailableError

    def _update_csrf_token(self, response: httpx.Response) -> None:
        """Updates the CSRF token when the server has rotated the session id."""
        if "x-csrf-token" in response.headers:
            self._http.headers["X-CSRF-Token"] = response.headers["x-csrf-token"]


def _base_url(url: str) -> str:
    """The base URL without a trailing slash. Raises ConfigError."""
    if not url.lower().startswith(("http://", "https://")):
        raise ConfigError(reason=f"the server's address must begin with http:// or https://, but it is '{url}'")
    try:
        httpx.URL(url)
    except httpx.InvalidURL as cause:
        raise ConfigError(reason=f"the server's address '{url}' cannot be read") from cause
    return url.rstrip("/")


def _origin(url: str) -> str:
    """The origin of this URL, as a browser would send it: scheme, host and port, without the path prefix of a proxy."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode('ascii')}"


def _to_list(inputs: Any) -> list[Any]:
    """The inputs as a list. Raises InvalidInputError for a single input or anything else."""
    if is_table(inputs):
        try:
            return rows_of(inputs)
        except ValueError as cause:
            raise InvalidInputError.with_message(
                f"Two columns of the DataFrame are called '{cause}'; each field needs its own name."
            ) from cause
    if is_record(inputs) and not hasattr(inputs, "dtype"):
        raise InvalidInputError.with_message(_SINGLE_INPUT)
    if isinstance(inputs, str | bytes | bytearray | Path) or not hasattr(inputs, "__iter__"):
        raise InvalidInputError.with_message(_SINGLE_INPUT)
    return list(inputs)


def _check_single(item: Any) -> Any:
    """Checks one input of several. Raises InvalidInputError for a nested list."""
    if isinstance(item, list | tuple) or is_table(item):
        raise InvalidInputError.with_message(_INVALID_INPUT.format(kind=type(item).__name__))
    return item


def _to_payload(item: Any) -> bytes | dict[str, Any]:
    """One input as sent: the bytes of an image, or a record of JSON values. Raises InvalidInputError."""
    if is_record(item):
        return record_of(item)
    if isinstance(item, bytes | bytearray | memoryview):
        return bytes(item)
    if not isinstance(item, str | Path):
        raise InvalidInputError.with_message(_INVALID_INPUT.format(kind=type(item).__name__))
    try:
        return Path(item).read_bytes()
    except (OSError, ValueError) as cause:
        raise MissingInputError.with_message(f"'{item}' cannot be read: {getattr(cause, 'strerror', None) or cause}.") from cause


def _json(payload: dict[str, Any] | list[Any]) -> bytes:
    """Records as JSON. Raises InvalidInputError for a value that JSON cannot represent."""
    try:
        _check_finite(payload)
        return msgspec.json.encode(payload)
    except (TypeError, ValueError, OverflowError, RecursionError) as cause:
        record = payload[0] if isinstance(payload, list) and payload else payload
        field = next((name for name, value in dict(record).items() if not _is_json(value)), "")
        raise InvalidInputError.with_message(
            f"The field '{field}' cannot be sent as JSON; a field is a number, a text, true, false or null.", field=field
        ) from cause


def _check_finite(payload: dict[str, Any] | list[Any]) -> None:
    """JSON has no infinity: it would be encoded as null, which means a missing value. Raises FieldTypeError."""
    for row, record in enumerate(payload if isinstance(payload, list) else [payload]):
        for name, value in record.items():
            if isinstance(value, float) and math.isinf(value):
                location = {"row": row} if isinstance(payload, list) else {}
                raise FieldTypeError(field=name[:64], expected="a finite number", got="infinity", **location)


def _is_json(value: object) -> bool:
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    return True


def _invalid_index(error: RelevoError, size: int) -> int | None:
    """Index in the batch of the invalid record; None if the server does not name it."""
    if size == 1:
        return 0
    row = error.facts.get("row")
    return row if isinstance(row, int) and 0 <= row < size else None


def _batch_error(items: list[Any], results: list[Result | None], failures: dict[int, RelevoError]) -> RelevoError:
    """The error of the first failed input, with its index, all results and all failures."""
    index = min(failures)
    first, item = failures[index], items[index]
    name = f"inputs[{index}]" + (f" ('{item}')" if isinstance(item, str | Path) else "")
    answered = sum(result is not None for result in results)
    suffix = f" {len(failures) - 1} more failed." if len(failures) > 1 else ""
    summary = f" {answered} of {len(results)} were answered: see `results` and `failures` of this error."
    facts = {**first.facts, "index": index, "results": results, "failures": failures}
    return type(first).with_message(f"{name}: {first}{suffix}{summary}", **facts)


def _header_value(key: str) -> str:
    """The key as a header value, without the line end of a file. Raises AuthenticationError, which does not contain the key."""
    stripped = key.strip()
    if not (stripped.isascii() and stripped.isprintable()):
        raise AuthenticationError
    return stripped


def _ssl_context(verify: str | Path | ssl.SSLContext | None) -> ssl.SSLContext:
    if isinstance(verify, ssl.SSLContext):
        return verify
    if verify is None:
        return httpx.create_ssl_context()
    try:
        context = ssl.create_default_context(cafile=verify)
    except OSError as cause:
        raise ConfigError(reason=f"{verify} holds no certificates to trust ({cause.strerror or cause})") from cause
    # Accepts a self-signed server certificate as the end of the chain.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return context


def _certificate_error(cause: BaseException) -> ssl.SSLCertVerificationError | None:
    """The certificate verification error among the causes, if any; a retry would fail as well."""
    error: BaseException | None = cause
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


class _ConnectionTrace:
    """Connection events of one request. Lifetime: one attempt."""

    def __init__(self) -> None:
        self._connected = False
        self._has_response = False
        self._reset = False

    def record(self, event: str, facts: Mapping[str, Any]) -> None:
        """Records one httpx trace event. A failed write of the request is not final: the response may have arrived."""
        self._reset |= event.endswith(".failed") and _was_reset(facts["exception"])
        self._connected |= event.startswith("connection.connect_")
        self._has_response |= event.endswith("receive_response_headers.complete")

    def is_unread(self) -> bool:
        """Whether the server cannot have read the whole request: a reused connection was reset before any response.

        The operating system resets a connection that was closed before the request was read. A close without a reset may come from
        a worker that read the request and crashed; then the request is not repeated.
        """
        return self._reset and not self._connected and not self._has_response


def _was_reset(cause: BaseException | None) -> bool:
    while cause is not None and not isinstance(cause, ConnectionResetError | BrokenPipeError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _no_response_message(url: str, cause: httpx.TransportError, *, has_answered: bool) -> str:
    """The error message for a missing response. A server that never answered over http probably expects https."""
    reason = type(cause).__name__
    if has_answered and isinstance(cause, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError):
        return _RESPONSE_LOST.format(url=url, reason=reason)
    if url.lower().startswith("http://") and isinstance(cause, httpx.RemoteProtocolError | httpx.ReadError):
        return _CONNECTION_CLOSED.format(url=url, reason=reason)
    return f"No answer from {url} ({reason}). Is `relevo serve` running?"


def _predict_path(model: str | None) -> str:
    return "/predict" if model is None else f"/models/{quote(model, safe='')}/predict"


def _is_retryable(method: str, cause: httpx.TransportError) -> bool:
    return method != "POST" or isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)


def _retry_delay(response: httpx.Response, default: float) -> float:
    try:
        return min(max(float(response.headers["Retry-After"]), 0.0), _MAX_RETRY_AFTER_S)
    except (KeyError, ValueError):
        return default


def _checked(response: httpx.Response) -> httpx.Response:
    """The response. Raises the server's error if its status is an error."""
    if response.is_error:
        raise _error(_content(response), response.status_code)
    return response


def _content(response: httpx.Response) -> Any:
    try:
        return msgspec.json.decode(response.content)
    except msgspec.DecodeError as cause:
        raise RelevoError.with_message(f"The server answered {response.status_code} with something that is no JSON.") from cause


def _error(content: object, status: int) -> RelevoError:
    body: Mapping[str, Any] = content if isinstance(content, dict) else {}
    facts = {key: body[key] for key in ("field", "row", "request_id", "code") if body.get(key) is not None}
    message = body.get("error") or f"The server answered {status}."
    return by_code(str(body.get("code"))).with_message(str(message), **facts)


def _query_value(value: str | float | bool | date) -> str:  # noqa: FBT001 - a query parameter
    """A value as a query parameter. A date or a time without an offset is local time."""
    if hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime()
    if isinstance(value, date):
        return aware(value, None).isoformat()
    value = plain(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse_times(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parses `since` and `until`; an invalid time is left for the server to reject."""
    for name in {"since", "until"} & parameters.keys():
        if isinstance(parameters[name], str):
            with suppress(ValueError):
                parameters[name] = aware(parameters[name], None)
    return parameters
