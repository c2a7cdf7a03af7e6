"""The image, built and started for real without a container engine, and asked for everything compose.yaml relies on.

    debootstrap | --base ─► buildah bud ─► image ─┬─► sizes
                                                  └─► boxed(): files read-only, one folder, no capabilities, its own process tree
                                                        relevo import ─ relevo serve ◄─ pictures over HTTP and HTTPS, from outside
                                                        relevo health · SIGTERM ─► how long, and is every answer in the history?

Needs Linux, root and `buildah`, and `debootstrap` unless a base image is named; says so and ends with 2 where they are absent.
Image, user, command and health check are run as the image's own configuration names them.

Usage: container.py [--base IMAGE] [--image IMAGE] [--build-option=OPTION …]
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from measuring import conditions, verdict
from places import ROOT

from relevo.compose import open_store
from relevo.config import Settings
from relevo.domain import ids
from relevo.package.samples import png
from relevo.project.data import load_examples
from relevo.project.reading import read_project
from relevo.project.starting import start_project
from relevo.project.training import split_examples, train_project

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from relevo.package.opening import Package

_OWN_BASE = "localhost/relevo-base:bookworm"
_STOP_S = 10.0
_START_S = 60.0
#: What the image must not hold: what trains, what compiles, what installs.
_NOT_INSIDE = ("sklearn", "scipy", "skl2onnx", "onnx", "pandas", "matplotlib", "tensorflow", "torch", "xgboost", "lightgbm", "pip")
_PROGRAMS_NOT_INSIDE = ("gcc", "cc", "make", "curl", "wget")
#: Becomes the image's user without privileges inside its read-only files; what follows is process 1 of its own tree.
_BOX = """
set -e
mount --bind {root} {root}
mount --bind {data} {root}/data
mount -o remount,bind,ro {root}
mount -t tmpfs tmpfs {root}/tmp
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mount --bind /etc/resolv.conf {root}/etc/resolv.conf 2>/dev/null || true
{mounts}
exec chroot {root} setpriv --reuid={user} --regid={group} --clear-groups --bounding-set=-all --no-new-privs {command}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What was built; lives as long as the run."""

    name: str
    root: Path  # its files, mounted
    settings: dict[str, Any]  # Env, User, Entrypoint, Cmd, Healthcheck, StopSignal as it names them
    packed_mb: float  # MB above its base, as pulled
    above_mb: float  # MB above its base, unpacked
    total_mb: float  # MB, unpacked


_HELD: list[bool] = []


def check(told: str, *, holds: bool) -> None:
    """Print one outcome and remember it."""
    _HELD.append(verdict(told, holds=holds))


def buildah(*arguments: str) -> str:
    """What a command of buildah says."""
    return subprocess.run(["buildah", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def make_base() -> str:
    """A base of Debian's own packages, made once: Python with venv and pip, and nothing else."""
    if buildah("images", "--quiet", "--filter", f"reference={_OWN_BASE}"):
        return _OWN_BASE
    with tempfile.TemporaryDirectory(prefix="relevo-base-") as place:
        packages = "python3,python3-venv,python3-pip,ca-certificates"
        subprocess.run(["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", f"{place}/root"], check=True)
        for made in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(Path(place) / "root" / made)
        container = buildah("from", "scratch")
        buildah("copy", "--quiet", container, f"{place}/root", "/")
        buildah("commit", "--quiet", "--rm", container, _OWN_BASE)
    return _OWN_BASE


def build(base: str, options: Sequence[str]) -> str:
    """Build the Dockerfile of this checkout on the base; its name."""
    name = "localhost/relevo:checked"
    begin = time.monotonic()
    buildah("bud", "--isolation=chroot", "--format=docker", "--build-arg", f"BASE={base}", *options, "-t", name, str(ROOT))
    print(f"built on {base} in {time.monotonic() - begin:.0f} s")
    return name


@contextmanager
def mounted(name: str, base: str) -> Iterator[Image]:
    """The image with its files in reach."""
    container = buildah("from", "--pull-never", name)
    try:
        root = Path(buildah("mount", container))
        settings = json.loads(buildah("inspect", "--type", "image", name))["Docker"]["config"]
        packed, above, total = _sizes(name, base)
        yield Image(name=name, root=root, settings=settings, packed_mb=packed, above_mb=above, total_mb=total)
    finally:
        buildah("rm", container)


def _sizes(name: str, base: str) -> tuple[float, float, float]:
    """MB above the base packed, above it unpacked, and in all."""
    layers = [_layers(base), _layers(name)]
    above = layers[1][len(layers[0]) :]
    total = json.loads(buildah("images", "--json", name))[0]
    below = json.loads(buildah("images", "--json", base))[0]
    unpacked = [_bytes(str(one["size"])) / 1e6 for one in (below, total)]
    return sum(above) / 1e6, unpacked[1] - unpacked[0], unpacked[1]


def _layers(name: str) -> list[int]:
    """Bytes of each layer as it is pulled, the lowest first."""
    with tempfile.TemporaryDirectory(prefix="relevo-layers-") as place:
        buildah("push", "--quiet", name, f"oci:{place}")
        blobs = Path(place) / "blobs"
        index = json.loads((Path(place) / "index.json").read_text())
        manifest = json.loads((blobs / index["manifests"][0]["digest"].replace(":", "/")).read_text())
        return [int(layer["size"]) for layer in manifest["layers"]]


def _bytes(told: str) -> float:
    number, unit = told.split()
    return float(number) * {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}[unit]


def boxed(
    image: Image, data: Path, command: Sequence[str], environ: Mapping[str, str], *, shown: Path | None = None
) -> subprocess.Popen[str]:
    """A process of the image as compose.yaml runs it, but on the network of this machine. shown: a folder to see at /mnt."""
    user, _, group = image.settings["User"].partition(":")
    mounts = f"mount --bind -o ro {shlex.quote(str(shown))} {image.root}/mnt" if shown else ""
    script = _BOX.format(
        root=image.root, data=shlex.quote(str(data)), user=user, group=group, command=shlex.join(command), mounts=mounts
    )
    named = dict(one.split("=", 1) for one in image.settings["Env"])
    return subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script],
        env={**named, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(image: Image, data: Path, command: Sequence[str], *, shown: Path | None = None, **environ: str) -> tuple[int, str]:
    """Exit code and words of such a process."""
    process = boxed(image, data, command, environ, shown=shown)
    words, _ = process.communicate(timeout=120)
    return process.returncode, words


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server in its box; lives until SIGTERM."""

    first: int  # pid of its process 1, as seen from here
    url: str
    port: str
    started_s: float


@contextmanager
def serving(image: Image, data: Path, **environ: str) -> Iterator[Served]:
    """A server that is ready, started by the image's own command; ended by its stop signal."""
    port = _free_port()
    begin = time.monotonic()
    command = [*image.settings["Entrypoint"], *image.settings["Cmd"], "--insecure"]
    process = boxed(image, data, command, {"RELEVO_PORT": port, **environ})
    assert process.stdout is not None
    heard = []
    while "answers at" not in (line := process.stdout.readline()):
        heard.append(line)
        assert line, "".join(heard)
        assert time.monotonic() - begin < _START_S, "".join(heard)
    first = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    scheme = line.split("answers at ")[1].split(":")[0]
    try:
        yield Served(first=first, url=f"{scheme}://127.0.0.1:{port}", port=port, started_s=time.monotonic() - begin)
        begin = time.monotonic()
        os.kill(first, signal.Signals[image.settings["StopSignal"]])
        process.communicate(timeout=60)
        took = time.monotonic() - begin
        told = f"{image.settings['StopSignal']}: ended with {process.returncode} after {took:.1f} s (promised: 0, < {_STOP_S:g})"
        check(told, holds=process.returncode == 0 and took < _STOP_S)
    finally:
        process.kill()
        process.wait()


def _free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return str(one.getsockname()[1])


def packed_digits(place: Path) -> tuple[Path, Package, list[bytes]]:
    """A model trained on scikit-learn's real digits, and pictures it never saw."""
    start_project(place / "digits")
    project = read_project(place / "digits")
    package = train_project(project, place / "shown" / "package", lambda *_: None)
    held = split_examples(load_examples(project), project.data.held_out)[1]
    return place / "shown", package, [png(one.x) for one in held[:100]]


def examine(image: Image, place: Path) -> None:
    """Everything, in the order of a first use."""
    user, _, group = image.settings["User"].partition(":")
    data = place / "data"
    data.mkdir()
    os.chown(data, int(user), int(group))
    place.chmod(0o755)
    shown, package, pictures = packed_digits(place)
    _look_inside(image, data)
    code, words = run(image, data, ["relevo", "import", "/mnt/package", "--json"], shown=shown)
    check(f"a package comes in: {words.strip().splitlines()[-1] if code else 'version 1'}", holds=code == 0)
    asked = _ask_plain(image, data, package, pictures) | _ask_encrypted(image, data, pictures)
    _look_back(data, asked)


def _look_inside(image: Image, data: Path) -> None:
    site = next(image.root.glob("opt/relevo/lib/python3*/site-packages"))
    inside = [name for name in _NOT_INSIDE if (site / name).exists()]
    inside += [
        name for name in _PROGRAMS_NOT_INSIDE if any((image.root / at / name).exists() for at in ("usr/bin", "usr/local/bin"))
    ]
    check(f"neither trains nor compiles nor installs: {', '.join(inside) or 'nothing of the kind in it'}", holds=not inside)
    code, words = run(image, data, ["sh", "-c", "touch /opt/relevo/x || touch /etc/x"])
    check("its own files cannot be written", holds=code != 0 and "Read-only" in words)
    code, words = run(image, data, [*image.settings["Entrypoint"], *image.settings["Cmd"]])
    check("without a person's --insecure it listens for nobody", holds=code == 1 and "--insecure" in words)
    code, _ = run(image, data, image.settings["Healthcheck"]["Test"][1:], RELEVO_PORT=_free_port())
    check("nobody there is not healthy", holds=code == 1)


def _ask_plain(image: Image, data: Path, package: Package, pictures: list[bytes]) -> set[str]:
    with serving(image, data) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        print(f"ready after {server.started_s:.1f} s")
        answers = [http.post("/predict", content=one, headers={"content-type": "image/png"}).json() for one in pictures]
        same = sum(told["prediction"] == package.predict(one).label for told, one in zip(answers, pictures, strict=True))
        check(f"answers from outside as the package answers here: {same} of {len(pictures)}", holds=same == len(pictures))
        facts = Path(f"/proc/{server.first}/status").read_text()
        status = dict(line.split(":\t", 1) for line in facts.splitlines() if ":\t" in line)
        check(
            f"process 1 in its tree, user {status['Uid'].split()[0]}, capabilities {int(status['CapEff'], 16)}",
            holds=status["Uid"].split() == [image.settings["User"].split(":")[0]] * 4
            and int(status["CapEff"], 16) == 0
            and status["NSpid"].split()[-1] == "1",
        )
        code, words = run(image, data, image.settings["Healthcheck"]["Test"][1:], RELEVO_PORT=server.port)
        check(f"its health check: {words.strip()}", holds=code == 0)
    return {told["query_id"] for told in answers}


def _ask_encrypted(image: Image, data: Path, pictures: list[bytes]) -> set[str]:
    with serving(image, data, RELEVO_TLS="auto") as server:
        context = ssl.create_default_context(cafile=data / "tls" / "cert.pem")
        with httpx.Client(base_url=server.url, verify=context, trust_env=False) as http:
            answers = [http.post("/predict", content=one, headers={"content-type": "image/png"}).json() for one in pictures[:10]]
        code, words = run(image, data, image.settings["Healthcheck"]["Test"][1:], RELEVO_PORT=server.port, RELEVO_TLS="auto")
        check(f"the same encrypted, by its own certificate: {words.strip()}", holds=code == 0 and server.url.startswith("https"))
    return {told["query_id"] for told in answers}


def _look_back(data: Path, asked: set[str]) -> None:
    store = open_store(Settings(home=data))
    kept = {ids.text(one.prediction.id) for one in store.history.window(limit=len(asked) + 1).items}
    store.engine.dispose()
    left = list((data / "spool").rglob("*.journal"))
    check(
        f"in the history after the end: {len(asked & kept)} of {len(asked)}, journals left: {len(left)}",
        holds=asked <= kept and not left,
    )


def _missing(chosen: argparse.Namespace) -> list[str]:
    programs = ["buildah", "unshare", *([] if chosen.base or chosen.image else ["debootstrap"])]
    found = [name for name in programs if shutil.which(name) is None]
    return [*found, *([] if os.geteuid() == 0 else ["root"])]


def main() -> int:
    """Print the sizes and every check; 1 when one failed, 2 when it cannot be tried here."""
    options = argparse.ArgumentParser(description="The container.")
    options.add_argument("--base", default="", help="base image; made from Debian's packages when left out")
    options.add_argument("--image", default="", help="an image that is built already")
    options.add_argument("--build-option", action="append", default=[], help="passed to buildah, as --build-option=--volume=…")
    chosen = options.parse_args()
    missing = _missing(chosen)
    if missing:
        sys.stderr.write(f"The container cannot be tried here; missing: {', '.join(missing)}\n")
        return 2
    print(conditions())
    base = chosen.base or make_base()
    name = chosen.image or build(base, chosen.build_option)
    with mounted(name, base) as image, tempfile.TemporaryDirectory(prefix="relevo-container-") as place:
        print(
            f"above its base: {image.packed_mb:.0f} MB as pulled, {image.above_mb:.0f} MB unpacked; in all {image.total_mb:.0f} MB"
        )
        examine(image, Path(place))
    return 0 if all(_HELD) else 1


if __name__ == "__main__":
    sys.exit(main())
