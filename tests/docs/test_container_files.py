"""Dockerfile, .dockerignore and compose.yaml are consistent with the documentation. `make container` builds and tests the image."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from relevo.cli.app import app
from relevo.config import load_settings

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LAST_STAGE = DOCKERFILE.rsplit("\nFROM ", 1)[1]


def composed() -> dict[str, Any]:
    """What compose.yaml says."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return found


def test_every_wheel_is_held_to_its_hash() -> None:
    """Each installation is by hash and from wheels, or takes nothing from outside; both kinds of requirements exist."""
    commands = re.sub(r" \\\n\s*", " ", DOCKERFILE)
    installs = re.findall(r"install [^&\n]*", "\n".join(line for line in commands.splitlines() if not line.startswith("#")))
    assert len(installs) == 3
    for one in installs:
        assert "--no-index" in one or "--require-hashes --only-binary :all:" in one
    for name in ("container", "console", "base", "build"):
        assert (ROOT / "requirements" / f"{name}.txt").is_file()


def test_the_image_runs_as_nobody_in_particular_and_installs_nothing() -> None:
    """The last stage sets a numeric user, copies one folder, and calls no installer; its variables are settings that exist."""
    assert re.search(r"^USER \d{4,}:\d{4,}$", LAST_STAGE, re.MULTILINE)
    assert re.findall(r"^COPY .*", LAST_STAGE, re.MULTILINE) == ["COPY --from=build /opt/relevo /opt/relevo"]
    assert "pip" not in LAST_STAGE
    assert "apt" not in LAST_STAGE
    told = dict(re.findall(r"(RELEVO_\w+)=(\S+)", LAST_STAGE))
    assert str(load_settings({}, told).home) == "/data"
    assert "ORT_DISABLE_TELEMETRY=1" in LAST_STAGE


def test_what_the_image_calls_are_commands() -> None:
    """Entry point, command and health check name commands of the program."""
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # the program is a group
    assert 'ENTRYPOINT ["relevo"]' in LAST_STAGE
    for command in re.findall(r'^(?:CMD|HEALTHCHECK .*CMD) \[(?:"relevo", )?"(\w+)"\]$', LAST_STAGE, re.MULTILINE):
        commands.remove(command)
    assert {"serve", "health"}.isdisjoint(commands)


def test_compose_publishes_to_this_machine_only() -> None:
    """Ports are published on the loopback address only; the API at 5000, the console at 8501."""
    ports = [port for service in composed()["services"].values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:5000:5000", "127.0.0.1:8501:8501"]


def test_compose_gives_the_server_nothing_it_does_not_need() -> None:
    """Read-only files, no capabilities, no new privileges; more time to stop than the server takes; variables that are settings."""
    api = composed()["services"]["api"]
    assert api["read_only"]
    assert api["cap_drop"] == ["ALL"]
    assert api["security_opt"] == ["no-new-privileges:true"]
    assert api["healthcheck"]["test"] == ["CMD", "relevo", "health"]
    given = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for name, value in api["environment"].items()}
    settings = load_settings({}, given)
    assert int(api["stop_grace_period"].removesuffix("s")) > settings.shutdown_timeout_s
    assert composed()["services"]["postgres"]["profiles"] == ["postgres"]


def test_compose_gives_the_console_less_still() -> None:
    """It is a container of its own that writes nowhere; what it is started with is a command, and it is asked whether it lives."""
    api, ui = (composed()["services"][name] for name in ("api", "ui"))
    # All it reads of the server's is the key by which that believes it, which lies in no home and which the image's user may write.
    assert ui["volumes"] == ["shared:/shared:ro"]
    assert "shared:/shared" in api["volumes"]
    assert api["environment"]["RELEVO_CONSOLE_KEY_FILE"] == ui["environment"]["RELEVO_CONSOLE_KEY_FILE"] == "/shared/console.key"
    assert "chown relevo:relevo /data /shared" in LAST_STAGE
    assert (ui["read_only"], ui["cap_drop"], ui["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert ui["build"]["args"]["REQUIREMENTS"] == "console"
    program: Any = typer.main.get_command(app)
    flags = {flag for one in program.commands[ui["command"][0]].params for flag in one.opts}
    assert {one for one in ui["command"] if one.startswith("--")} <= flags
    assert ui["healthcheck"]["test"][:3] == ["CMD", "relevo", "health"]
