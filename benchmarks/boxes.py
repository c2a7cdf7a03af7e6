"""What an image holds and runs, without a container engine: its files mounted, its processes in boxes like those of compose.yaml.

    image ─ buildah ─► mounted(): files, sizes, settings ─► boxed(): read-only files, volumes, no capabilities, own process tree
                                                              run(): to its end · serving(): until its stop signal · console()

A box is on the network of this machine, so its servers are told to listen on 127.0.0.1 alone.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_START_S = 60.0
_END_S = 120.0
_HERE = "127.0.0.1"
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
mount --bind {shared} {root}/shared
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


def buildah(*arguments: str) -> str:
    """What a command of buildah says."""
    return subprocess.run(["buildah", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


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
    """A process of the image as compose.yaml runs it, but on the network of this machine.

    data: the volume at /data; the folder `shared` beside it is the volume at /shared. shown: a folder to see at /mnt.
    """
    user, _, group = image.settings["User"].partition(":")
    mounts = f"mount --bind -o ro {shlex.quote(str(shown))} {image.root}/mnt" if shown else ""
    script = _BOX.format(
        root=image.root,
        data=shlex.quote(str(data)),
        shared=shlex.quote(str(data.parent / "shared")),
        user=user,
        group=group,
        command=shlex.join(command),
        mounts=mounts,
    )
    named = dict(one.split("=", 1) for one in image.settings["Env"])
    return subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script],
        env={**named, "RELEVO_HOST": _HERE, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(
    image: Image, data: Path, command: Sequence[str], *, shown: Path | None = None, given: str = "", **environ: str
) -> tuple[int, str]:
    """Exit code and words of such a process. given: what it reads from standard input."""
    with boxed(image, data, command, environ, shown=shown) as process:
        try:
            words, _ = process.communicate(given, timeout=_END_S)
        finally:
            process.kill()
    return process.returncode, words


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Served:
    """A server in its box; lives until its box is closed."""

    box: subprocess.Popen[str]
    first: int  # pid of its process 1, as seen from here
    url: str
    port: str
    started_s: float
    stop_signal: str

    def stop(self) -> tuple[int, float]:
        """Send the image's stop signal; exit code and seconds until it had ended."""
        begin = time.monotonic()
        os.kill(self.first, signal.Signals[self.stop_signal])
        self.box.communicate(timeout=60)
        return self.box.returncode, time.monotonic() - begin

    def kill(self) -> None:
        """End process 1 and with it the whole tree, as a power cut would."""
        os.kill(self.first, signal.SIGKILL)
        self.box.wait(timeout=60)


@contextmanager
def serving(image: Image, data: Path, **environ: str) -> Iterator[Served]:
    """A server that is ready, started by the image's own command."""
    port = free_port()
    command = [*image.settings["Entrypoint"], *image.settings["Cmd"], "--insecure"]
    with _started(image, data, command, {"RELEVO_PORT": port, **environ}, port, said="answers at ") as server:
        yield server


@contextmanager
def console(image: Image, data: Path, asks: str) -> Iterator[Served]:
    """A console that is ready, started as compose.yaml does. asks: the API's address."""
    port = free_port()
    command = [*image.settings["Entrypoint"], "console", "--host", _HERE, "--port", port, "--insecure"]
    environ = {"RELEVO_URL": asks, "RELEVO_CONSOLE_KEY_FILE": "/shared/console.key"}
    with _started(image, data, command, environ, port, said="The console is at ") as server:
        yield server


@contextmanager
def _started(
    image: Image, data: Path, command: Sequence[str], environ: Mapping[str, str], port: str, *, said: str
) -> Iterator[Served]:
    """A process that has told its address; whatever is left of it at the end is killed. said: what stands before the address."""
    begin = time.monotonic()
    process = boxed(image, data, command, environ)
    try:
        line = _line_with(said, process, begin)
        yield Served(
            box=process,
            first=int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]),
            url=f"{line.split(said)[1].split(':')[0]}://{_HERE}:{port}",
            port=port,
            started_s=time.monotonic() - begin,
            stop_signal=image.settings["StopSignal"],
        )
    finally:
        process.kill()
        process.wait()


def _line_with(said: str, process: subprocess.Popen[str], begin: float) -> str:
    assert process.stdout is not None
    heard = []
    while said not in (line := process.stdout.readline()):
        heard.append(line)
        assert line, "".join(heard)
        assert time.monotonic() - begin < _START_S, "".join(heard)
    return line


def free_port() -> str:
    """A port nobody listens on now."""
    with socket.create_server((_HERE, 0)) as one:
        return str(one.getsockname()[1])
