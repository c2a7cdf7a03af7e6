"""Registration of packages, settings of child processes, and a server that starts without its database."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.server import put, settings_of, started

import relevo.server
from relevo.config import Settings
from relevo.errors import ConfigError, PackageError
from relevo.server.admin import rotate_audit_key
from relevo.server.subprocess import settings_from_line, settings_line

if TYPE_CHECKING:
    from relevo.package.package import Package

PNG = {"content-type": "image/png"}


def eventually(condition: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def test_a_folder_and_a_zip_are_the_same_package(tmp_path: Path, digits_package: Package) -> None:
    """A package registered as a folder and as a .zip is one version; the package store contains it."""
    settings = settings_of(tmp_path)
    for out in (tmp_path / "folder", tmp_path / "packed.zip"):
        digits_package.write(out)
    versions = [
        relevo.server.register(settings, out, author="ana", reason="first")
        for out in (tmp_path / "folder", tmp_path / "packed.zip")
    ]
    assert [version.number for version in versions] == [1, 1]
    store = relevo.server.open_store(settings)
    stored = store.packages.open(versions[0].digest)
    assert stored.read("manifest.json", max_bytes=2**20) == (tmp_path / "folder" / "manifest.json").read_bytes()
    assert [route.targets[0].digest for route in store.registry.routes()] == [digits_package.digest]
    assert [move.reason for move in store.registry.alias_history("digits")][-1] == "first"
    store.engine.dispose()


def test_a_damaged_package_changes_nothing(tmp_path: Path, digits_package: Package) -> None:
    """A package that was changed after packing is rejected; package store and registry stay unchanged."""
    settings = settings_of(tmp_path)
    digits_package.write(tmp_path / "package")
    model = tmp_path / "package" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    with pytest.raises(PackageError):
        relevo.server.register(settings, tmp_path / "package", author="ana", reason="first")
    store = relevo.server.open_store(settings)
    assert store.registry.models() == []
    assert not any(settings.packages_folder.glob("*"))
    store.engine.dispose()


def test_the_first_version_answers_whatever_it_is_called(tmp_path: Path, digits_package: Package) -> None:
    """The first version of a model becomes champion, whatever its alias."""
    settings = settings_of(tmp_path)
    put(settings, digits_package, alias="vgg19")
    store = relevo.server.open_store(settings)
    assert store.registry.aliases("digits") == {"vgg19": 1, "champion": 1}
    assert relevo.server.champion_of(settings, "digits") == 1
    store.engine.dispose()


def test_another_alias_moves_no_champion(tmp_path: Path, digits_package: Package, digits_package_2: Package) -> None:
    """A version registered under another alias is listed and answers no request."""
    settings = settings_of(tmp_path)
    put(settings, digits_package)
    assert put(settings, digits_package_2, alias="challenger") == 2
    store = relevo.server.open_store(settings)
    assert store.registry.aliases("digits") == {"champion": 1, "challenger": 2}
    assert [target.version for route in store.registry.routes() for target in route.targets] == [1]
    store.engine.dispose()


@given(
    st.builds(
        Settings,
        home=st.text(min_size=1, max_size=20).map(Path),
        port=st.integers(0, 65535),
        database_url=st.text(max_size=20),
        log_inputs_rate=st.floats(0, 1),
        default_model=st.text(max_size=20),
    )
)
def test_settings_survive_the_way_to_a_child(settings: Settings) -> None:
    """settings_from_line reads what settings_line wrote, for all settings."""
    line = settings_line(settings)
    assert line.count(b"\n") == 1
    assert settings_from_line(line) == settings


def test_a_port_in_use_is_told_at_once(tmp_path: Path) -> None:
    """A port in use stops the start with an error that names it and the remedy."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} .* choose another with --port"):
            relevo.server.serve(settings_of(tmp_path, port=port))
        server = relevo.server.start_server(settings_of(tmp_path, port=port))
        with pytest.raises(ConfigError, match=str(port)):
            server.wait_ready(30)
        assert server.stop() != 0


def test_a_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A home below a file stops the start with an error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        relevo.server.serve(settings_of(tmp_path, home=tmp_path / "file" / "home"))


@pytest.mark.parametrize("name", ["spool", "telemetry", "packages", "blobs", "keys"])
def test_what_stands_in_a_folder_s_place_is_told(tmp_path: Path, name: str) -> None:
    """A file in place of a folder stops the start with an error, and is not changed."""
    settings = settings_of(tmp_path)
    settings.home.mkdir()
    (settings.home / name).write_text("mine")
    for act in (relevo.server.open_store, relevo.server.serve):
        with pytest.raises(ConfigError, match=rf"{name} is no folder"):
            act(settings)
    assert (settings.home / name).read_text() == "mine"


def workers_of(server: relevo.server.RunningServer) -> list[int]:
    pids = [int(one) for one in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]
    return [pid for pid in pids if "worker" in Path(f"/proc/{pid}/comm").read_text()]


@pytest.mark.chaos
def test_a_worker_killed_while_the_database_is_away_comes_back(
    tmp_path: Path, digits_package: Package, digit_pngs: list[bytes]
) -> None:
    """Without its database, a killed worker is replaced and serves the cached routes; all predictions arrive later."""
    settings = settings_of(tmp_path, database_url=f"sqlite:///{tmp_path / 'db' / 'relevo.db'}")
    (tmp_path / "db").mkdir()
    put(settings, digits_package)
    ids = []
    with started(settings) as server:

        def ask() -> bool:
            try:
                output = httpx.post(f"{server.url}/predict", content=digit_pngs[0], headers=PNG)
            except httpx.TransportError:
                return False
            if output.status_code == 200:
                ids.append(output.json()["query_id"])
            return output.status_code == 200

        assert ask()
        (tmp_path / "db").rename(tmp_path / "away")
        before = workers_of(server)
        os.kill(before[0], signal.SIGKILL)
        eventually(lambda: workers_of(server) not in ([], before))
        eventually(ask)
        (tmp_path / "away").rename(tmp_path / "db")
        eventually(lambda: all(httpx.get(f"{server.url}/predictions/{one}").status_code == 200 for one in ids))
    assert len(ids) >= 2


def test_a_server_starts_on_remembered_routes(tmp_path: Path, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """A server that starts without its database serves the cached routes."""
    settings = settings_of(tmp_path, database_url=f"sqlite:///{tmp_path / 'db' / 'relevo.db'}")
    (tmp_path / "db").mkdir()
    put(settings, digits_package)
    with started(settings):
        pass
    (tmp_path / "db").rename(tmp_path / "away")
    (tmp_path / "db").write_text("not mounted")
    with started(settings) as server:
        output = httpx.post(f"{server.url}/predict", content=digit_pngs[0], headers=PNG)
        assert (output.status_code, output.json().get("version")) == (200, 1), output.text
        (tmp_path / "db").unlink()
        (tmp_path / "away").rename(tmp_path / "db")
        eventually(lambda: httpx.get(f"{server.url}/predictions/{output.json()['query_id']}").status_code == 200)


def test_an_empty_home_serves_and_says_what_is_missing(tmp_path: Path, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """A server without models is live, not ready, and serves a model as soon as it is registered."""
    settings = settings_of(tmp_path)
    with started(settings) as server:
        output = httpx.post(f"{server.url}/predict", content=digit_pngs[0], headers=PNG)
        assert (output.status_code, output.json()["code"]) == (503, "not_ready")
        assert httpx.get(f"{server.url}/health/live").status_code == 200
        assert httpx.get(f"{server.url}/health/ready").status_code == 503
        put(settings, digits_package)
        eventually(lambda: httpx.get(f"{server.url}/health/ready").status_code == 200)
        assert httpx.post(f"{server.url}/predict", content=digit_pngs[0], headers=PNG).status_code == 200


def open_to_others(folder: Path) -> list[str]:
    result = [path for path in (folder, *folder.rglob("*")) if not path.is_symlink() and path.stat().st_mode & 0o077]
    # What lies in a closed folder is closed.
    closed = {path for path in folder.rglob("*") if path.is_dir() and not path.stat().st_mode & 0o077}
    return [str(path) for path in result if not closed & set(path.parents)]


def test_what_people_sent_is_the_owners_alone(tmp_path: Path, digits_package: Package) -> None:
    """Journals, counters and routes are readable by the owner only, and so are their folders."""
    settings = settings_of(tmp_path)
    put(settings, digits_package)
    with started(settings) as server:
        picture = digits_package.read(next(path for path in digits_package.paths() if path.endswith(".png")))
        assert httpx.post(f"{server.url}/predict", content=picture, headers=PNG).status_code == 200
        journals = list(settings.spool_folder.rglob("*.journal*"))
        assert journals
        assert all(not path.stat().st_mode & 0o077 for path in journals)
        assert all(not path.stat().st_mode & 0o077 for path in settings.telemetry_folder.rglob("*"))
        assert open_to_others(settings.home) == []


def test_an_older_home_is_closed_at_the_start(tmp_path: Path) -> None:
    """Permissions of an existing home are restricted at the next start; a project folder keeps its own."""
    settings = settings_of(tmp_path)
    relevo.server.open_store(settings).engine.dispose()
    settings.spool_folder.mkdir(exist_ok=True)
    (settings.home / "routes.json").write_bytes(b"[]")
    for path in (settings.home, settings.spool_folder, settings.home / "routes.json", settings.home / "relevo.db"):
        path.chmod(0o755)
    relevo.server.open_store(settings).engine.dispose()
    assert open_to_others(settings.home) == []
    (settings.home / "relevo.toml").touch()
    settings.home.chmod(0o755)
    relevo.server.open_store(settings).engine.dispose()
    assert settings.home.stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
@pytest.mark.parametrize("which", ["home", "spool_folder"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, which: str) -> None:
    """Commands and server name the folder that is not writable, before any work."""
    settings = settings_of(tmp_path)
    relevo.server.open_store(settings).engine.dispose()
    folder = getattr(settings, which)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o500)
    try:
        for act in (relevo.server.check_home, relevo.server.open_store, relevo.server.serve):
            with pytest.raises(ConfigError, match=f"{folder} cannot be written"):
                act(settings)
    finally:
        folder.chmod(0o700)


def test_no_error_tells_where_the_home_is(
    tmp_path: Path, digits_package: Package, churn_package: Package, digit_pngs: list[bytes]
) -> None:
    """Errors about packages, inputs, journals, keys and databases sent to clients contain no path."""
    settings = settings_of(tmp_path)
    put(settings, digits_package)
    put(settings, churn_package)
    damaged = settings.packages_folder / churn_package.digest
    (damaged / "model.onnx").unlink()
    (damaged / "model.onnx").symlink_to(damaged / "model.onnx")
    bodies: dict[str, httpx.Response] = {}
    with started(settings) as server, httpx.Client(base_url=server.url, timeout=30) as client:

        def ask(name: str, status: int, method: str, path: str, **options: Any) -> None:
            for kind in ("application/json", "text/html"):
                headers = {"accept": kind} | options.get("headers", {})
                bodies[f"{name}, {kind}"] = answer = client.request(method, path, **(options | {"headers": headers}))
                assert answer.status_code == status, (name, answer.text)

        ask("damaged package", 503, "POST", "/models/churn/predict", json={})
        ask("its card", 404, "GET", "/models/churn/versions/1/figures/none.png")
        (spool,) = (path for path in settings.spool_folder.iterdir() if path.is_dir())
        # After an erasure the next prediction begins a new journal.
        assert client.delete("/subjects/nobody").status_code == 200
        away = spool.rename(tmp_path / "away")
        eventually(lambda: client.post("/predict", content=digit_pngs[0], headers=PNG).status_code == 503)
        ask("journals away", 503, "POST", "/predict", content=digit_pngs[0], headers=PNG)
        ask("not ready", 503, "GET", "/health/ready")
        away.rename(spool)
        large = digit_pngs[0] + b"x" * 20_000
        eventually(lambda: client.post("/predict", content=large, headers=PNG).status_code == 200)
        query_id = client.post("/predict", content=large, headers=PNG).json()["query_id"]
        assert client.get(f"/predictions/{query_id}/input").status_code == 200
        for blob in settings.blobs_folder.rglob("*"):
            if blob.is_file():
                blob.unlink()
        ask("missing input", 404, "GET", f"/predictions/{query_id}/input")
        rotate_audit_key(settings)
        key = settings.keys_folder / "audit.key"
        secret = key.read_bytes()
        key.write_bytes(b"none")
        ask("damaged key", 500, "PUT", f"/predictions/{query_id}/label", json={"value": "7"})
        key.write_bytes(secret)
        database = settings.home / "relevo.db"
        held = database.read_bytes()
        database.write_bytes(b"none" * 2000)
        ask("damaged database", 503, "GET", "/predictions")
        database.unlink()
        ask("missing database", 503, "GET", "/predictions")
        ask("its models", 503, "GET", "/models/digits/aliases")
        eventually(lambda: client.get("/health/ready").json()["store"]["ok"] is False)
        bodies["health"] = client.get("/health/ready")
        database.write_bytes(held)
    assert len(bodies) > 15
    places = (str(tmp_path), str(settings.home), "relevo.db-", "Errno", "Traceback")
    assert not [(name, body.text) for name, body in bodies.items() if any(place in body.text for place in places)]
