"""Layering: a package imports only from lower layers, and never a forbidden library."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "relevo"
LAYERS = [
    {"errors"},
    {"util"},
    {"telemetry", "domain", "config", "client", "i18n"},
    {"runtime", "stats"},
    {"package", "store", "console"},
    {"converters"},
    {"importing"},
    {"project"},
    {"serve", "recording"},
    {"web", "engines"},
    {"server", "testing"},
    {"cli"},
    {"__main__"},
]
LAYER = {package: number for number, packages in enumerate(LAYERS) for package in packages}
TRAINING = {"sklearn", "skl2onnx", "tensorflow", "keras", "torch", "pandas", "scipy", "matplotlib", "onnx"}
FORBIDDEN = {
    "domain": {"sqlalchemy", "fastapi", "PIL", "onnxruntime"} | TRAINING,
    "stats": {"sqlalchemy", "fastapi", "onnxruntime"},
    "runtime": {"sqlalchemy", "fastapi", "starlette"} | TRAINING,
    "recording": {"fastapi", "starlette"} | TRAINING,
    "serve": {"sqlalchemy", "fastapi", "starlette", "relevo.store"} | TRAINING,
    "web": {"sqlalchemy"} | TRAINING,
    "console": {f"relevo.{package}" for package in ("domain", "stats", "runtime", "recording", "store", "package")}
    | {"sqlalchemy", "numpy"},
    "store": {"fastapi", "starlette", "onnxruntime"} | TRAINING,
}
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    """A package imports only its own modules and lower layers, including type-only imports."""
    package = package_of(path)
    for name in imports_of(path):
        if not name.startswith("relevo."):
            continue
        other = name.split(".")[1]
        if other not in LAYER or other == package:
            continue
        assert LAYER[other] < LAYER[package], f"{path.relative_to(SOURCE)} imports {name}, which is not in a lower layer"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_packages_keep_their_promises(path: Path) -> None:
    """Forbidden imports: no SQL in serving, no training library in the server."""
    for name in imports_of(path):
        for banned in FORBIDDEN.get(package_of(path), set()):
            assert name != banned, f"{path.relative_to(SOURCE)} imports {name}"
            assert not name.startswith(banned + "."), f"{path.relative_to(SOURCE)} imports {name}"


def test_every_package_has_a_layer() -> None:
    """Every package is assigned to a layer."""
    assert {package_of(path) for path in MODULES} <= LAYER.keys()


def test_no_file_imports_itself_in_a_circle() -> None:
    """There are no import cycles between modules, not even for types."""
    names = {
        "relevo." + ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES
    }
    arrows = {name: {other for other in imports_of(path) if other in names and other != name} for name, path in names.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join([*trail, name])
        if name in done:
            return
        for other in sorted(arrows[name]):
            visit(other, (*trail, name))
        done.add(name)

    for name in sorted(arrows):
        visit(name, ())
