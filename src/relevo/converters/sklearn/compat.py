"""What older scikit-learn releases pickled otherwise, mended where the meaning is known exactly and refused where it changed.

    pickle ─ module of a former name ─► module of today             (0.22 renamed them; the classes are the same)
    model  ─ parts ─ attribute absent or renamed ─► as that release meant it
           └ an answer that today's code would give otherwise ─► ConversionError

The original answers the samples here, read by today's code. A release that meant something else by the same numbers would be
copied wrongly and agree with itself, so that case must be known by name.

Known and let in: a support vector machine of several classes from before 0.21. Its margins for one row hung on the rows asked
with it (all were scaled by the largest among them), so there is no function of a row to copy; today's scale leaves their order as
it was, and with it every answer (sklearn.utils.multiclass._ovr_decision_function of 0.20.4 and of 0.21.3).
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from relevo.converters.sklearn.estimator import parts_of
from relevo.converters.sklearn.versions import advice
from relevo.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

#: Class → attributes that were added later, with the value that stands for the behaviour before.
_ADDED: Mapping[str, Mapping[str, object]] = {
    "SVC": {"break_ties": False},
    "NuSVC": {"break_ties": False},
    "DecisionTreeClassifier": {"monotonic_cst": None},
    "DecisionTreeRegressor": {"monotonic_cst": None},
    "RandomForestClassifier": {"monotonic_cst": None},
    "RandomForestRegressor": {"monotonic_cst": None},
    "SimpleImputer": {"keep_empty_features": False},
    "MinMaxScaler": {"clip": False},
}
#: Class → attributes that were renamed: today's name → the former one; the arrays are the same.
_RENAMED: Mapping[str, Mapping[str, str]] = {
    "SVC": {"_n_support": "n_support_", "_probA": "probA_", "_probB": "probB_"},
    "NuSVC": {"_n_support": "n_support_", "_probA": "probA_", "_probB": "probB_"},
    "SVR": {"_n_support": "n_support_", "_probA": "probA_", "_probB": "probB_"},
    "GaussianNB": {"var_": "sigma_"},
    # Both are the dtype of what it was fitted on; the second came after 1.3.0.
    "SimpleImputer": {"_fill_dtype": "_fit_dtype"},
}
#: Package → former module → today's.
_MOVED: Mapping[str, Mapping[str, str]] = {
    "sklearn.svm": {"classes": "_classes", "base": "_base"},
    "sklearn.linear_model": {
        "base": "_base",
        "bayes": "_bayes",
        "coordinate_descent": "_coordinate_descent",
        "huber": "_huber",
        "logistic": "_logistic",
        "ridge": "_ridge",
        "stochastic_gradient": "_stochastic_gradient",
    },
    "sklearn.tree": {"tree": "_classes"},
    "sklearn.ensemble": {"bagging": "_bagging", "forest": "_forest", "voting": "_voting", "voting_classifier": "_voting"},
    "sklearn.neural_network": {"multilayer_perceptron": "_multilayer_perceptron"},
    "sklearn.neighbors": {"classification": "_classification", "regression": "_regression"},
    "sklearn.preprocessing": {"data": "_data", "label": "_label"},
    "sklearn.feature_extraction": {"dict_vectorizer": "_dict_vectorizer"},
    "sklearn.feature_selection": {"univariate_selection": "_univariate_selection", "from_model": "_from_model"},
    "sklearn.decomposition": {"pca": "_pca"},
}
_MOVED_TO = {
    f"{package}.{former}": f"{package}.{today}" for package, modules in _MOVED.items() for former, today in modules.items()
}


class _AliasFinder(MetaPathFinder, Loader):
    """Finds a module by its former name; lives as long as the child."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Only former names are ours."""
        del path, target
        return ModuleSpec(fullname, self) if fullname in _MOVED_TO else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module of today."""
        return import_module(_MOVED_TO[spec.name])

    def exec_module(self, module: ModuleType) -> None:
        """It was run under its own name already."""


def install_module_aliases() -> None:
    """Let pickles import modules by the names they had before scikit-learn 0.22."""
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        sys.meta_path.append(_AliasFinder())


def fix_attributes(model: Any, source: str = "") -> None:
    """Set on the model and its parts what newer releases expect; never overwrites.

    source: what the file says wrote it. Raises ConversionError where an older release meant something else.
    """
    whole = list(model) if isinstance(model, tuple) else [model]
    for part in [part for one in whole for part in parts_of(one)]:
        _mend_part(part)
        _refuse_other_meaning(part, source)


def _mend_part(part: Any) -> None:
    state = getattr(part, "__dict__", {})
    name = type(part).__name__
    if state.get("n_jobs") is not None:
        state["n_jobs"] = 1  # the quarantine gives one thread; the answers are the same
    for today, former in _RENAMED.get(name, {}).items():
        if today not in state and former in state:
            state[today] = state[former]
    for attribute, value in _ADDED.get(name, {}).items():
        if attribute not in state and not hasattr(part, attribute):
            state[attribute] = value


def _refuse_other_meaning(part: Any, source: str) -> None:
    """LogisticRegression asked its classes one against the rest, or all at once, by an option that 1.8 took away."""
    if type(part).__name__ not in ("LogisticRegression", "LogisticRegressionCV"):
        return
    option = getattr(part, "__dict__", {}).get("multi_class")
    if option is None or not hasattr(part, "classes_"):
        return
    several = len(part.classes_) > 2
    by_solver = option in ("auto", "deprecated") and getattr(part, "solver", "") == "liblinear"
    one_against_rest = option in ("ovr", "warn") or by_solver
    if (several and one_against_rest) or (not several and option == "multinomial"):
        line = advice(source)
        raise ConversionError(
            reason=f"its {type(part).__name__} ({source or 'an older scikit-learn'}) has multi_class='{option}', and the "
            f"scikit-learn {version('scikit-learn')} installed here would compute other probabilities from it. "
            + (f"Repeat with {line}, or fit it again" if line else "Fit it again")
            + ", inside a OneVsRestClassifier if it is to stay as it was"
        )
