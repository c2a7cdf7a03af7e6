"""`relevo new` and `relevo train`: creates a project that can be trained at once; trains a project."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from relevo.cli.options import AsJson, Home, current_user, load_command_settings
from relevo.cli.output import progress, say, show_json
from relevo.cli.package_summary import Alias, Force, Out, Register, Why, reason, summary
from relevo.cli.training_report import report, skipped_images
from relevo.cli.translate import language

if TYPE_CHECKING:
    from relevo.project.image_folder import Unreadable


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("new")(new)
    app.command("train")(train)


def new(
    name: Annotated[str, typer.Argument(help="Name of the project, its folder and its model.", metavar="NAME")],
    *,
    as_json: AsJson = False,
) -> None:
    """Write a project that trains right away.

    It reads real handwritten digits; then make it yours.
    """
    from relevo.project.scaffold import start_project

    files = start_project(Path(name), language=language())
    if as_json:
        show_json({"project": name, "files": [str(file) for file in files]})
        return
    for file in files:
        say(f"wrote {file}")
    say(f"Now: cd {name} && relevo train && relevo serve")


def train(
    *,
    project: Annotated[Path, typer.Option("--project", help="Folder with relevo.toml and train.py.", metavar="FOLDER")] = Path(),
    out: Out = None,
    register: Register = True,
    alias: Alias = "champion",
    why: Why = "trained",
    force: Force = False,
    most: Annotated[
        int | None,
        typer.Option("--most", min=2, help="Learn from at most so many examples; the held-out ones stay all.", metavar="NUMBER"),
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Train this project and register the outcome.

    The package is proved and measured on the part that is held out.
    """
    from relevo import server
    from relevo.project.config import read_project
    from relevo.project.training import train_project

    settings, start = load_command_settings(home, toml=project / "relevo.toml"), server.utc_now()
    recorded_reason = reason(why, "trained", force=force)
    if register:
        server.check_home(settings)
    with TemporaryDirectory(prefix="relevo-train-") as folder, progress(quiet=as_json) as step:
        package_path = out or Path(folder) / "package"
        skipped: list[Unreadable] = []
        package = train_project(
            read_project(project), package_path, step, max_examples=most, language=language(), tell=skipped.append
        )
        version = champion = None
        if register:
            version = server.register(
                settings, package_path, alias=alias, author=current_user(), reason=recorded_reason, force=force
            )
            champion = server.champion_of(settings, version.model)
    if as_json:
        unreadable = [{"path": image.path, "reason": image.reason} for image in skipped]
        show_json({"digest": package.digest, "metrics": package.metrics, "version": version, "unreadable": unreadable})
        return
    for line in (
        *skipped_images(skipped),
        *report(package.metrics),
        summary(package, version, alias, began=start, champion=champion),
    ):
        say(line)
