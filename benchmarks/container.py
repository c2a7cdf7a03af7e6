"""Both images, built and started for real without a container engine, and asked for everything compose.yaml relies on.

    debootstrap | --base ─► buildah bud ─► API, console ─┬─► sizes
                                                         └─► boxes: files read-only, volumes, no capabilities, own process trees
    relevo import ─ relevo serve ◄─ pictures over HTTP and HTTPS, from outside · relevo health · SIGTERM ─► how long?
    SIGKILL with answers just given ─ another start ─► is every answer in the history?
    relevo user add ─ relevo serve ◄─ relevo console ◄─ a person signs in

Needs Linux, root and `buildah`, and `debootstrap` unless a base image is named; says so and ends with 2 where they are absent.
Image, user, command and health check are run as the image's own configuration names them.

Usage: container.py [--base IMAGE] [--image IMAGE --console-image IMAGE] [--build-option=OPTION …]
"""

from __future__ import annotations

import argparse
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from boxes import Image, buildah, console, free_port, mounted, run, serving
from measuring import conditions, verdict
from places import ROOT

from relevo.config import Settings
from relevo.domain import ids
from relevo.package.samples import png
from relevo.project.config import read_project
from relevo.project.data import load_examples
from relevo.project.scaffold import start_project
from relevo.project.training import split_examples, train_project
from relevo.server import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from boxes import Served

    from relevo.package.package import Package

_OWN_BASE = "localhost/relevo-base:bookworm"
_STOP_S = 10.0
#: What the images must not hold: what trains, what compiles, what installs. The console's own library stands on the second row.
_NOT_INSIDE = ("sklearn", "scipy", "skl2onnx", "onnx", "matplotlib", "tensorflow", "torch", "xgboost", "lightgbm", "pip")
_NOT_IN_THE_API = ("pandas", "streamlit", "pyarrow")
_PROGRAMS_NOT_INSIDE = ("gcc", "cc", "make", "curl", "wget")
_PASSWORD = "three birds on a wire"  # noqa: S105 - of a user who lives as long as the run
_PNG = {"content-type": "image/png"}

_HELD: list[bool] = []


def check(told: str, *, holds: bool) -> None:
    """Print one outcome and remember it."""
    _HELD.append(verdict(told, holds=holds))


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


def build(name: str, requirements: str, base: str, options: Sequence[str]) -> str:
    """Build the Dockerfile of this checkout on the base; its name."""
    begin = time.monotonic()
    told = ("--build-arg", f"BASE={base}", "--build-arg", f"REQUIREMENTS={requirements}")
    buildah("bud", "--isolation=chroot", "--format=docker", *told, *options, "-t", name, str(ROOT))
    print(f"{name} built on {base} in {time.monotonic() - begin:.0f} s")
    return name


def packed_digits(place: Path) -> tuple[Path, Package, list[bytes]]:
    """A model trained on scikit-learn's real digits, and pictures it never saw."""
    start_project(place / "digits")
    project = read_project(place / "digits")
    package = train_project(project, place / "shown" / "package", lambda *_: None)
    held = split_examples(load_examples(project), project.data.held_out)[1]
    return place / "shown", package, [png(one.x) for one in held[:100]]


def examine(api: Image, pages: Image, place: Path) -> None:
    """Everything, in the order of a first use."""
    user, _, group = api.settings["User"].partition(":")
    data = place / "data"
    for volume in (data, place / "shared"):
        volume.mkdir()
        os.chown(volume, int(user), int(group))
    place.chmod(0o755)
    shown, package, pictures = packed_digits(place)
    _look_inside(api, data)
    _look_into(pages, _NOT_INSIDE)
    code, words = run(api, data, ["relevo", "import", "/mnt/package", "--json"], shown=shown)
    check(f"a package comes in: {words.strip().splitlines()[-1] if code else 'version 1'}", holds=code == 0)
    asked = _ask_plain(api, data, package, pictures) | _ask_encrypted(api, data, pictures) | _kill(api, data, pictures)
    _look_back(data, asked)
    _sign_in(api, pages, data, pictures[0])


def _look_into(image: Image, unwanted: Sequence[str]) -> None:
    site = next(image.root.glob("opt/relevo/lib/python3*/site-packages"))
    inside = [name for name in unwanted if (site / name).exists()]
    inside += [
        name for name in _PROGRAMS_NOT_INSIDE if any((image.root / at / name).exists() for at in ("usr/bin", "usr/local/bin"))
    ]
    told = ", ".join(inside) or "nothing of the kind in it"
    check(f"{image.name} neither trains nor compiles nor installs: {told}", holds=not inside)


def _look_inside(image: Image, data: Path) -> None:
    _look_into(image, (*_NOT_INSIDE, *_NOT_IN_THE_API))
    code, words = run(image, data, ["sh", "-c", "touch /opt/relevo/x || touch /etc/x"])
    check("its own files cannot be written", holds=code != 0 and "Read-only" in words)
    command = [*image.settings["Entrypoint"], *image.settings["Cmd"]]
    code, words = run(image, data, command, RELEVO_HOST="0.0.0.0")  # noqa: S104 - as the image itself says; it must refuse
    check("without a person's --insecure it listens for nobody", holds=code == 1 and "--insecure" in words)
    code, _ = run(image, data, image.settings["Healthcheck"]["Test"][1:], RELEVO_PORT=free_port())
    check("nobody there is not healthy", holds=code == 1)


def _ask_plain(image: Image, data: Path, package: Package, pictures: list[bytes]) -> set[str]:
    with serving(image, data) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        print(f"ready after {server.started_s:.1f} s")
        answers = [http.post("/predict", content=one, headers=_PNG).json() for one in pictures]
        same = sum(told["prediction"] == package.predict(one).predicted_label for told, one in zip(answers, pictures, strict=True))
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
        _stop(server)
    return {told["query_id"] for told in answers}


def _ask_encrypted(image: Image, data: Path, pictures: list[bytes]) -> set[str]:
    with serving(image, data, RELEVO_TLS="auto") as server:
        context = ssl.create_default_context(cafile=data / "tls" / "cert.pem")
        with httpx.Client(base_url=server.url, verify=context, trust_env=False) as http:
            answers = [http.post("/predict", content=one, headers=_PNG).json() for one in pictures[:10]]
        code, words = run(image, data, image.settings["Healthcheck"]["Test"][1:], RELEVO_PORT=server.port, RELEVO_TLS="auto")
        check(f"the same encrypted, by its own certificate: {words.strip()}", holds=code == 0 and server.url.startswith("https"))
        _stop(server)
    return {told["query_id"] for told in answers}


def _stop(server: Served) -> None:
    code, took = server.stop()
    told = f"{server.stop_signal}: ended with {code} after {took:.1f} s (promised: 0, < {_STOP_S:g})"
    check(told, holds=code == 0 and took < _STOP_S)


def _kill(image: Image, data: Path, pictures: list[bytes]) -> set[str]:
    """Answers given just before the whole tree is killed."""
    with serving(image, data) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        asked = {http.post("/predict", content=one, headers=_PNG).json()["query_id"] for one in pictures[:20]}
        server.kill()
    with serving(image, data) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        _wait_for_history(http, asked)
        _stop(server)
    return asked


def _wait_for_history(http: httpx.Client, asked: set[str]) -> None:
    found: set[str] = set()
    deadline = time.monotonic() + _STOP_S
    while not asked <= found and time.monotonic() < deadline:
        found = {one["query_id"] for one in http.get("/predictions", params={"limit": len(asked)}).json()["items"]}
    check(
        f"killed with SIGKILL and started again, in the history over HTTP: {len(asked & found)} of {len(asked)}",
        holds=asked <= found,
    )


def _sign_in(api: Image, pages: Image, data: Path, picture: bytes) -> None:
    """Both services as compose.yaml starts them, the first user, and a person at the console's door."""
    code, words = run(api, data, ["relevo", "user", "add", "ana", "--role", "admin"], given=f"{_PASSWORD}\n")
    check(f"the first user: {words.strip().splitlines()[-1]}", holds=code == 0)
    with (
        serving(api, data, RELEVO_CONSOLE_KEY_FILE="/shared/console.key") as server,
        console(pages, data, server.url) as door,
        httpx.Client(base_url=door.url, trust_env=False, headers={"Origin": door.url}) as http,
    ):
        print(f"console ready after {door.started_s:.1f} s")
        refused = httpx.post(f"{server.url}/predict", content=picture, headers=_PNG, trust_env=False).status_code
        check(f"with a user the API answers nobody unknown: {refused}", holds=refused == 401)
        wrong = http.post("/sign-in", data={"name": "ana", "password": "no"})
        check(f"a wrong password opens nothing: {wrong.status_code}", holds="relevo_console" not in http.cookies)
        http.post("/sign-in", data={"name": "ana", "password": _PASSWORD})
        inside = http.get("/")
        check(
            f"the right one opens the console: {inside.status_code}", holds=inside.is_success and "relevo_console" in http.cookies
        )
        code, words = run(pages, data, ["relevo", "health", "--url", door.url])
        check(f"the console's health check: {words.strip()}", holds=code == 0)
        _stop(door)
        _stop(server)


def _look_back(data: Path, asked: set[str]) -> None:
    store = open_store(Settings(home=data))
    kept = {ids.text(one.prediction.id) for one in store.predictions.page(limit=len(asked) + 1).items}
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
    options.add_argument("--console-image", default="", help="the console's image, built already; goes with --image")
    options.add_argument("--build-option", action="append", default=[], help="passed to buildah, as --build-option=--volume=…")
    chosen = options.parse_args()
    missing = _missing(chosen)
    if missing:
        sys.stderr.write(f"The container cannot be tried here; missing: {', '.join(missing)}\n")
        return 2
    print(conditions())
    base = chosen.base or make_base()
    built = chosen.build_option
    names = (
        chosen.image or build("localhost/relevo:checked", "container", base, built),
        chosen.console_image or build("localhost/relevo-console:checked", "console", base, built),
    )
    with (
        mounted(names[0], base) as api,
        mounted(names[1], base) as pages,
        tempfile.TemporaryDirectory(prefix="relevo-container-") as place,
    ):
        for image in (api, pages):
            above = f"{image.packed_mb:.0f} MB as pulled, {image.above_mb:.0f} MB unpacked"
            print(f"{image.name} above its base: {above}; in all {image.total_mb:.0f} MB")
        examine(api, pages, Path(place))
    return 0 if all(_HELD) else 1


if __name__ == "__main__":
    sys.exit(main())
