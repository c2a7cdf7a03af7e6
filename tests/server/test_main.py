"""The whole server as processes: it predicts, records, and shuts down in order."""

from __future__ import annotations

import io
import re
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image
from tests.support.server import put, running, settings_of, started

import relevo.server
from relevo.errors import ConfigError
from relevo.server import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.package.package import Package


def eventually(condition: Any, seconds: float = 15.0) -> Any:
    """Polls `look` and returns its first true value."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
    return result


def test_answers_are_in_the_history(
    tmp_path: Path, digits_package: Package, churn_package: Package, digit_pngs: list[bytes], churn_records: list[dict[str, Any]]
) -> None:
    """An image and a record get the package's own predictions, and both are in the history soon after."""
    with (
        running(tmp_path, digits_package, churn_package, default_model="digits") as server,
        httpx.Client(base_url=server.url) as http,
    ):
        picture = http.post("/predict", content=digit_pngs[0], headers={"content-type": "image/png"}).json()
        record = http.post("/models/churn/predict", json=churn_records[0]).json()
        assert picture["prediction"] == digits_package.predict(digit_pngs[0]).predicted_label
        assert record["prediction"] == churn_package.predict(churn_records[0]).predicted_label
        for output in (picture, record):
            eventually(lambda output=output: http.get(f"/predictions/{output['query_id']}").status_code == 200)


def test_an_end_leaves_nothing_to_ship(tmp_path: Path, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """The background process ends last: the history contains the workers' last predictions, and no journal is left."""
    settings = settings_of(tmp_path, workers=2, flush_interval_ms=60_000)
    put(settings, digits_package)
    with started(settings) as server, httpx.Client(base_url=server.url) as http:
        for png in digit_pngs:
            http.post("/predict", content=png, headers={"content-type": "image/png"}).raise_for_status()
    assert not list(settings.spool_folder.rglob("*.journal"))
    store = open_store(settings)
    assert store.predictions.count() == len(digit_pngs)
    store.engine.dispose()


def test_a_picture_with_broken_metadata_says_nothing_on_the_server_s_terminal(
    tmp_path: Path, digits_package: Package, capfd: pytest.CaptureFixture[str]
) -> None:
    """An image with broken metadata is answered, and the decoder's warnings are not logged."""
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09\1\x12")
    with running(tmp_path, digits_package) as server:
        answer = httpx.post(f"{server.url}/predict", content=file.getvalue(), headers={"content-type": "image/jpeg"})
    assert answer.status_code == 200
    assert "PIL" not in capfd.readouterr().err


def test_a_second_start_on_the_home_leaves_the_counters_alone(
    tmp_path: Path, digits_package: Package, digit_pngs: list[bytes]
) -> None:
    """A server that finds its home locked does not merge the counters of live workers."""
    with running(tmp_path, digits_package) as server, httpx.Client(base_url=server.url) as http:

        def counted() -> float:
            result = re.search(r"relevo_predictions_total\{[^}]*\} ([\d.]+)", http.get("/metrics").text)
            return float(result[1]) if result else 0.0

        http.post("/predict", content=digit_pngs[0], headers={"content-type": "image/png"})
        eventually(lambda: counted() == 1)
        for port in (int(server.url.rpartition(":")[2]), 0):
            refused = relevo.server.start_server(settings_of(tmp_path, port=port))
            with pytest.raises(ConfigError):
                refused.wait_ready(30)
            refused.stop()
        http.post("/predict", content=digit_pngs[1], headers={"content-type": "image/png"})
        eventually(lambda: counted() == 2)
        assert "relevo_ready 1" in http.get("/metrics").text
