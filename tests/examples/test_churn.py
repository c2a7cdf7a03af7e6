"""The churn example: on the real customers, on the made-up ones, for clients of the old service, and from its notebook."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from examples.documented import steps
from examples.running import EXAMPLES, run_example

if TYPE_CHECKING:
    from examples.running import Outcome

pytest.importorskip("skl2onnx", reason="the example needs relevo[sklearn]")
pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the documented lines are sent by curl, which is not here")

CHURN = EXAMPLES / "churn"
#: Cell by cell in one namespace, as a kernel does; the file's name stands where a trace would show it.
_KERNEL = """
import json, pathlib, sys
sys.path.insert(0, ".")
cells = json.loads(pathlib.Path("churn.ipynb").read_text(encoding="utf-8"))["cells"]
space = {"__name__": "__main__"}
for cell in cells:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), cell["id"], "exec"), space)
"""


def _held(outcome: Outcome) -> None:
    assert outcome.problems == ()
    assert outcome.asked == len([step for step in steps(CHURN / "README.md") if step.asks])
    assert outcome.asked > 0


def test_churn_keeps_its_promises_on_real_customers(real_data: Path, tmp_path: Path) -> None:
    """Trained on the Telco customers it reaches its ROC AUC on those it never saw, and answers its curl lines as documented."""
    assert (real_data / "telco").is_dir()
    outcome = run_example("churn", tmp_path / "work")
    _held(outcome)
    assert outcome.data == "real"
    assert outcome.figures[0].reached >= outcome.figures[0].promised == 0.84
    assert outcome.training.peak_mib > 50, "a training that takes no memory was not measured"


def test_churn_runs_where_the_data_are_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the data set it says so, trains on made-up customers, and judges no figure."""
    monkeypatch.setenv("RELEVO_TEST_DATA", str(tmp_path / "nowhere"))
    told: list[str] = []
    outcome = run_example("churn", tmp_path / "work", tell=told.append)
    _held(outcome)
    assert "set RELEVO_TEST_DATA" in told[0]
    assert "not judged" in told[0]
    assert "shipped" in outcome.data


def test_a_promise_that_is_not_kept_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_data: Path) -> None:
    """Real data under which the figure cannot be reached: the outcome names figure, value and promise."""
    table = (real_data / "telco" / "Telco-Customer-Churn.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "data" / "telco").mkdir(parents=True)
    # The truth of each is that of the customer below: nothing is left to learn.
    columns = [line.rpartition(",") for line in table[:2000]]
    shifted = [one[0] + "," + other[2] for one, other in itertools.pairwise(columns[1:])]
    (tmp_path / "data" / "telco" / "Telco-Customer-Churn.csv").write_text("".join([table[0], *shifted]), encoding="utf-8")
    monkeypatch.setenv("RELEVO_TEST_DATA", str(tmp_path / "data"))
    outcome = run_example("churn", tmp_path / "work")
    assert any("ROC AUC" in problem and "0.84" in problem for problem in outcome.problems)


def test_the_notebook_runs(tmp_path: Path) -> None:
    """Every cell of churn.ipynb, in order: train, pack, serve, call with requests, label, stop."""
    pytest.importorskip("requests", reason="the notebook calls the server with it")
    folder = Path(shutil.copytree(CHURN, tmp_path / "churn"))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RELEVO_") or name == "RELEVO_TEST_DATA"}
    environ |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-c", _KERNEL], cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"churn_probability"' in done.stdout
    assert done.stdout.rstrip().endswith("0"), "the server ended as asked"


def test_the_notebook_is_shipped_without_outputs() -> None:
    """No figure of one machine and no path of anybody stands in the file."""
    cells = json.loads((CHURN / "churn.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
