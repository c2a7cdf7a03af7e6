"""An environment of another time: the libraries that wrote a file, in a folder that is gone when the file was asked.

    --with scikit-learn==0.24.2 ─ read strictly ─┐
    --python python3.9 ─ asked its version ──────┴─► python -m venv ─ pip, wheels only ─► Environment ─► removed
                                                        │ NumPy and SciPy held to that time
                                                        └ no index · no such wheel: which Python has one? ─► LegacyEnvironmentError

A wheel is unpacked, nothing in it is run while it is installed; what it holds runs later, inside the quarantine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.converters.sklearn.versions import RELEASE, time_of
from relevo.errors import InvalidOptionsError, LegacyEnvironmentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OLDEST_PYTHON = (3, 7)
_PATIENCE = 900.0  # seconds for all wheels
_ASKING = 30.0  # seconds for a question to an interpreter
_NO_INDEX = re.compile(r"Retrying \(|Connection|connection|name resolution|timed out|ProxyError|SSLError|CERTIFICATE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One library of a certain version."""

    name: str  # as the index writes it: lower case, dashes
    version: str

    def __str__(self) -> str:
        """Write it as pip reads it."""
        return f"{self.name}=={self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A Python of another time; lives as long as the block that asked for it."""

    python: Path
    versions: dict[str, str] = field(default_factory=dict)  # what was installed

    def tells(self, release: Release) -> str:
        """The library as a person writes it: "scikit-learn 1.1.3"."""
        return f"{release.name} {self.versions.get(release.name, release.version)}"


def read_releases(given: Sequence[str]) -> tuple[Release, ...]:
    """What stands behind `--with`, strictly: a name and a version. Raises InvalidOptionsError."""
    found = []
    for text in given:
        told = RELEASE.fullmatch(text.strip())
        if told is None:
            raise InvalidOptionsError(options="--with as NAME==VERSION, for example --with scikit-learn==1.1.3")
        name = re.sub(r"[-_.]+", "-", told[1]).lower()
        found.append(Release(name="scikit-learn" if name == "sklearn" else name, version=told[2]))
    return tuple(found)


@contextmanager
def environment(releases: Sequence[Release], python: str | Path | None = None) -> Iterator[Environment]:
    """A throw-away environment that holds these releases and what they need; removed when the block ends.

    python: a path or a name to find; without it, the Python that runs this. Raises LegacyEnvironmentError.
    """
    interpreter = _interpreter(python)
    with tempfile.TemporaryDirectory(prefix="relevo-environment-", ignore_cleanup_errors=True) as outer:
        # The child gives its rights away and must still be able to read the libraries.
        Path(outer).chmod(0o711)
        inside = _created(interpreter, Path(outer) / "environment")
        _install(inside, releases, Path(outer))
        yield Environment(python=inside, versions=_versions(inside))


def _interpreter(python: str | Path | None) -> str:
    """The interpreter's path, once it has told its version. Raises LegacyEnvironmentError."""
    if python is None:
        return sys.executable
    found = shutil.which(str(python))
    if found is None:
        raise LegacyEnvironmentError(reason=f"--python '{python}' is no program that can be run")
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    told = re.fullmatch(r"(\d)\.(\d{1,2})\s*", _run([found, "-I", "-c", code], _ASKING).stdout)
    if told is None:
        raise LegacyEnvironmentError(reason=f"--python '{python}' is not a Python, or one that does not start")
    if (int(told[1]), int(told[2])) < OLDEST_PYTHON:
        raise LegacyEnvironmentError(reason=f"--python '{python}' is Python {told[0].strip()}; the sandbox needs 3.7 or later")
    return found


def _created(interpreter: str, folder: Path) -> Path:
    done = _run([interpreter, "-I", "-m", "venv", str(folder)], _PATIENCE)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if done.returncode or not python.exists():
        raise LegacyEnvironmentError(
            reason=f"{Path(interpreter).name} -m venv failed ({_last(done)}); some systems want python3-venv"
        )
    return python


def _install(python: Path, releases: Sequence[Release], folder: Path) -> None:
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(_bounds(releases)) + "\n", encoding="utf-8")
    # Releases before 0.21 did not say that they need these.
    beside = ("numpy", "scipy", "joblib") if any(release.name == "scikit-learn" for release in releases) else ()
    done = _pip(python, "install", "--quiet", "--constraint", str(constraints), *map(str, releases), *beside)
    if done.returncode:
        raise LegacyEnvironmentError(reason=_why(python, releases, done))


def _bounds(releases: Sequence[Release]) -> list[str]:
    """NumPy and SciPy of the time, unless a person named them."""
    named = {release.name for release in releases}
    times = [time_of(release.version) for release in releases if release.name == "scikit-learn"]
    bounds = [("numpy", time.numpy) for time in times if time] + [("scipy", time.scipy) for time in times if time]
    return [name + bound for name, bound in bounds if bound and name not in named]


def _why(python: Path, releases: Sequence[Release], done: subprocess.CompletedProcess[str]) -> str:
    """What pip's complaint means to a person."""
    if _NO_INDEX.search(done.stderr):
        return "the package index cannot be reached, and the wheels are not on this machine"
    lacking = re.search(r"No matching distribution found for ([A-Za-z0-9._-]+)(?:==([0-9A-Za-z.!+-]+))?", done.stderr)
    if lacking is None:
        return f"pip could not install {', '.join(map(str, releases))} ({_last(done)})"
    if "from versions: none" in done.stderr:
        return f"the package index has no {lacking[1]} at all, or cannot be reached"
    here = _run([str(python), "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], _ASKING).stdout.strip()
    what = f"{lacking[1]} {lacking[2] or ''}".strip()
    other = next((text for text in _older_pythons(here) if _has_wheels(python, releases, text)), "")
    if not other:
        return f"there is no wheel of {what} for Python {here}; look whether that version exists, and for which Python"
    return f"there is no wheel of {what} for Python {here}; Python {other} has them: " + (
        f"add --python python{other}" if _starts(f"python{other}") else "install it, and add --python with its path"
    )


def _starts(python: str) -> bool:
    try:
        return bool(_interpreter(python))
    except LegacyEnvironmentError:
        return False


def _older_pythons(here: str) -> list[str]:
    newest = int(here.partition(".")[2] or 0)
    return [f"3.{minor}" for minor in range(newest - 1, OLDEST_PYTHON[1] - 1, -1)]


def _has_wheels(python: Path, releases: Sequence[Release], version: str) -> bool:
    """Ask the index whether each has a wheel for another Python; nothing is installed."""
    asked = ("--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--python-version", version)
    with tempfile.TemporaryDirectory(prefix="relevo-nothing-") as nowhere:
        return _pip(python, "install", *asked, "--target", nowhere, *map(str, releases)).returncode == 0


def _versions(python: Path) -> dict[str, str]:
    """What is installed, asked before any stranger's file is near."""
    done = _pip(python, "list", "--format", "json")
    if done.returncode:
        raise LegacyEnvironmentError(reason=f"pip does not tell what it installed ({_last(done)})")
    return {re.sub(r"[-_.]+", "-", one["name"]).lower(): str(one["version"]) for one in json.loads(done.stdout)}


def _pip(python: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    wheels = ("--only-binary", ":all:", "--no-cache-dir") if command == "install" else ()
    quiet = ("--disable-pip-version-check", "--no-input")
    return _run([str(python), "-I", "-m", "pip", *quiet, command, *wheels, *arguments], _PATIENCE)


def _run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """A program's words. The index and its keys are the user's own, as pip knows them. Raises LegacyEnvironmentError."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        return subprocess.run(  # noqa: S603 - a Python that a person named, and arguments of ours
            command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False, env=environ
        )
    except subprocess.TimeoutExpired as cause:
        raise LegacyEnvironmentError(reason=f"'{Path(command[0]).name}' took longer than {seconds:g} seconds") from cause
    except OSError as cause:
        raise LegacyEnvironmentError(reason=f"'{Path(command[0]).name}' cannot be run ({cause.strerror})") from cause


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines or ["it said nothing"]
    return errors[-1][:200]
