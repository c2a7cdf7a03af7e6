"""Fair queue for one model: each caller gets a turn equally often, regardless of how much it sent.

    put ─► caller a: PendingRequest, PendingRequest ─┐
           caller b: PendingRequest                 ─┼─ take(rows that fit) ─► [RequestPart, RequestPart, …]
           caller c: PendingRequest, …              ─┘      a request that is not complete goes to the end of the line
    waited long ─► first, oldest first      disconnected ─► dropped      full ─► displaces the newest request of the longest queue

Not thread-safe. Has no clock: the caller passes all times.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator, Sequence

Row = TypeVar("Row")
Result = TypeVar("Result")


class PendingRequest(msgspec.Struct, Generic[Row, Result], eq=False):
    """The rows of one caller. Lifetime: from submit until the future is resolved."""

    rows: Sequence[Row]
    future: asyncio.Future[list[Result]]
    caller: str
    submitted_at: float  # monotonic seconds of the submission
    #: The model failed on its batch; it is retried without other requests.
    isolate: bool = False
    #: Rows already passed to the model.
    taken: int = 0
    #: Results of the finished parts, if there are several.
    results: list[Result] | None = None

    @property
    def remaining(self) -> int:
        """Rows not yet passed to the model."""
        return len(self.rows) - self.taken


class RequestPart(msgspec.Struct, Generic[Row, Result], eq=False):
    """The rows of one request that one run takes, usually all of them."""

    request: PendingRequest[Row, Result]
    start: int
    stop: int

    def resolve(self, results: list[Result]) -> None:
        """Store the results; set the future once no part is missing."""
        request = self.request
        if self.stop - self.start < len(request.rows):
            results = request.results = (request.results or []) + results
            if self.stop < len(request.rows):
                return
        # Race: the client disconnected while the model ran; set_result would raise and strand the rest.
        if not request.future.done():
            request.future.set_result(results)


class FairQueue(Generic[Row, Result]):
    """Requests grouped by caller. Lifetime: the batcher."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, deque[PendingRequest[Row, Result]]] = OrderedDict()
        self._in_order: deque[PendingRequest[Row, Result]] = deque()
        #: Some requests are retried, alone and before all others.
        self._has_retries = False
        #: Rows not yet passed to the model.
        self.rows = 0

    def __bool__(self) -> bool:
        """Whether any request waits."""
        return bool(self._callers)

    def put(self, request: PendingRequest[Row, Result]) -> None:
        """Queue a request behind the others of its caller."""
        requests = self._callers.get(request.caller)
        if requests is None:
            requests = self._callers[request.caller] = deque()
        requests.append(request)
        self._in_order.append(request)
        self.rows += request.remaining

    def requeue(self, part: RequestPart[Row, Result]) -> None:
        """Return rows to the queue for a retry, before all others."""
        request = part.request
        if request.future.done():
            return
        self._has_retries = True
        self._remove(request)
        if request not in self._in_order:
            self._in_order.appendleft(request)
        self.rows += part.stop - part.start
        request.taken = part.start
        self._callers.setdefault(request.caller, deque()).appendleft(request)
        self._callers.move_to_end(request.caller, last=False)

    def take(self, max_rows: int, max_shared_rows: int, *, overdue_before: float) -> list[RequestPart[Row, Result]]:
        """The rows of the next run.

        max_rows: rows that the time of a run allows, at least 1. max_shared_rows: rows of a batch shared by several requests; a
        single request may have more. overdue_before: requests submitted before this time come first, whichever caller's turn it is.
        """
        if self.rows <= max_shared_rows and self.rows <= max_rows and not self._has_retries:
            return self._take_all()
        parts: list[RequestPart[Row, Result]] = []
        taken = 0
        request = self._overdue(overdue_before) or self._next_request()
        while request is not None:
            free_rows = min(max_rows, max_shared_rows) - taken if parts else max_rows
            if parts and (request.remaining > free_rows or request.isolate or parts[-1].request.isolate):
                break
            part = RequestPart(request, request.taken, request.taken + min(request.remaining, free_rows))
            taken += part.stop - part.start
            self.rows -= part.stop - part.start
            request.taken = part.stop
            parts.append(part)
            self._rotate(request)
            request = self._next_request()
        self._has_retries = self._has_retries and bool(self._callers)
        return parts

    def _take_all(self) -> list[RequestPart[Row, Result]]:
        """Take every request: if all of them fit, the order of the callers does not matter."""
        parts: list[RequestPart[Row, Result]] = []
        for request in self._in_order:
            start, stop = request.taken, len(request.rows)
            if start < stop and not request.future.done():
                request.taken = stop
                parts.append(RequestPart(request, start, stop))
        self._in_order.clear()
        self._callers.clear()
        self.rows = 0
        return parts

    def submitted_before(self, deadline: float) -> Iterator[PendingRequest[Row, Result]]:
        """Requests without a result that were submitted before this time."""
        for request in self._in_order:
            if request.submitted_at >= deadline:
                return
            if not request.future.done():
                yield request

    def drop_done(self) -> None:
        """Drop the requests of disconnected callers."""
        for request in [request for requests in self._callers.values() for request in requests if request.future.done()]:
            self._drop(request)

    def displaced_by(self, caller: str, rows: int) -> PendingRequest[Row, Result] | None:
        """The newest request of the longest queue, dropped; None unless that caller has more rows waiting than `caller` would."""
        longest = max(self._callers.values(), key=_count_rows, default=None)
        if longest is None or longest[-1].taken:
            return None
        newest = longest[-1]
        own = _count_rows(self._callers.get(caller, deque()))
        if newest.caller == caller or _count_rows(longest) - newest.remaining < own + rows:
            return None
        self._drop(newest)
        return newest

    def _overdue(self, overdue_before: float) -> PendingRequest[Row, Result] | None:
        in_order = self._in_order
        while in_order and in_order[0].future.done():
            in_order.popleft()
        if in_order and in_order[0].submitted_at < overdue_before:
            return next((request for request in in_order if request.remaining and not request.future.done()), None)
        return None

    def _next_request(self) -> PendingRequest[Row, Result] | None:
        while self._callers:
            request = next(iter(self._callers.values()))[0]
            if not request.future.done():
                return request
            # The rows of a disconnected caller never reach the model.
            self._drop(request)
        return None

    def _rotate(self, request: PendingRequest[Row, Result]) -> None:
        """Move a request behind the others of its caller, and the caller behind all other callers."""
        self._remove(request)
        if request.remaining:
            self._callers.setdefault(request.caller, deque()).append(request)
        if request.caller in self._callers:
            self._callers.move_to_end(request.caller)

    def _drop(self, request: PendingRequest[Row, Result]) -> None:
        self.rows -= request.remaining
        self._remove(request)

    def _remove(self, request: PendingRequest[Row, Result]) -> None:
        requests = self._callers.get(request.caller)
        if requests is None:
            return
        if requests and requests[0] is request:
            requests.popleft()
        elif request in requests:
            requests.remove(request)
        if not requests:
            del self._callers[request.caller]


def _count_rows(requests: deque[PendingRequest[Row, Result]]) -> int:
    return sum(request.remaining for request in requests)
