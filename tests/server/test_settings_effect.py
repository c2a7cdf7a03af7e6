"""Each setting takes effect in a running server, tested from outside, several settings per server."""

from __future__ import annotations

import io
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image
from tests.support.server import put, running, settings_of, started

from relevo.config import Settings
from relevo.domain.prediction import InputLogging
from relevo.serve.loaded_version import ServingOptions
from relevo.server.register import register
from relevo.server.stores import open_store
from relevo.server.worker import _journal, _model_loader, _serving_options

if TYPE_CHECKING:
    from relevo.package.package import Package

PNG = {"content-type": "image/png"}


def free_port(host: str = "127.0.0.1") -> int:
    with socket.create_server((host, 0)) as one:
        return int(one.getsockname()[1])


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def eventually(condition: Any, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def half_a_request(url: str, path: str = "/predict") -> socket.socket:
    """A connection with an unfinished request."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 100\r\n\r\nabc".encode()
    )
    return connection


def test_places_and_numbers(tmp_path: Path, digits_package: Package, churn_package: Package, digit_pngs: list[bytes]) -> None:
    """home, host, port, workers, database_url, language, default_model, log_inputs take effect."""
    port = free_port("127.0.0.2")
    with running(
        tmp_path,
        churn_package,
        digits_package,
        home=tmp_path / "elsewhere",
        host="127.0.0.2",
        port=port,
        workers=2,
        database_url=f"sqlite:///{tmp_path / 'other.db'}",
        language="es",
        default_model="digits",
        log_inputs="none",
    ) as server:
        assert server.url == f"http://127.0.0.2:{port}"
        assert len(children(server.pid)) == 3  # two workers and the loop
        output = httpx.post(f"{server.url}/predict", content=digit_pngs[0], headers=PNG).json()
        assert output["model"] == "digits"
        assert "sin comillas" in httpx.post(f"{server.url}/models/churn/predict", json={"tenure": "41"}).json()["error"]
        address = f"{server.url}/predictions/{output['query_id']}"
        eventually(lambda: httpx.get(address).status_code == 200)
        assert httpx.get(f"{address}/input").json()["code"] == "input_not_kept"
    assert (tmp_path / "other.db").exists()
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} >= {"spool", "packages", "telemetry"}
    assert not (tmp_path / "elsewhere" / "relevo.db").exists()


def test_a_clients_share(tmp_path: Path, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """max_concurrency_per_client: during one request the next is 429 with Retry-After; afterwards it is answered."""
    with running(tmp_path, digits_package, max_concurrency_per_client=1) as server:
        under_way = half_a_request(server.url)

        def ask() -> httpx.Response:
            return httpx.post(f"{server.url}/predict", content=digit_pngs[0], headers=PNG)

        eventually(lambda: ask().status_code == 429)
        output = ask()
        assert output.json()["code"] == "rate_limited"
        assert int(output.headers["retry-after"]) >= 1
        old = httpx.post(f"{server.url}/predict/", files={"image": digit_pngs[0]})
        assert (old.json()["status_code"], old.json()["prediction"]) == (429, None), "the old path refuses in its own shape"
        under_way.close()
        eventually(lambda: ask().status_code == 200)


def test_a_full_queue(tmp_path: Path, churn_package: Package, churn_records: list[dict[str, Any]]) -> None:
    """max_queue_size: while the model is busy, larger batches are 503 with Retry-After, and other requests are answered."""
    with running(tmp_path, churn_package, max_queue_size=1, max_batch_size=1, durability="full") as server:

        def ask(_: int) -> httpx.Response:
            return httpx.post(f"{server.url}/predict", json=churn_records[:50], timeout=30)

        with ThreadPoolExecutor(12) as pool:
            output = list(pool.map(ask, range(60)))
        by_status = {status: [one for one in output if one.status_code == status] for status in (200, 503)}
        assert len(by_status[200]) + len(by_status[503]) == 60
        assert by_status[200]
        assert by_status[503]
        assert {one.json()["code"] for one in by_status[503]} == {"overloaded"}
        assert all(int(one.headers["retry-after"]) >= 1 for one in by_status[503])


def test_a_slow_watch_and_a_slow_loop(
    tmp_path: Path, digits_package: Package, digits_package_2: Package, digit_pngs: list[bytes]
) -> None:
    """route_poll_ms and flush_interval_ms of a minute: no new version and no prediction appears; shutdown ships."""
    settings = settings_of(tmp_path, route_poll_ms=60_000, flush_interval_ms=60_000)
    put(settings, digits_package)
    with started(settings) as server:
        put(settings, digits_package_2)
        time.sleep(1.0)
        output = httpx.post(f"{server.url}/predict", content=digit_pngs[0], headers=PNG).json()
        assert output["version"] == 1
        time.sleep(0.5)
        assert httpx.get(f"{server.url}/predictions/{output['query_id']}").status_code == 404
    store = open_store(settings)
    assert store.predictions.count() == 1
    store.engine.dispose()


def test_a_quick_watch_and_a_quick_loop(
    tmp_path: Path, digits_package: Package, digits_package_2: Package, digit_pngs: list[bytes]
) -> None:
    """route_poll_ms and flush_interval_ms of 50 ms: a new version and a new prediction appear soon."""
    settings = settings_of(tmp_path, route_poll_ms=50, flush_interval_ms=50, spool_rotate_s=1)
    put(settings, digits_package)
    with started(settings) as server:
        put(settings, digits_package_2)

        def ask() -> Any:
            return httpx.post(f"{server.url}/predict", content=digit_pngs[0], headers=PNG).json()

        eventually(lambda: ask()["version"] == 2, 5)
        output = ask()
        eventually(lambda: httpx.get(f"{server.url}/predictions/{output['query_id']}").status_code == 200, 5)
        # spool_rotate_s: a file of a second's age is closed, shipped and removed while the server goes on.
        eventually(lambda: not list(settings.spool_folder.rglob("00000001.journal")), 8)


@pytest.mark.parametrize("seconds", [1, 3])
def test_draining_takes_as_long_as_told(tmp_path: Path, digits_package: Package, seconds: int) -> None:
    """shutdown_timeout_s: an endless request delays the shutdown by that time only."""
    with running(tmp_path, digits_package, shutdown_timeout_s=seconds) as server:
        connection = half_a_request(server.url)
        time.sleep(0.2)
        begin = time.monotonic()
        assert server.stop() == 0
        took = time.monotonic() - begin
        connection.close()
    assert seconds - 0.3 <= took < seconds + 2.5


@pytest.mark.parametrize(("level", "form"), [("info", "json"), ("error", "text")])
def test_the_log_is_as_told(tmp_path: Path, digits_package: Package, level: str, form: str, capfd: Any) -> None:
    """log_level and log_format: info logs a model swap as JSON, error logs nothing at a normal start."""
    with running(tmp_path, digits_package, log_level=level, log_format=form):
        pass
    lines = [line for line in capfd.readouterr().err.splitlines() if line]
    if level == "error":
        assert lines == []
    else:
        assert "swapped" in {json.loads(line).get("action") for line in lines}


def test_relaxed_durability_answers_without_a_spool(tmp_path: Path, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """durability: with full journals, process gives 503 and is not ready; relaxed answers and marks it as unrecorded."""
    for durability in ("process", "relaxed"):
        settings = settings_of(tmp_path / durability, durability=durability, spool_max_mb=1, flush_interval_ms=60_000)
        put(settings, digits_package)
        stuck = settings.spool_folder / "left-behind"
        stuck.mkdir(parents=True)
        (stuck / "00000001.journal").write_bytes(bytes(2 * 2**20))
        with started(settings) as server:
            output = httpx.post(f"{server.url}/predict", content=digit_pngs[0], headers=PNG)
            ready = httpx.get(f"{server.url}/health/ready")
            if durability == "process":
                assert (output.status_code, output.json()["code"]) == (503, "storage_unavailable")
                assert ready.status_code == 503
            else:
                assert (output.status_code, output.json()["recorded"]) == (200, False)
                assert ready.status_code == 200


def test_settings_reach_the_lane_and_the_journal(tmp_path: Path) -> None:
    """max_batch_size, max_queue_size, durability, log_inputs, log_inputs_rate and the three spool settings are passed on."""
    settings = Settings(
        home=tmp_path,
        max_batch_size=7,
        max_queue_size=11,
        max_queue_seconds=3.5,
        durability="full",
        log_inputs="sample",
        log_inputs_rate=0.25,
        spool_rotate_mb=3,
        spool_rotate_s=5,
        spool_max_mb=9,
    )
    assert _serving_options(settings) == ServingOptions(
        max_batch_size=7,
        max_queue_size=11,
        max_queue_seconds=3.5,
        durability="full",
        log_inputs=InputLogging.SAMPLE,
        log_inputs_rate=0.25,
    )
    journal = _journal(settings, "w")
    assert (journal.limits.rotate_bytes, journal.limits.rotate_s, journal.limits.max_bytes) == (3 * 2**20, 5.0, 9 * 2**20)
    journal.close()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_model_has_its_threads(tmp_path: Path, digits_package: Package, threads: int) -> None:
    """intra_op_threads: the number of threads of a loaded model, including the calling thread."""
    settings = settings_of(tmp_path, intra_op_threads=threads)
    put(settings, digits_package)
    store = open_store(settings)
    target = store.registry.routes()[0].targets[0]
    load = _model_loader(settings, store)
    load(target)  # whatever libraries start once is started now
    before = len(list(Path("/proc/self/task").iterdir()))
    model = load(target)
    assert len(list(Path("/proc/self/task").iterdir())) - before == threads - 1
    del model
    store.engine.dispose()


def test_pictures_have_the_limits_that_were_set(tmp_path: Path, digits_package: Package) -> None:
    """max_pixels and max_side: a loaded model rejects larger images."""
    from relevo.errors import ImageTooLargeError

    file = io.BytesIO()
    Image.new("L", (40, 30)).save(file, "PNG")
    for limit in ({"max_pixels": 1199}, {"max_side": 39}):
        settings = settings_of(tmp_path / next(iter(limit)), **limit)
        package = tmp_path / f"{next(iter(limit))}.zip"
        digits_package.write(package)
        register(settings, package, author="test", reason="limits")
        store = open_store(settings)
        model = _model_loader(settings, store)(store.registry.routes()[0].targets[0]).model
        with pytest.raises(ImageTooLargeError):
            model.preprocess(file.getvalue())
        store.engine.dispose()
