"""Clients in a process of their own: each acknowledged row goes to an fsynced ledger before the next question is asked.

stdin: one line of JSON (url, questions, folder, threads) … its end stops the clients      stdout: one line of JSON, what they saw

It imports nothing of the product: what it believes of the wire is what any caller would.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

#: Seconds for which a question is asked again after its connection broke.
_PATIENCE_S = 30.0
_CLOSE = 1e-6


class Caller(threading.Thread):
    """One connection at a time, one ledger. Lifetime: until stopped."""

    def __init__(self, number: int, told: dict[str, Any], stop: threading.Event) -> None:
        super().__init__()
        self.requests = self.broken = self.stuck = self.wrong = 0
        self.seconds: list[float] = []
        self.refused: Counter[str] = Counter()
        self._host = urlsplit(told["url"]).netloc
        self._questions = told["questions"]
        self._pause_s = told["pause_s"]
        self._draw = random.Random(number)  # noqa: S311 - which question is next, no secret
        self._ledger = os.open(Path(told["folder"]) / f"{number}.ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._told_to_end = stop
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Send requests until stopped."""
        while not self._told_to_end.is_set():
            number = self._draw.randrange(len(self._questions))
            self._until_answered(number)
            if self._pause_s:
                time.sleep(self._pause_s)

    def _until_answered(self, number: int) -> None:
        begin = time.monotonic()
        while time.monotonic() - begin < _PATIENCE_S:
            try:
                status, answer = self._ask(self._questions[number])
            except (OSError, http.client.HTTPException):
                self.broken += 1
                self._connection = None
                time.sleep(0.01)
                continue
            self.requests += 1
            self.seconds.append(time.monotonic() - begin)
            self._take(number, status, answer)
            return
        self.stuck += 1

    def _ask(self, question: dict[str, Any]) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._host, timeout=20)
        self._connection.request("POST", question["path"], body=question["bytes"], headers={"Content-Type": question["kind"]})
        response = self._connection.getresponse()
        return response.status, response.read()

    def _take(self, number: int, status: int, body: bytes) -> None:
        answer = json.loads(body)
        if status != http.client.OK:
            self.refused[f"{status} {answer.get('code')}"] += 1
            time.sleep(0.01)
            return
        rows = answer if isinstance(answer, list) else [answer]
        lines = []
        for row, one in enumerate(rows):
            self.wrong += not _right(self._questions[number]["expected"].get(str(one["version"])), row, one, len(rows))
            lines.append(f"{one['query_id']} {number} {row} {one['version']} {one['prediction']}\n")
        os.write(self._ledger, "".join(lines).encode())
        os.fsync(self._ledger)


def _right(expected: Any, row: int, one: dict[str, Any], rows: int) -> bool:
    """Whether the answer is that of the version it names."""
    if expected is None or len(expected) != rows:
        return False
    label, probabilities = expected[row]
    near = all(abs(a - b) < _CLOSE for a, b in zip(probabilities, one["probabilities"], strict=True))
    return bool(near and one["prediction"] == label)


def main() -> None:
    """Run the callers until standard input ends."""
    told = json.loads(sys.stdin.readline())
    for question in told["questions"]:
        question["bytes"] = base64.b64decode(question["body"])
    stop = threading.Event()
    callers = [Caller(number, told, stop) for number in range(told["threads"])]
    for caller in callers:
        caller.start()
    sys.stdin.read()
    stop.set()
    refused: Counter[str] = Counter()
    for caller in callers:
        caller.join()
        refused += caller.refused
    seen = {name: sum(getattr(caller, name) for caller in callers) for name in ("requests", "broken", "stuck", "wrong")}
    seconds = sorted(second for caller in callers for second in caller.seconds) or [0.0]
    times = {"slowest_s": seconds[-1], "p50_s": seconds[len(seconds) // 2], "p99_s": seconds[int(len(seconds) * 0.99)]}
    sys.stdout.write(json.dumps({**seen, "refused": dict(refused), **times}))


if __name__ == "__main__":
    main()
