"""The program as a whole: help, version, errors in one sentence, exit codes."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import relevo
from relevo import server
from relevo.cli.doctor.checks import examine
from relevo.cli.output import progress
from relevo.config import SETTINGS, Settings

Run = Callable[..., subprocess.CompletedProcess[str]]
COMMANDS = (
    "demo",
    "serve",
    "new",
    "train",
    "import",
    "verify",
    "inspect",
    "models",
    "predict",
    "history",
    "label",
    "doctor",
    "health",
    "console",
)


def test_help_is_fast_and_names_every_command(relevo_run: Run) -> None:
    """`relevo --help` lists all commands without importing their dependencies."""
    times = []
    for _ in range(3):
        start = time.monotonic()
        done = relevo_run("--help")
        times.append(time.monotonic() - start)
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout
    assert min(times) < 1.5  # half a second on an idle machine


def test_help_loads_nothing_heavy() -> None:
    """Slow libraries are imported only by the commands that need them."""
    program = (
        "import sys; import relevo.cli.app\n"
        "heavy = {'fastapi', 'sqlalchemy', 'onnxruntime', 'sklearn', 'numpy', 'httpx', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_version_is_told(relevo_run: Run) -> None:
    """`relevo --version` prints the release."""
    assert relevo_run("--version").stdout == f"relevo {relevo.__version__}\n"


def test_serve_has_a_flag_for_every_setting(relevo_run: Run) -> None:
    """Every setting has a flag of `relevo serve`, with help."""
    output = relevo_run("serve", "--help", COLUMNS="200").stdout
    for row in SETTINGS:
        assert row.flag in output


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("serve", "--prot", "1"),
        ("verify",),
        ("import", "x", "--name", "m", "--size", "big"),
        ("import", "x", "--name", "m", "--extra-field", "churn"),
    ],
)
def test_wrong_usage_ends_with_two(relevo_run: Run, arguments: tuple[str, ...], tmp_path: Path) -> None:
    """An unknown command or option is reported on standard error, exit code 2."""
    done = relevo_run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("serve", "--port", "many"), "wrong_setting"),
        (("serve", "--host", "0.0.0.0"), "config_refused"),  # noqa: S104 - it must be refused
        (("train",), "config_refused"),
        (("new", "My Project"), "config_refused"),
        (("verify", "nowhere"), "file_missing|package_refused"),
        (("import", "nowhere.onnx", "--name", "m"), "file_format_unknown|import_refused"),
        (("predict", "nowhere.png"), "no_input"),
        (("predict", "{broken"), "bad_json"),
        (("models",), "not_found"),
        (("models", "show", "nobody"), "not_found"),
        (("history", "no-id"), "not_found"),
        (("label", "no-id", "7"), "not_found"),
    ],
)
def test_a_refusal_is_one_sentence(relevo_run: Run, arguments: tuple[str, ...], code: str, tmp_path: Path) -> None:
    """An error is one line with its code, exit code 1, without a traceback."""
    done = relevo_run(*arguments, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    line = done.stderr.strip()
    assert "\n" not in line
    assert line.startswith("error: ")
    assert line.endswith(tuple(f"({one})" for one in code.split("|"))), line
    assert not (tmp_path / ".relevo").exists()


def test_a_misspelt_variable_stops_every_command(relevo_run: Run, tmp_path: Path) -> None:
    """An unknown setting is an error that suggests the nearest name."""
    done = relevo_run("history", cwd=tmp_path, RELEVO_HOEM="x")
    assert done.returncode == 1
    assert "RELEVO_HOME" in done.stderr


def test_nobody_there_is_told(relevo_run: Run, tmp_path: Path) -> None:
    """Without a server, `predict` names the URL it tried."""
    done = relevo_run("predict", '{"a": 1}', "--url", "http://127.0.0.1:9", cwd=tmp_path)
    assert done.returncode == 1
    assert "http://127.0.0.1:9" in done.stderr
    assert "(unavailable)" in done.stderr


def test_new_writes_a_project(relevo_run: Run, tmp_path: Path) -> None:
    """`relevo new` lists the files and the next step; with --json for programs."""
    done = relevo_run("new", "mine", cwd=tmp_path)
    assert done.returncode == 0
    assert "cd mine && relevo train" in done.stdout
    output = json.loads(relevo_run("new", "other", "--json", cwd=tmp_path).stdout)
    assert all((tmp_path / file).is_file() for file in output["files"])


def test_doctor_tells_every_line(relevo_run: Run, tmp_path: Path) -> None:
    """Doctor prints every check, exits with 0 here, and says how to fix its warnings."""
    done = relevo_run("doctor", "--port", "0", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    result = {one["subject"]: one for one in json.loads(done.stdout)}
    expected = {
        "python",
        "libraries",
        "sqlite",
        "home",
        "disk",
        "spool",
        "database",
        "port",
        "tls",
        "onnxruntime",
        "telemetry",
        "sklearn",
        "postgres",
    }
    assert expected == set(result)
    assert result["telemetry"]["verdict"] == "ok"
    assert all(one["suggestion"] for one in result.values() if one["verdict"] != "ok")
    assert "telemetry" in relevo_run("doctor", "--port", "0", cwd=tmp_path).stdout


def test_doctor_fails_when_something_must_be_mended(relevo_run: Run, tmp_path: Path) -> None:
    """An unusable home and an unreachable database give exit code 1."""
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    broken = relevo_run("doctor", "--home", str(tmp_path / "file" / "home"), "--port", "0", "--json", cwd=tmp_path)
    assert broken.returncode == 1
    away = relevo_run("doctor", "--port", "0", "--json", cwd=tmp_path, RELEVO_DATABASE_URL="postgresql+psycopg://u@127.0.0.1:9/d")
    assert away.returncode == 1
    assert {one["verdict"] for one in json.loads(away.stdout) if one["subject"] == "database"} == {"fail"}


def test_doctor_warns_of_a_home_that_others_may_write_in(tmp_path: Path) -> None:
    """Users with write access to the home could replace the database, whatever its permissions."""
    settings = Settings(home=tmp_path / "home")
    verdicts = []
    for mode in (0o700, 0o755, 0o770, 0o777):
        settings.home.mkdir(exist_ok=True)
        settings.home.chmod(mode)
        (result,) = (one for one in examine(settings) if one.subject == "home")
        verdicts.append((result.verdict, "chmod go-w" in result.suggestion))
    assert verdicts == [("ok", False), ("ok", False), ("warn", True), ("warn", True)]


def test_doctor_names_what_is_wrong_with_the_database(tmp_path: Path) -> None:
    """A newer schema, a file that is no database, and a missing file are distinguished; nothing is created."""
    settings = Settings(home=tmp_path)
    server.open_store(settings).engine.dispose()
    with sqlite3.connect(tmp_path / "relevo.db") as plain:
        plain.execute("UPDATE alembic_version SET version_num = '0988'")
    plain.close()
    (later,) = (one for one in examine(settings) if one.subject == "database")
    assert (later.verdict, "0988" in later.message) == ("fail", True)
    for path in tmp_path.glob("relevo.db*"):
        path.unlink()
    (missing,) = (one for one in examine(settings) if one.subject == "database")
    assert (missing.verdict, "missing" in missing.message, "database.json" in missing.suggestion) == ("fail", True, True)
    assert not (tmp_path / "relevo.db").exists()
    letter = b"a letter to my aunt " * 500
    (tmp_path / "relevo.db").write_bytes(letter)
    (damaged,) = (one for one in examine(settings) if one.subject == "database")
    assert (damaged.verdict, "damaged" in damaged.message) == ("fail", True)
    assert (tmp_path / "relevo.db").read_bytes() == letter
    (tmp_path / "relevo.db").unlink()
    (tmp_path / "relevo.db").mkdir()
    (folder,) = (one for one in examine(settings) if one.subject == "database")
    assert (folder.verdict, "relevo.db is no file" in folder.message) == ("fail", True)


def test_a_database_that_may_not_be_read_is_not_called_damaged() -> None:
    """Missing permissions are reported as such, without advice to restore a backup."""
    program = (
        "import os, sys; from pathlib import Path\n"
        "from relevo.config import Settings; from relevo.cli.doctor.checks import examine\n"
        "home = Path(sys.argv[1]); list(examine(Settings(home=home)))\n"  # what root alone may import is loaded by now
        "(home / 'relevo.db').chmod(0)\n"
        "if os.geteuid() == 0:\n"
        "    [os.chown(path, 65534, 65534) for path in (home, *home.rglob('*'))]\n"
        "    os.setegid(65534); os.seteuid(65534)\n"
        "print([one.message for one in examine(Settings(home=home)) if one.subject == 'database'])\n"
    )
    # Folders of pytest's own are closed to other users.
    with tempfile.TemporaryDirectory(prefix="relevo-home-") as home:
        server.open_store(Settings(home=Path(home))).engine.dispose()
        done = subprocess.run([sys.executable, "-c", program, home], capture_output=True, text=True, check=False)
    assert "This user may not read the database" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["the home is closed", "only what is in it is closed"])
def test_a_stranger_is_told_what_is_closed(mode: int) -> None:
    """Every command names the file that this user may not read; doctor goes on with its other checks."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    program = (
        "import os, sys; from relevo.cli.app import run\n"
        "home = sys.argv[1]\n"
        "looks = ['doctor', 'history', 'models', 'models show x', 'models history x', 'label clean x', \n"
        "    'user list', 'key list', 'audit list', 'audit verify', 'audit head', 'audit sign-ins', \n"
        "    f'inspect {home}/packages/x', f'label export {home}/o']\n"
        "def look():\n"
        "    for one in looks:\n"
        "        print('$', one, flush=True)\n"
        "        print('=', run([*one.split(), *(() if 'inspect' in one else ('--home', home))]), flush=True)\n"
        "look(); print('# stranger', flush=True)\n"  # what root alone may import is loaded by now
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); look()\n"
    )
    with tempfile.TemporaryDirectory(prefix="relevo-home-") as folder:
        home = Path(folder) / "home"
        Path(folder).chmod(0o755)
        server.open_store(Settings(home=home)).engine.dispose()
        (home / "spool").mkdir(mode=0o700, exist_ok=True)
        (home / "packages").mkdir(mode=0o700, exist_ok=True)
        home.chmod(0o700)
        if mode == 0o755:
            program = program.replace("os.setgroups", "os.chmod(home, 0o755); os.setgroups")
        done = subprocess.run(
            [sys.executable, "-c", program, str(home)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    output = done.stdout.partition("# stranger")[2]
    assert "inside Relevo" not in output, output
    assert "Traceback" not in output, output
    assert (output.count("$ "), output.count("= 1")) == (14, 14), output
    closed = home if mode == 0o700 else home / "spool"
    assert re.search(rf"FAIL  (home|spool) +the user \w+ may not use '{closed}'", output), output
    assert "onnxruntime" in output, output


def test_a_pipe_is_told_where_each_step_begins(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal, long work prints one line per step, and none for a finished one."""
    with progress() as step:
        for done in range(3):
            step(done, 3, f"training loss {done}")
        step(0, 1, "proving")
        step(5, 5, "done")
    assert capsys.readouterr().err == "training loss 0 …\nproving …\n"
