"""After an erasure, no file of the home contains the data: tables, WAL, journals, blobs, encrypted or not."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.support.server import running

from relevo.config import Settings
from relevo.domain import ids
from relevo.domain.prediction import InputKind
from relevo.errors import ConfigError, InputUndecryptableError
from relevo.server.admin import erase_offline
from relevo.server.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relevo.package.package import Package

SUBJECT = "patient 4711 of Nowhere"
NOTE = "a note that is about nobody else"
_ANA = {"Relevo-Subject": SUBJECT}


def picture(marker: bytes, noise: int) -> bytes:
    """An image of a digit's size that contains a text to search for."""
    pixels = np.random.default_rng(noise).integers(0, 255, (28, 28), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    # After the end of the image; kept byte for byte as it came.
    return file.getvalue() + marker


def holding(home: Path, needles: Iterable[bytes]) -> list[str]:
    """The files of a home, by name, that contain any of these byte strings."""
    files = [path for path in home.rglob("*") if path.is_file()]
    return [str(path.relative_to(home)) for path in files if any(needle in _bytes_of(path) for needle in needles)]


def _bytes_of(path: Path) -> bytes:
    """The content of a file; empty if the server has just removed it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def gone(home: Path, needles: list[bytes], seconds: float = 20) -> None:
    """Waits until no file contains any of them."""
    end = time.monotonic() + seconds
    while result := holding(home, needles):
        assert time.monotonic() < end, f"still in {result}"
        time.sleep(0.2)


def ask(url: str, marker: bytes, noise: int, headers: dict[str, str] | None = None) -> Any:
    answer = httpx.post(f"{url}/predict", files={"file": picture(marker, noise)}, headers=headers, timeout=30)
    answer.raise_for_status()
    return answer.json()


@pytest.mark.parametrize("seal", ["on", "off"])
def test_nothing_is_left_of_an_erased_subject(tmp_path: Path, digits_package: Package, seal: str) -> None:
    """Erases a small and a large input with labels under a running server; other subjects' data stays readable."""
    if seal == "on":
        pytest.importorskip("cryptography", reason="sealing is an extra")
    home, key = tmp_path / "home", master_key(tmp_path) if seal == "on" else ""
    small, large, others = b"marker of ana, small", b"marker of ana, large" * 2000, b"marker of somebody else"
    with running(tmp_path, digits_package, encrypt_inputs=seal, master_key_file=key) as server:
        own = [ask(server.url, marker, number, _ANA)["query_id"] for number, marker in enumerate((small, large))]
        other = ask(server.url, others, 2)["query_id"]
        for query_id in own:
            label = {"value": "7", "note": NOTE}
            assert httpx.put(f"{server.url}/predictions/{query_id}/label", json=label, timeout=30).status_code == 200
        readable = httpx.get(f"{server.url}/predictions/{own[1]}/input", timeout=30)
        assert readable.headers["content-type"] == "image/png"
        needles = [small, large[:40], NOTE.encode()]
        assert bool(holding(home, [small, large[:40], others])) is (seal == "off")
        assert bool(holding(home, [NOTE.encode()])) is (seal == "off")
        given = httpx.get(f"{server.url}/predictions/{own[0]}/label", timeout=30).json()
        assert given["history"][0]["note"] == NOTE
        assert not holding(home, [SUBJECT.encode()])
        output = httpx.delete(f"{server.url}/subjects/{SUBJECT}", params={"reason": "by letter"}, timeout=30).json()
        assert (output["predictions"], output["labels"], output["keys"]) == (2, 2, int(seal == "on"))
        gone(home, needles)
        assert httpx.get(f"{server.url}/predictions/{own[0]}", timeout=30).status_code == 404
        assert httpx.get(f"{server.url}/predictions/{other}/input", timeout=30).status_code == 200
        newest = httpx.get(f"{server.url}/audit", params={"limit": 1}, timeout=30).json()["items"][0]
        assert (newest["action"], newest["object"]) == ("subject.erase", f"subject:{output['subject']}")
        refused = httpx.post(f"{server.url}/predict", content=b"{}", headers={"Relevo-Subject": "x" * 201}, timeout=30)
        assert (refused.status_code, refused.json()["code"]) == (422, "parameter_wrong")
    gone(home, needles, 0)
    if seal == "on":
        opened_by_its_key_alone(home, other, key)


def master_key(tmp_path: Path) -> str:
    """A master key outside the home."""
    place = tmp_path / "elsewhere.key"
    place.write_text("ab" * 32)
    place.chmod(0o600)
    return str(place)


def opened_by_its_key_alone(home: Path, query_id: str, key: str) -> None:
    """The file of master_key_file decrypts the inputs, another key does not, and the home contains no master key."""
    assert not (home / "keys" / "master.key").exists()
    one = ids.raw(query_id)
    assert one is not None
    assert open_store(Settings(home=home, master_key_file=key)).predictions.input(one)[0] is InputKind.IMAGE
    with pytest.raises(InputUndecryptableError):
        open_store(Settings(home=home)).predictions.input(one)
    with pytest.raises(ConfigError, match="not there"):
        open_store(Settings(home=home, master_key_file=f"{key}.not"))


def test_what_lies_in_abandoned_journals_is_erased_too(tmp_path: Path) -> None:
    """Offline erasure finds predictions in the unshipped journal of a killed worker."""
    settings = Settings(home=tmp_path / "home")
    erase_offline(settings, "somebody else", why="makes the home")
    pseudonym = erase_offline(settings, SUBJECT, why="tells the pseudonym").subject
    program = f"""
import os
from pathlib import Path
from tests.support.journal import prediction
from relevo.recording.journal import Journal
one = prediction(input=b"marker in a journal", subject={pseudonym!r})
Journal(Path({str(settings.spool_folder / "w")!r})).write([one, prediction(input=b"marker of somebody else")])
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[2])
    assert holding(settings.home, [b"marker in a journal"])
    erase_offline(settings, SUBJECT, why="by letter")
    assert not holding(settings.home, [b"marker in a journal"])
    assert holding(settings.home, [b"marker of somebody else"]) == ["relevo.db"]
