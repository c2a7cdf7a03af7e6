"""What the chaos tests share: questions with known answers, clients that keep a ledger, a killer, and the comparison at the end.

    questions ─► Clients (a process, threads, each with an fsynced ledger) ─► server ◄─ kill -9
                        └─ ledger ──────────────── compare ──────────────── history

RELEVO_CHAOS_ROUNDS=300 makes the long run of it; without the variable each test takes some seconds.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from relevo import server
from relevo.domain import ids
from relevo.store.db.tables import predictions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from relevo.config import Settings
    from relevo.package.package import Package

REPOSITORY = Path(__file__).parents[2]
#: Rounds of the long run; 0 is the short one of every day.
ROUNDS = int(os.environ.get("RELEVO_CHAOS_ROUNDS") or 0)
_SHIPPED_S = 60.0
Size = TypeVar("Size", int, float)


def scaled(small: Size, large: Size) -> Size:
    """A size for the short run and one for the long."""
    return large if ROUNDS else small


def say(line: str) -> None:
    """Tell a measured figure; shown by `pytest -s`."""
    print(f"\n    {line}", flush=True)  # noqa: T201 - figures are what these tests are also run for


# --- questions ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request whose answers are known for each version; lives as long as the test."""

    path: str
    kind: str
    body: bytes
    #: What the history must hold as input, one a row.
    stored: tuple[bytes, ...]
    #: Model that answers.
    model: str
    #: Version → (label, probabilities) of each row.
    expected: Mapping[int, tuple[tuple[str, tuple[float, ...]], ...]]


def image_questions(pictures: Sequence[bytes], versions: Mapping[int, Package]) -> list[Question]:
    """One question a picture, with the answer of each version as the package itself gives it."""
    model = next(iter(versions.values())).manifest.name
    return [
        Question(
            path=f"/models/{model}/predict",
            kind="image/png",
            body=picture,
            stored=(picture,),
            model=model,
            expected=_expected([picture], versions),
        )
        for picture in pictures
    ]


def record_questions(records: Sequence[dict[str, Any]], versions: Mapping[int, Package], *, batch: int = 5) -> list[Question]:
    """Single records and batches of them in turn."""
    model = next(iter(versions.values())).manifest.name
    questions = []
    for start in range(0, len(records) - batch, batch):
        some = list(records[start : start + batch])
        for asked in (some[:1], some):
            body = asked[0] if len(asked) == 1 else asked
            questions.append(
                Question(
                    path=f"/models/{model}/predict",
                    kind="application/json",
                    body=json.dumps(body).encode(),
                    stored=tuple(msgspec.json.encode(record) for record in asked),
                    model=model,
                    expected=_expected(asked, versions),
                )
            )
    return questions


def _expected(payloads: Sequence[Any], versions: Mapping[int, Package]) -> dict[int, tuple[tuple[str, tuple[float, ...]], ...]]:
    return {
        number: tuple((str(answer.predicted_label), tuple(answer.probabilities)) for answer in map(package.predict, payloads))
        for number, package in versions.items()
    }


# --- clients --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """One line of a ledger: a row that was answered."""

    id: bytes
    question: int
    row: int
    version: int
    label: str


@dataclass(slots=True, kw_only=True)
class Seen:
    """What the clients saw; lives from their end to the comparison."""

    rows: list[Acknowledged]
    requests: int = 0
    broken: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    stuck: int = 0
    wrong: int = 0
    p50_s: float = 0.0
    p99_s: float = 0.0
    slowest_s: float = 0.0


class Clients:
    """A process of clients that keep asking; lives as long as its `with` block, and tells at its end what it saw."""

    def __init__(self, url: str, questions: Sequence[Question], folder: Path, *, threads: int = 4, pause_s: float = 0.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.seen = Seen(rows=[])
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("recording_client.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        told = {"url": url, "folder": str(folder), "threads": threads, "pause_s": pause_s, "questions": _plain(questions)}
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> Clients:  # noqa: PYI034 - nobody derives from it
        """The clients, asking already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End them and read their ledgers."""
        out, _nothing = self._process.communicate(timeout=120)
        self.seen = Seen(rows=ledger(self._folder), **json.loads(out))

    def give_up(self) -> None:
        """Kill them where they stand; their ledgers hold what they had acknowledged."""
        self._process.kill()
        self._process.communicate()
        self.seen = Seen(rows=ledger(self._folder))

    def answered(self) -> int:
        """Rows in the ledgers so far."""
        return sum(path.read_bytes().count(b"\n") for path in self._folder.glob("*.ledger"))


def _plain(questions: Sequence[Question]) -> list[dict[str, Any]]:
    return [
        {
            "path": one.path,
            "kind": one.kind,
            "body": base64.b64encode(one.body).decode(),
            "expected": {str(version): rows for version, rows in one.expected.items()},
        }
        for one in questions
    ]


def ledger(folder: Path) -> list[Acknowledged]:
    """Every acknowledged row, from all ledgers."""
    rows = []
    for path in sorted(folder.glob("*.ledger")):
        for line in path.read_text().splitlines():
            query_id, question, row, version, label = line.split(" ", 4)
            rows.append(Acknowledged(id=_raw(query_id), question=int(question), row=int(row), version=int(version), label=label))
    return rows


def _raw(query_id: str) -> bytes:
    raw = ids.raw(query_id)
    assert raw is not None, "an answer's id is no id"
    return raw


# --- the comparison -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Ledger against history."""

    acknowledged: int
    missing: int
    doubled: int
    different: int
    beyond: int  # in the history and never acknowledged: the connection broke before the answer arrived


def compare(settings: Settings, seen: Seen, questions: Sequence[Question]) -> Comparison:
    """Wait until the journals are shipped, then look up every acknowledged row."""
    store = server.open_store(settings, migrated=True)
    wanted = {row.id for row in seen.rows}
    deadline = time.monotonic() + _SHIPPED_S
    found = _history(store)
    while not wanted <= found.keys() and time.monotonic() < deadline:
        time.sleep(0.5)
        found = _history(store)
    store.engine.dispose()
    counts = Counter(row.id for row in seen.rows)
    return Comparison(
        acknowledged=len(seen.rows),
        missing=len(wanted - found.keys()),
        doubled=sum(count > 1 for count in counts.values()) + sum(len(rows) > 1 for rows in found.values()),
        different=sum(not _same(row, found[row.id][0], questions[row.question]) for row in seen.rows if row.id in found),
        beyond=len(found.keys() - wanted),
    )


def _history(store: server.Store) -> dict[bytes, list[Any]]:
    columns = predictions.c
    rows: dict[bytes, list[Any]] = {}
    with store.engine.connect() as connection:
        for row in connection.execute(predictions.select().with_only_columns(*columns)):
            rows.setdefault(bytes(row.id), []).append(row)
    return rows


def _same(row: Acknowledged, found: Any, question: Question) -> bool:
    label = question.expected[row.version][row.row][0]
    return (
        row.label == label == str(found.label)
        and found.model == question.model
        and found.version == row.version
        and bytes(found.input or b"") == question.stored[row.row]
        and found.input_bytes == len(question.stored[row.row])
    )


# --- processes ------------------------------------------------------------------------------------------------------------


def children(pid: int, *names: str) -> list[int]:
    """Pids of a server's children of these names (`worker`, `loop`)."""
    try:
        pids = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    wanted = {f"relevo:{name}" for name in names or ("worker", "loop")}
    return [child for child in pids if _name(child) in wanted]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def kill(pid: int) -> None:
    """End a process at once."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def memory_mb(pid: int, what: str = "VmHWM") -> float:
    """Highest (VmHWM) or present (VmRSS) resident memory, MiB."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) / 1024
    return 0.0


def until(holds: Callable[[], bool], *, within_s: float, every_s: float = 0.05) -> bool:
    """Wait until something holds; False when it did not in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


@contextlib.contextmanager
def talking(url: str) -> Iterator[httpx.Client]:
    """An HTTP client that goes past no proxy."""
    with httpx.Client(base_url=url, timeout=30.0, trust_env=False) as client:
        yield client


class Probes(threading.Thread):
    """Health checks at a steady pace on connections of their own; lives as long as its `with` block."""

    def __init__(self, url: str, *, every_s: float = 0.05) -> None:
        super().__init__(daemon=True)
        self.seconds: dict[str, list[float]] = {"/health/live": [], "/health/ready": []}
        self.failed: list[str] = []
        self._host = urlsplit(url).netloc
        self._every_s = every_s
        self._told_to_end = threading.Event()

    def __enter__(self) -> Probes:  # noqa: PYI034 - nobody derives from it
        """The probes, running."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop probing."""
        self._told_to_end.set()
        self.join(30)

    def run(self) -> None:
        """Probe both paths in turn until told to end."""
        while not self._told_to_end.wait(self._every_s):
            for path in self.seconds:
                self._probe(path)

    def _probe(self, path: str) -> None:
        # Each probe is a new connection, as an orchestrator's is; it may meet any worker.
        connection = http.client.HTTPConnection(self._host, timeout=10)
        begin = time.monotonic()
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as cause:
            self.failed.append(f"{path}: {type(cause).__name__}")
            return
        finally:
            connection.close()
        self.seconds[path].append(time.monotonic() - begin)
        if status != http.client.OK:
            self.failed.append(f"{path}: {status}")

    def share_within(self, seconds: float) -> float:
        """Share of the probes answered in that time."""
        all_of_them = [second for some in self.seconds.values() for second in some]
        return sum(second <= seconds for second in all_of_them) / max(len(all_of_them), 1)

    def figures(self) -> str:
        """p50, p99 and the slowest of each path, in words."""
        return ", ".join(
            f"{path} p50 {percentile(some, 0.5) * 1000:.1f} p99 {percentile(some, 0.99) * 1000:.1f} max {max(some) * 1000:.1f} ms"
            for path, some in self.seconds.items()
            if some
        )


def metrics(client: httpx.Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """One scrape: (name, labels) → value."""
    text = client.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(client: httpx.Client, name: str, **labels: str) -> float:
    """Sum of a metric over all its labels but these."""
    wanted = set(labels.items())
    return sum(value for (one, its), value in metrics(client).items() if one == name and wanted <= set(its))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share lies."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
