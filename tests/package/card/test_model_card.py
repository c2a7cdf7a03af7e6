"""The model card: its language at packing and at reading."""

from __future__ import annotations

import ast
import inspect
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import relevo
from relevo.errors import InvalidOptionsError
from relevo.i18n import catalog
from relevo.package.card import model_card, plots, training_curves
from relevo.package.card.model_card import card_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

EPOCHS = [{"epoch": n, "loss": 1 / n, "validation_loss": 1.2 / n} for n in range(1, 6)]
#: Beginnings of lines, and rows of its tables, of a Spanish card.
SPANISH = (
    "Recibe un registro y responde una de 2 etiquetas.",
    "## Entrada",
    "| campo | tipo | obligatorio | valores |",
    "## Respuesta",
    "La etiqueta más probable.",
    "## Lo medido",
    "Con 60 filas reservadas, respondidas por este paquete.",
    "| exactitud | 0,",
    "## Prueba",
    "Con 60 muestras dadas por el usuario, el modelo original respondió lo mismo:",
    "la misma etiqueta en el 100,00 %.",
    "## Procedencia",
    "## Límites",
    "- Las cifras se midieron con 60 filas; a partir de 1000 son estables.",
    "- Sin perfil de deriva: hace falta la verdad de al menos 200 filas reservadas.",
)


def packed(language: str | None) -> relevo.Package:
    x = np.random.default_rng(0).normal(size=(120, 3))
    y = (x[:, 0] + x[:, 1] / 3 > 0).astype(int)
    model = LogisticRegression().fit(x[:60], y[:60])
    return relevo.pack(model, name="m", samples=x[60:], truth=y[60:], training_curves=EPOCHS, language=language)


def written(package: relevo.Package) -> str:
    return package.read("card.md").decode()


def read_by(package: relevo.Package, language: str, text: str | None = None) -> str:
    paths = [path for path in package.paths() if path.startswith("figures/")]
    card = written(package) if text is None else text
    return card_for(card, package.manifest, package.metrics, paths, profiled=False, language=language)


def test_a_spanish_card_is_spanish_throughout() -> None:
    """Every section, heading and figure of a Spanish card is Spanish."""
    spanish, english = packed("es"), packed("en")
    for text in SPANISH:
        assert text in written(spanish)
    catalogue = catalog.texts("card", "es")
    cells = {cell.strip(" -#") for line in written(spanish).splitlines() for cell in line.split("|")}
    assert not {text for text in cells & catalogue.keys() if catalogue[text] != text}
    # Numbers have a comma; what has a point is a version or the name of a file.
    assert not re.search(r"(?<![\d.])0\.\d{2,}", written(spanish))
    for path in ("figures/calibration.png", "figures/confusion.png", "figures/roc.png", "figures/learning_curves.png"):
        assert spanish.read(path) != english.read(path)


def test_a_card_is_read_in_the_readers_language() -> None:
    """A generated card is shown in the reader's language; an edited one is unchanged."""
    spanish, english = packed("es"), packed("en")
    assert read_by(spanish, "es") == written(spanish)
    assert read_by(english, "en") == written(english)
    assert read_by(english, "es").partition("## Lo medido")[0] == written(spanish).partition("## Lo medido")[0]
    assert "## Measured" in read_by(spanish, "en")
    assert read_by(english, "es", "# Trust me\n") == "# Trust me\n"


def test_the_environment_says_which_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default language is that of RELEVO_LANGUAGE or the locale; an unsupported language is rejected."""
    monkeypatch.setenv("RELEVO_LANGUAGE", "es")
    assert "## Límites" in written(packed(None))
    monkeypatch.delenv("RELEVO_LANGUAGE")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert "## Limits" in written(packed(None))
    with pytest.raises(InvalidOptionsError, match="language"):
        packed("tlh")


def test_every_text_of_a_card_is_in_the_catalogue() -> None:
    """Every text of a card or figure has a Spanish translation with the same placeholders, and none is unused."""
    used = {text for module in (model_card, plots, training_curves) for text in _texts(module)}
    spanish = catalog.texts("card", "es")
    assert used == spanish.keys()
    for english, other in spanish.items():
        assert set(re.findall(r"\{\w+\}", other)) == set(re.findall(r"\{\w+\}", english)), english


def _texts(module: ModuleType) -> Iterator[str]:
    """Arguments of `words`: a literal text, or a text assigned to `template`."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "words":
            value: ast.expr = node.args[0]
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "template":
            value = node.value
        else:
            continue
        if isinstance(value, ast.Constant):
            yield str(value.value)
