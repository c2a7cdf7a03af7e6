"""What waits for one model, shared by caller: each caller's turn comes as often as any other's, however much one of them sent.

    put ─► caller a: Ticket, Ticket ─┐
           caller b: Ticket         ─┼─ take(rows that fit) ─► [Part, Part, …]     a ticket that is not done goes behind the others
           caller c: Ticket, …      ─┘
    waited long ─► first, the oldest first          hung up ─► dropped          full ─► the fullest caller's newest makes room

Not for several threads; it knows nothing of time but what it is told.
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


class Ticket(msgspec.Struct, Generic[Row, Result], eq=False):
    """One caller's rows; lives from submit to settle."""

    rows: Sequence[Row]
    answer: asyncio.Future[list[Result]]
    caller: str
    since: float  # monotonic seconds, when it was submitted
    #: Its batch failed the model; it is asked once more without neighbours.
    alone: bool = False
    #: Rows that were taken so far.
    taken: int = 0
    #: Results of the parts that are back, where there are several.
    results: list[Result] | None = None

    @property
    def left(self) -> int:
        """Rows that were not taken yet."""
        return len(self.rows) - self.taken


class Part(msgspec.Struct, Generic[Row, Result], eq=False):
    """The rows of a ticket that one run takes, all of them as a rule."""

    ticket: Ticket[Row, Result]
    start: int
    stop: int

    def settle(self, results: list[Result]) -> None:
        """Give the ticket its results, and its caller all of them when none is missing."""
        ticket = self.ticket
        if self.stop - self.start < len(ticket.rows):
            results = ticket.results = (ticket.results or []) + results
            if self.stop < len(ticket.rows):
                return
        # Race: hung up while the model ran; set_result would raise and strand the rest.
        if not ticket.answer.done():
            ticket.answer.set_result(results)


class FairQueue(Generic[Row, Result]):
    """Tickets by caller; lives as long as its batcher."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, deque[Ticket[Row, Result]]] = OrderedDict()
        self._arrived: deque[Ticket[Row, Result]] = deque()
        #: Some are taken again, alone and before the others.
        self._again = False
        #: Rows that were not taken yet.
        self.rows = 0

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._callers)

    def put(self, ticket: Ticket[Row, Result]) -> None:
        """Queue a ticket behind its caller's others."""
        tickets = self._callers.get(ticket.caller)
        if tickets is None:
            tickets = self._callers[ticket.caller] = deque()
        tickets.append(ticket)
        self._arrived.append(ticket)
        self.rows += ticket.left

    def put_back(self, part: Part[Row, Result]) -> None:
        """What was taken is to be taken again, before anything else."""
        ticket = part.ticket
        if ticket.answer.done():
            return
        self._again = True
        self._remove(ticket)
        if ticket not in self._arrived:
            self._arrived.appendleft(ticket)
        self.rows += part.stop - part.start
        ticket.taken = part.start
        self._callers.setdefault(ticket.caller, deque()).appendleft(ticket)
        self._callers.move_to_end(ticket.caller, last=False)

    def take(self, in_time: int, in_batch: int, *, older_than: float) -> list[Part[Row, Result]]:
        """The rows of the next run.

        in_time: rows for which there is time, at least 1. in_batch: rows that several callers may share; one alone may have more.
        older_than: who was submitted before is not kept waiting for anybody's turn.
        """
        if self.rows <= in_batch and self.rows <= in_time and not self._again:
            return self._take_all()
        parts: list[Part[Row, Result]] = []
        taken = 0
        ticket = self._overdue(older_than) or self._next()
        while ticket is not None:
            free = min(in_time, in_batch) - taken if parts else in_time
            if parts and (ticket.left > free or ticket.alone or parts[-1].ticket.alone):
                break
            part = Part(ticket, ticket.taken, ticket.taken + min(ticket.left, free))
            taken += part.stop - part.start
            self.rows -= part.stop - part.start
            ticket.taken = part.stop
            parts.append(part)
            self._rotate(ticket)
            ticket = self._next()
        self._again = self._again and bool(self._callers)
        return parts

    def _take_all(self) -> list[Part[Row, Result]]:
        """Where there is room for everybody, turns make no difference."""
        parts: list[Part[Row, Result]] = []
        for ticket in self._arrived:
            start, stop = ticket.taken, len(ticket.rows)
            if start < stop and not ticket.answer.done():
                ticket.taken = stop
                parts.append(Part(ticket, start, stop))
        self._arrived.clear()
        self._callers.clear()
        self.rows = 0
        return parts

    def waiting(self, *, since: float) -> Iterator[Ticket[Row, Result]]:
        """Those who have waited since before that time and have no answer."""
        for ticket in self._arrived:
            if ticket.since >= since:
                return
            if not ticket.answer.done():
                yield ticket

    def sweep(self) -> None:
        """Drop the tickets of those who hung up."""
        for ticket in [ticket for tickets in self._callers.values() for ticket in tickets if ticket.answer.done()]:
            self._drop(ticket)

    def displaced_by(self, caller: str, rows: int) -> Ticket[Row, Result] | None:
        """The newest ticket of the caller who has most waiting, dropped; None unless that caller has more than this one would."""
        fullest = max(self._callers.values(), key=_rows_of, default=None)
        if fullest is None or fullest[-1].taken:
            return None
        newest = fullest[-1]
        own = _rows_of(self._callers.get(caller, deque()))
        if newest.caller == caller or _rows_of(fullest) - newest.left < own + rows:
            return None
        self._drop(newest)
        return newest

    def _overdue(self, older_than: float) -> Ticket[Row, Result] | None:
        arrived = self._arrived
        while arrived and arrived[0].answer.done():
            arrived.popleft()
        if arrived and arrived[0].since < older_than:
            return next((ticket for ticket in arrived if ticket.left and not ticket.answer.done()), None)
        return None

    def _next(self) -> Ticket[Row, Result] | None:
        while self._callers:
            ticket = next(iter(self._callers.values()))[0]
            if not ticket.answer.done():
                return ticket
            # A caller who hung up never reaches the model.
            self._drop(ticket)
        return None

    def _rotate(self, ticket: Ticket[Row, Result]) -> None:
        """After its turn a ticket goes behind its caller's others, and the caller behind the other callers."""
        self._remove(ticket)
        if ticket.left:
            self._callers.setdefault(ticket.caller, deque()).append(ticket)
        if ticket.caller in self._callers:
            self._callers.move_to_end(ticket.caller)

    def _drop(self, ticket: Ticket[Row, Result]) -> None:
        self.rows -= ticket.left
        self._remove(ticket)

    def _remove(self, ticket: Ticket[Row, Result]) -> None:
        tickets = self._callers.get(ticket.caller)
        if tickets is None:
            return
        if tickets and tickets[0] is ticket:
            tickets.popleft()
        elif ticket in tickets:
            tickets.remove(ticket)
        if not tickets:
            del self._callers[ticket.caller]


def _rows_of(tickets: deque[Ticket[Row, Result]]) -> int:
    return sum(ticket.left for ticket in tickets)
