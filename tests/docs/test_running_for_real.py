"""The how-to pages on production run: backup and restore of a busy home, users and keys, encryption."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.support.doc_runner import Tour
from tests.support.forked_docs import Forking
from tests.support.server import put, settings_of

import relevo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from relevo.package.package import Package


@contextlib.contextmanager
def touring(folder: Path, package: Package) -> Iterator[Tour]:
    """A tour of a folder whose home has one model."""
    put(settings_of(folder, home=folder / ".relevo"), package)
    scratch = folder.parent / f"{folder.name}-scratch"
    scratch.mkdir()
    with Forking(scratch) as program:
        tour = Tour(folder, program)
        try:
            yield tour
        finally:
            tour.stop()


@contextlib.contextmanager
def asking(tour: Tour, pictures: Sequence[bytes]) -> Iterator[None]:
    """Send prediction requests without pause during the `with` block; the responses are ignored."""
    ended = threading.Event()

    def ask() -> None:
        with tour.client() as client, contextlib.suppress(relevo.RelevoError):
            while not ended.is_set():
                client.predict("digits", pictures[0])

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_copy_of_a_busy_home_is_restored_whole(tmp_path: Path, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """Every answer given before the copy is in the history of the restored home, though none of them had reached the database."""
    with touring(tmp_path, digits_package) as tour:
        # Nothing leaves the journals by itself, so the copy must take them.
        tour.environ["RELEVO_FLUSH_INTERVAL_MS"] = "60000"
        tour.serve()
        del tour.environ["RELEVO_FLUSH_INTERVAL_MS"]
        with tour.client() as client:
            answers = [client.predict("digits", picture) for picture in digit_pngs[:20]]
            assert client.history().items == []
        with asking(tour, digit_pngs):
            tour.walk("docs/how-to/back-up-and-restore.md")
        with tour.client() as client:
            assert [client.prediction(one.query_id)["prediction"] for one in answers] == [one.prediction for one in answers]
        (copied,) = tmp_path.glob("backup/spool/*/*.journal")
        deadline = time.monotonic() + 10
        while (tmp_path / ".relevo" / copied.relative_to(tmp_path / "backup")).exists():
            assert time.monotonic() < deadline, "a journal that has arrived is removed"
            time.sleep(0.05)
    assert tmp_path.joinpath(".relevo.broken").is_dir()


def test_users_and_keys_are_added_as_the_page_says(tmp_path: Path, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """The first user makes authentication mandatory; a revoked key is rejected; the audit log is complete; a proxy works."""
    (tmp_path / "zero.png").write_bytes(digit_pngs[0])
    for name in ("ana", "luis"):
        (tmp_path / f"{name}.txt").write_text(f"{name} likes long passphrases\n", encoding="utf-8")
    with touring(tmp_path, digits_package) as tour:
        tour.serve()
        tour.walk("docs/how-to/add-a-user.md")
        with tour.client() as client:
            assert refusal(lambda: client.predict("digits", digit_pngs[0])) == "not_known"
        told = json.loads((tmp_path / "key.json").read_text(encoding="utf-8"))
        with relevo.Client(tour.url, key=told["key"]) as client:
            assert refusal(lambda: client.predict("digits", digit_pngs[0])) == "not_known"
        tour.walk("docs/how-to/behind-nginx.md")
        assert [asked_as(tour, name) for name in ("models.example", "other.example")] == [401, 403]
        done = subprocess.run(
            ["relevo", "audit", "list", "--json"], cwd=tmp_path, env=tour.environ, capture_output=True, check=True
        )
    acts = {one["action"] for one in json.loads(done.stdout)["items"]}
    assert {"user.add", "user.role", "user.disable", "key.add", "key.rotate", "key.revoke"} <= acts


def asked_as(tour: Tour, name: str) -> int:
    """The status of an unauthenticated request with this Host header, forwarded by a local proxy."""
    headers = {"Host": name, "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    return httpx.get(f"{tour.url}/models", headers=headers).status_code


def refusal(ask: Callable[[], object]) -> str:
    """The error code of a request, retried for a few seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            ask()
        except relevo.RelevoError as refused:
            return refused.code
        time.sleep(0.1)
    return "none"


def test_what_is_encrypted_is(tmp_path: Path, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """Clients trust the self-signed certificate; encrypted inputs are in no file in plain text, and erased ones are gone."""
    pytest.importorskip("cryptography", reason="certificates need the extra 'tls'")
    first, last = digit_pngs[-2:]
    (tmp_path / "zero.png").write_bytes(first)
    with touring(tmp_path, digits_package) as tour:
        tour.walk("docs/how-to/encrypt.md")
        with tour.client() as client:
            sealed = client.prediction(client.predict("digits", last).query_id)
            # In the clear: by curl, by the command, in Python. Sealed: the erased one, and this.
            assert len(list(client.all_history())) == 4
    assert sealed["prediction"] is not None
    assert files_with(first[8:], tmp_path / ".relevo"), "what was asked before anything was sealed is found"
    assert files_with(last[8:], tmp_path / ".relevo") == []


def files_with(content: bytes, folder: Path) -> list[Path]:
    """The files that hold these bytes."""
    return [path for path in folder.rglob("*") if path.is_file() and content in path.read_bytes()]
