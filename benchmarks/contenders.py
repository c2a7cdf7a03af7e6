"""How each server is started and asked.

    digits   relevo, mosec, mosec-patient, fastapi, fastapi-threads, flask, null      raw bodies and multipart forms
    churn    relevo in batches and one by one, flask one by one

Environments of the peers lie under PEERS_HOME (`peers/install.sh`). Relevo runs from this checkout, in this interpreter, with
everything on that is on by default: validation, metrics, durable recording of prediction and input.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import Bodies, Contender
from places import PEERS_HOME, ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs import ImageJob

HERE = Path(__file__).resolve().parent
WORKERS = 2
#: Nobody may use more threads than it has workers.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
RELEVO = (sys.executable, "-c", "from relevo.cli import main; main()")


def relevo_environment() -> dict[str, str]:
    """So that the checkout's source is what is run."""
    return {**_ONE_THREAD, "PYTHONPATH": str(ROOT / "src")}


def relevo(*arguments: str) -> None:
    """One command of Relevo; ends the run with its own words when it fails."""
    done = subprocess.run(
        [*RELEVO, *arguments], check=False, capture_output=True, text=True, env={**os.environ, **relevo_environment()}
    )
    if done.returncode:
        sys.exit(f"relevo {' '.join(arguments)}\n{done.stdout}{done.stderr}")


def import_image_model(job: ImageJob, home: Path) -> None:
    """Put the job's ONNX file into a workspace, as a user would."""
    file = home / f"{job.name}.onnx"
    home.mkdir(parents=True, exist_ok=True)
    file.write_bytes(job.onnx)
    width, height = job.size
    shape = ("--kind", "image", "--size", f"{width}x{height}", "--mode", job.mode, "--scale", repr(1 / 255))
    relevo("import", str(file), "--name", job.name, "--labels", ",".join(job.labels), *shape, "--home", str(home))


def relevo_server(name: str, home: Path, path: str, bodies: Bodies, *, items: int = 1) -> Contender:
    """`relevo serve` on a workspace that has its model already."""
    command = (*RELEVO, "serve", "--home", str(home), "--port", "{port}", "--workers", str(WORKERS))
    return Contender(
        name=name, command=command, path=path, bodies=bodies, environment=relevo_environment(), records=True, items=items
    )


def digits_contenders(job: ImageJob, model: Path, home: Path | None) -> dict[str, Contender]:
    """Every server that is installed, with every kind of body it takes; Relevo when `home` is its workspace."""
    raw, form = job.raw(), job.multipart()
    found: list[Contender] = []
    if home is not None:
        found += [relevo_server("relevo raw", home, "/predict", raw), relevo_server("relevo form", home, "/predict", form)]
    environment = {**_ONE_THREAD, "DIGITS_ONNX": str(model), "PYTHONPATH": str(HERE / "peers")}

    def add(name: str, command: Sequence[str], path: str, bodies: Bodies, **more: str) -> None:
        peer = name.partition(" ")[0].partition("-")[0]
        program = PEERS_HOME / peer / "bin" / "python"
        if program.exists():
            found.append(
                Contender(
                    name=name, command=(str(program), *command), path=path, bodies=bodies, environment={**environment, **more}
                )
            )
        else:
            print(f"{name}: not installed (peers/install.sh {peer})", file=sys.stderr)

    mosec = (str(HERE / "peers" / "mosec_digits.py"), "--address", "127.0.0.1", "--port", "{port}", "--log-level", "error")
    uvicorn = (
        "-m",
        "uvicorn",
        "fastapi_digits:app",
        "--port",
        "{port}",
        "--workers",
        str(WORKERS),
        "--loop",
        "uvloop",
        "--http",
        "httptools",
    )
    quiet = ("--no-access-log", "--log-level", "error")
    gunicorn = ("-m", "gunicorn", "-w", str(WORKERS), "-b", "127.0.0.1:{port}", "flask_digits:app")
    add("mosec raw", mosec, "/inference", raw)
    # Fills its batches before it runs them: the better rate when many wait, the worse latency when few do.
    add("mosec-patient raw", mosec, "/inference", raw, MOSEC_WAIT="10")
    add("fastapi raw", (*uvicorn, *quiet), "/raw", raw)
    add("fastapi form", (*uvicorn, *quiet), "/predict", form)
    add("fastapi-threads form", (*uvicorn, *quiet), "/threads", form)
    add("flask form", gunicorn, "/predict", form)
    found.append(null_server(raw))
    return {contender.name: contender for contender in found}


def null_server(bodies: Bodies) -> Contender:
    """The generator's own limit; its answers are not checked."""
    command = (sys.executable, str(HERE / "peers" / "null_server.py"), "{port}")
    return Contender(name="null", command=command, path="/", bodies=Bodies(kind=bodies.kind, bodies=bodies.bodies))


def flask_churn(pickle: Path, bodies: Bodies) -> Contender:
    """Flask, pickle and `predict_proba`, one record a request."""
    program = str(PEERS_HOME / "flask" / "bin" / "python")
    environment = {**_ONE_THREAD, "CHURN_PICKLE": str(pickle), "PYTHONPATH": str(HERE / "peers")}
    command = (program, "-m", "gunicorn", "-w", str(WORKERS), "-b", "127.0.0.1:{port}", "flask_churn:app")
    return Contender(name="flask one by one", command=command, path="/predict", bodies=bodies, environment=environment)
