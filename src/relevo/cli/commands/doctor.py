"""`relevo doctor`: checks this machine and home, and says how to fix problems."""

from __future__ import annotations

from typing import Annotated

import typer

from relevo.cli.options import AsJson, Home, load_command_settings
from relevo.cli.output import show_json, show_text
from relevo.cli.translate import translate

_SIGNS = {"ok": "ok", "warn": "warn", "fail": "FAIL"}


def register(app: typer.Typer) -> None:
    """Adds the command of this module."""
    app.command("doctor")(doctor)


def doctor(
    *,
    home: Home = None,
    port: Annotated[int | None, typer.Option("--port", help="The port `relevo serve` would take.", metavar="NUMBER")] = None,
    as_json: AsJson = False,
) -> None:
    """Check what Relevo needs from this machine.

    Exit code 1 when something must be mended.
    """
    from relevo.cli.doctor.checks import examine

    findings = examine(load_command_settings(home, port=port))
    if as_json:
        show_json(findings)
    else:
        for finding in findings:
            show_text(f"{translate(_SIGNS[finding.verdict]):<4}  {translate(finding.subject):<13}  {translate(finding.message)}")
            if finding.suggestion:
                show_text(f"{'':21}{translate(finding.suggestion)}")
    if any(finding.verdict == "fail" for finding in findings):
        raise typer.Exit(1)
