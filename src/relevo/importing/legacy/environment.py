"""Temporary environment with the library releases that wrote a file; removed after use.

    --with scikit-learn==0.24.2 ─ parsed strictly ─┐
    --python python3.9 ─ version checked ──────────┴─► python -m venv ─ pip, wheels only ─► Environment ─► removed
                                                         │ NumPy and SciPy constrained to the same period
                                                         └ no index · no wheel: which Python has one? ─► LegacyEnvironmentError

Installing a wheel only unpacks it and runs none of its code; the installed code runs later, inside the sandbox.
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
_INSTALL_TIMEOUT_S = 900.0  # for all wheels
_QUERY_TIMEOUT_S = 30.0  # for one query to an interpreter
_INDEX_UNREACHABLE = re.compile(r"Retrying \(|Connection|connection|name resolution|timed out|ProxyError|SSLError|CERTIFICATE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One library of a certain version."""

    name: str  # normalized: lower case, dashes
    version: str

    def __str__(self) -> str:
        """Return it as a pip requirement."""
        return f"{self.name}=={self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A virtual environment with the requested releases. Lifetime: the `legacy_environment` block."""

    python: Path
    versions: dict[str, str] = field(default_factory=dict)  # what was installed

    def describe(self, release: Release) -> str:
        """Name the library with its version: "scikit-learn 1.1.3"."""
        return f"{release.name} {self.versions.get(release.name, release.version)}"


def read_releases(requirements: Sequence[str]) -> tuple[Release, ...]:
    """Parse the values of `--with` strictly: a name and a version. Raises InvalidOptionsError."""
    releases = []
    for text in requirements:
        match = RELEASE.fullmatch(text.strip())
        if match is None:
            raise InvalidOptionsError(options="--with as NAME==VERSION, for example --with scikit-learn==1.1.3")
        name = re.sub(r"[-_.]+", "-", match[1]).lower()
        releases.append(Release(name="scikit-learn" if name == "sklearn" else name, version=match[2]))
    return tuple(releases)


@contextmanager
def legacy_environment(releases: Sequence[Release], python: str | Path | None = None) -> Iterator[Environment]:
    """Create a temporary environment with these releases and their dependencies; removed when the block ends.

    python: a path, or a name to look up; without it, the running Python. Raises LegacyEnvironmentError.
    """
    interpreter = _interpreter(python)
    with tempfile.TemporaryDirectory(prefix="relevo-environment-", ignore_cleanup_errors=True) as outer:
        # The worker drops its privileges and must still be able to read the libraries.
        Path(outer).chmod(0o711)
        venv_python = _create_venv(interpreter, Path(outer) / "environment")
        _install(venv_python, releases, Path(outer))
        yield Environment(python=venv_python, versions=_installed_versions(venv_python))


def _interpreter(python: str | Path | None) -> str:
    """Return the interpreter's path after its version was checked. Raises LegacyEnvironmentError."""
    if python is None:
        return sys.executable
    executable = shutil.which(str(python))
    if executable is None:
        raise LegacyEnvironmentError(reason=f"--python '{python}' is no program that can be run")
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = re.fullmatch(r"(\d)\.(\d{1,2})\s*", _run([executable, "-I", "-c", code], _QUERY_TIMEOUT_S).stdout)
    if version is None:
        raise LegacyEnvironmentError(reason=f"--python '{python}' is not a Python, or one that does not start")
    if (int(version[1]), int(version[2])) < OLDEST_PYTHON:
        raise LegacyEnvironmentError(reason=f"--python '{python}' is Python {version[0].strip()}; the sandbox needs 3.7 or later")
    return executable


def _create_venv(interpreter: str, folder: Path) -> Path:
    result = _run([interpreter, "-I", "-m", "venv", str(folder)], _INSTALL_TIMEOUT_S)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if result.returncode or not python.exists():
        raise LegacyEnvironmentError(
            reason=f"{Path(interpreter).name} -m venv failed ({_last_error(result)}); some systems want python3-venv"
        )
    return python


def _install(python: Path, releases: Sequence[Release], folder: Path) -> None:
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(_constraints(releases)) + "\n", encoding="utf-8")
    # Releases before 0.21 did not declare these dependencies.
    undeclared = ("numpy", "scipy", "joblib") if any(release.name == "scikit-learn" for release in releases) else ()
    result = _pip(python, "install", "--quiet", "--constraint", str(constraints), *map(str, releases), *undeclared)
    if result.returncode:
        raise LegacyEnvironmentError(reason=_explain_failure(python, releases, result))


def _constraints(releases: Sequence[Release]) -> list[str]:
    """NumPy and SciPy constraints of the same period, unless the user named these libraries."""
    named = {release.name for release in releases}
    rows = [time_of(release.version) for release in releases if release.name == "scikit-learn"]
    bounds = [("numpy", row.numpy) for row in rows if row] + [("scipy", row.scipy) for row in rows if row]
    return [name + bound for name, bound in bounds if bound and name not in named]


def _explain_failure(python: Path, releases: Sequence[Release], result: subprocess.CompletedProcess[str]) -> str:
    """Explain pip's error to the user."""
    if _INDEX_UNREACHABLE.search(result.stderr):
        return "the package index cannot be reached, and the wheels are not on this machine"
    missing = re.search(r"No matching distribution found for ([A-Za-z0-9._-]+)(?:==([0-9A-Za-z.!+-]+))?", result.stderr)
    if missing is None:
        return f"pip could not install {', '.join(map(str, releases))} ({_last_error(result)})"
    if "from versions: none" in result.stderr:
        return f"the package index has no {missing[1]} at all, or cannot be reached"
    current = _run([str(python), "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], _QUERY_TIMEOUT_S).stdout.strip()
    release = f"{missing[1]} {missing[2] or ''}".strip()
    other = next((text for text in _older_pythons(current) if _has_wheels(python, releases, text)), "")
    if not other:
        return f"there is no wheel of {release} for Python {current}; look whether that version exists, and for which Python"
    return f"there is no wheel of {release} for Python {current}; Python {other} has them: " + (
        f"add --python python{other}" if _can_start(f"python{other}") else "install it, and add --python with its path"
    )


def _can_start(python: str) -> bool:
    try:
        return bool(_interpreter(python))
    except LegacyEnvironmentError:
        return False


def _older_pythons(current: str) -> list[str]:
    newest = int(current.partition(".")[2] or 0)
    return [f"3.{minor}" for minor in range(newest - 1, OLDEST_PYTHON[1] - 1, -1)]


def _has_wheels(python: Path, releases: Sequence[Release], version: str) -> bool:
    """Ask the index whether each release has a wheel for another Python; installs nothing."""
    options = ("--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--python-version", version)
    with tempfile.TemporaryDirectory(prefix="relevo-nothing-") as target:
        return _pip(python, "install", *options, "--target", target, *map(str, releases)).returncode == 0


def _installed_versions(python: Path) -> dict[str, str]:
    """Return the installed versions, read before any untrusted file is involved."""
    result = _pip(python, "list", "--format", "json")
    if result.returncode:
        raise LegacyEnvironmentError(reason=f"pip does not tell what it installed ({_last_error(result)})")
    return {re.sub(r"[-_.]+", "-", package["name"]).lower(): str(package["version"]) for package in json.loads(result.stdout)}


def _pip(python: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    wheels = ("--only-binary", ":all:", "--no-cache-dir") if command == "install" else ()
    quiet = ("--disable-pip-version-check", "--no-input")
    return _run([str(python), "-I", "-m", "pip", *quiet, command, *wheels, *arguments], _INSTALL_TIMEOUT_S)


def _run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a program and capture its output. pip uses the user's own index configuration. Raises LegacyEnvironmentError."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        return subprocess.run(  # noqa: S603 - the user's Python, and Relevo's arguments
            command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False, env=environ
        )
    except subprocess.TimeoutExpired as cause:
        raise LegacyEnvironmentError(reason=f"'{Path(command[0]).name}' took longer than {seconds:g} seconds") from cause
    except OSError as cause:
        raise LegacyEnvironmentError(reason=f"'{Path(command[0]).name}' cannot be run ({cause.strerror})") from cause


def _last_error(result: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (result.stderr or result.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines or ["it said nothing"]
    return errors[-1][:200]
