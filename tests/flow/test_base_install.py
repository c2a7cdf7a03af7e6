"""The wheel, and what it needs to serve: built, laid out beside nothing but the pinned base requirements, and run.

wheel ─┐
       ├─► an environment of its own ─► relevo import, serve, predict, history
base.txt ─ links to what is installed here ─┘
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.support.server import running

if TYPE_CHECKING:
    from relevo.package.package import Package

ROOT = Path(__file__).parents[2]
_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==[^ \\]+( ;)?", re.MULTILINE)
_TRAINING = ("sklearn", "scipy", "skl2onnx", "onnx", "pandas", "matplotlib", "tensorflow", "torch", "xgboost", "lightgbm", "joblib")
#: A compiled part of a library, as the memory map of a process names it.
_MAPPED = re.compile(r"/site-packages/([A-Za-z0-9_]+)/")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment that has the wheel and the base requirements, and nothing that trains."""
    folder = tmp_path_factory.mktemp("base")
    venv.create(folder, with_pip=False)
    site = next(folder.glob("lib/python*/site-packages"))
    for name, has_marker in _PIN.findall((ROOT / "requirements" / "base.txt").read_text(encoding="utf-8")):
        try:
            _link(name, site)
        except PackageNotFoundError:
            assert has_marker, f"{name} is pinned but not installed"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    return folder / "bin" / "python"


def _link(name: str, site: Path) -> None:
    found = distribution(name)
    tops = {file.parts[0] for file in found.files or () if file.parts[0] != ".." and file.parts[0] != "__pycache__"}
    for top in tops:
        if not (site / top).exists():
            (site / top).symlink_to(Path(str(found.locate_file(top))))


def _run(program: Path, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("RELEVO_", "PYTHON"))}
    return subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def test_the_wheel_has_every_file(wheel: Path) -> None:
    """Migrations, templates, catalogues, scripts, styles and the project's template ship; nothing else does."""
    source = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "relevo").rglob("*") if path.is_file()}
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert shipped == {name for name in source if "__pycache__" not in name}
    assert {"relevo/py.typed", "relevo/store/db/migrations/env.py", "relevo/i18n/es/errors.json"} <= shipped


def test_the_base_install_cannot_train(program: Path, tmp_path: Path) -> None:
    """No library that trains can be imported, and a command that needs one names the extra."""
    look = f"import importlib.util as u; print([n for n in {_TRAINING!r} if u.find_spec(n)])"
    assert _run(program, "-c", look, cwd=tmp_path).stdout.strip() == "[]"
    demo = _run(program, "-m", "relevo", "demo", "--headless", cwd=tmp_path)
    assert demo.returncode == 1
    assert "relevo[demo]" in demo.stderr
    assert _run(program, "-m", "relevo", "new", "mine", cwd=tmp_path).returncode == 0
    train = _run(program, "-m", "relevo", "train", "--project", "mine", cwd=tmp_path)
    assert "relevo[sklearn]" in train.stderr


def test_the_base_install_serves(program: Path, tmp_path: Path, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """A package made elsewhere is registered, served and asked with the base install alone, and the history has the answer."""
    digits_package.write(tmp_path / "package")
    told = _run(program, "-m", "relevo", "import", "package", "--json", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["version"]["number"] == 1
    server = subprocess.Popen(
        [program, "-W", "error", "-m", "relevo", "serve", "--port", "0", "--workers", "1", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        lines = [server.stdout.readline()]
        while lines[-1] and lines[-1] != "}\n":
            lines.append(server.stdout.readline())
        url = json.loads("".join(lines))["url"]
        (tmp_path / "digit.png").write_bytes(digit_pngs[0])
        asked = _run(program, "-m", "relevo", "predict", "digit.png", "--url", url, "--json", cwd=tmp_path)
        answer = json.loads(asked.stdout)[0]
        assert answer["prediction"] == digits_package.predict(digit_pngs[0]).predicted_label
        assert "</html>" in httpx.get(url, headers={"Accept": "text/html"}).text
    finally:
        server.send_signal(signal.SIGINT)
        _, complaints = server.communicate(timeout=30)
    assert (server.returncode, complaints) == (0, "")
    history = json.loads(_run(program, "-m", "relevo", "history", "--json", cwd=tmp_path).stdout)
    assert [one["query_id"] for one in history["items"]] == [answer["query_id"]]


def test_no_process_of_the_server_loads_what_trains(tmp_path: Path, churn_package: Package) -> None:
    """Also where every training library is installed, no process of a server that has answered maps one into its memory."""
    with running(tmp_path, churn_package) as server:
        httpx.post(f"{server.url}/predict", json=churn_package.golden.payloads[0]).raise_for_status()
        processes = _tree(server.pid)
        loaded = {name for pid in processes for name in _MAPPED.findall(Path(f"/proc/{pid}/maps").read_text(encoding="utf-8"))}
    assert len(processes) == 3, "supervisor, worker, loop"
    assert {"numpy", "onnxruntime"} <= loaded
    assert not loaded & set(_TRAINING)


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    return [pid, *(one for child in children for one in _tree(int(child)))]
