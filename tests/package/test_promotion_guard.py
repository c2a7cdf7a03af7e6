"""Promotion guard: compatibility with existing clients, and metrics that are not worse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import relevo
from relevo import server
from relevo.config import Settings
from relevo.errors import PromotionRefusedError

if TYPE_CHECKING:
    from pathlib import Path

_DRAW = np.random.default_rng(3)
_ROWS = _DRAW.normal(size=(400, 3))
_TRUTH = np.where(_ROWS @ [2.0, -1.0, 0.5] > 0, "leaves", "stays")
_NAMES = ("tenure", "monthly", "age")


def packed(folder: Path, model: Any, *, names: tuple[str, ...] = _NAMES, truth: Any = _TRUTH, **options: Any) -> Path:
    """A package of a model fitted on the first half and measured on the second."""
    columns = _ROWS[:, : len(names)]
    model.fit(columns[:200], truth[:200])
    records = [dict(zip(names, map(float, row), strict=True)) for row in columns[200:]]
    path = folder / f"package-{len(list(folder.iterdir()))}"
    relevo.pack(model, name="churn", samples=records, features=names, truth=list(truth[200:]), out=path, figures=False, **options)
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home whose champion is a good model with an extra field."""
    result = Settings(home=tmp_path / "home")
    first = packed(tmp_path, LogisticRegression(), answer={"churn": "is:leaves"})
    server.register(result, first, author="ana", reason="the first")
    return result


def champion(settings: Settings) -> tuple[int, str]:
    """The version of the champion, and the reason of its promotion."""
    store = server.open_store(settings)
    last = store.registry.alias_history("churn")[0]
    store.engine.dispose()
    return last.version, last.reason


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"model": LogisticRegression(C=0.9)}, "its answer lacks the fields: churn"),
        ({"model": LogisticRegression(C=0.9), "names": ("tenure", "monthly", "years")}, "requires fields .* years"),
        ({"model": LogisticRegression(C=0.9), "names": ("tenure", "monthly")}, "refuses fields that clients send: age"),
        ({"model": LogisticRegression(), "truth": np.where(_TRUTH == "stays", "keeps", _TRUTH)}, "its labels are other ones"),
        ({"model": LinearRegression(), "truth": _ROWS[:, 0] * 2}, "its task is regression"),
        ({"model": DecisionTreeClassifier(max_depth=1), "answer": {"churn": "is:leaves"}}, "significantly worse .* accuracy"),
    ],
    ids=["answer", "required", "refused", "labels", "task", "worse"],
)
def test_what_would_break_clients_does_not_take_over(
    other: dict[str, Any], reason: str, settings: Settings, tmp_path: Path
) -> None:
    """An incompatible version is registered but not promoted, with the reason; force and a reason promote it."""
    path = packed(tmp_path, **other)
    with pytest.raises(PromotionRefusedError, match=reason):
        server.register(settings, path, author="ana", reason="a try")
    assert champion(settings)[0] == 1
    with pytest.raises(PromotionRefusedError, match="a reason of your own"):
        server.register(settings, path, author="ana", reason=" ", force=True)
    assert server.register(settings, path, author="ana", reason="agreed with all clients", force=True).number == 2
    version, why = champion(settings)
    assert version == 2
    assert why.startswith("agreed with all clients [forced: ")


def test_what_is_as_good_takes_over(settings: Settings, tmp_path: Path) -> None:
    """A compatible version that is not significantly worse is promoted, and so is the rollback."""
    path = packed(tmp_path, LogisticRegression(C=0.5), answer={"churn": "is:leaves", "p": "probability:leaves"})
    assert server.register(settings, path, author="ana", reason="a better one").number == 2
    assert champion(settings) == (2, "a better one")
    store = server.open_store(settings)
    with pytest.raises(PromotionRefusedError, match="its answer lacks the fields: p"):
        server.move_alias(store, "churn", "champion", 1, author="ana", reason="back", at=server.utc_now())
    move = server.move_alias(store, "churn", "challenger", 1, author="ana", reason="any other alias", at=server.utc_now())
    assert (move.version, move.reason) == (1, "any other alias")
    store.engine.dispose()


def test_other_rows_prove_nothing(settings: Settings, tmp_path: Path) -> None:
    """A worse metric on other held-out rows is no objection."""
    rows = _DRAW.normal(size=(100, 3))
    model = DecisionTreeClassifier(max_depth=1).fit(_ROWS, _TRUTH)
    records = [dict(zip(_NAMES, map(float, row), strict=True)) for row in rows]
    truth = ["leaves", "stays"] * 50
    answer = {"churn": "is:leaves"}
    relevo.pack(
        model, name="churn", samples=records, features=_NAMES, truth=truth, out=tmp_path / "p", figures=False, answer=answer
    )
    assert server.register(settings, tmp_path / "p", author="ana", reason="new data").number == 2
    assert champion(settings)[0] == 2
