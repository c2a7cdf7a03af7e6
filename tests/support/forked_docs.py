"""The program, loaded once and forked for every command: what a shell would start, without half a second of imports each time.

    run(words, cwd, environ, stdin, stdout) ─ a line of JSON ─► loaded program ─ fork ─► relevo.cli.main(words) ─► its exit code

The program stays single-threaded, so a fork of it is sound.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

#: What commands load when they run; none of it starts a thread.
_LOADED = (
    "relevo.cli.app, relevo.client, relevo.server, relevo.server.stores, relevo.store.predictions, relevo.store.auth.users, "
    "sqlalchemy"
)
_PROGRAM = f"""
import json, os, sys
import {_LOADED}
from relevo.cli import main

for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["environ"])
        for number, name, flags in ((0, asked["stdin"], os.O_RDONLY), (1, asked["stdout"], 577), (2, asked["stderr"], 577)):
            os.dup2(os.open(name, flags, 0o600), number)
        sys.stdin, sys.stdout, sys.stderr = open(0, closefd=False), open(1, "w", closefd=False), open(2, "w", closefd=False)
        sys.argv = ["relevo", *asked["words"]]
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forking:
    """The loaded program; lives as long as a `with` block."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._process = subprocess.Popen([sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the program."""
        self._process.communicate(timeout=30)

    def run(
        self, words: list[str], *, cwd: Path, environ: dict[str, str], stdin: Path | None, stdout: Path | None
    ) -> tuple[int, str]:
        """The exit code of one command, and what it wrote."""
        said, complained = stdout or self._scratch / "said", self._scratch / "complained"
        names = {"stdin": str(stdin or os.devnull), "stdout": str(said), "stderr": str(complained)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"words": words, "cwd": str(cwd), "environ": environ, **names}) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return code, said.read_text(encoding="utf-8") + complained.read_text(encoding="utf-8")
