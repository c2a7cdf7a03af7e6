"""Makes pickles of older scikit-learn releases usable: fixes what has a known equivalent, rejects what changed its meaning.

    pickle ─ module under its former name ─► current module         (0.22 renamed them; the classes are the same)
    model  ─ parts ─ attribute missing or renamed ─► set to that release's behaviour
           └ prediction that current code would compute differently ─► ConversionError

The reference outputs are computed here, by current code. If a release meant something else by the same numbers, the conversion would be
wrong and still agree with its reference, so that case must be recognised explicitly.

Accepted: a multiclass support vector machine from before 0.21. Its margins for one row depended on the other rows of the call (all
were scaled by the largest among them), so there is no function of one row to convert; the current scale keeps their order, and with it
every prediction (sklearn.utils.multiclass._ovr_decision_function of 0.20.4 and of 0.21.3).
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

#: Class → attributes that were added later, with the value for the previous behaviour.
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
#: Class → renamed attributes: current name → former name; the arrays are the same.
_RENAMED: Mapping[str, Mapping[str, str]] = {
    "SVC": {"_n_support": "n_support_", "_probA": "probA_", "_probB": "probB_"},
    "NuSVC": {"_n_support": "n_support_", "_probA": "probA_", "_probB": "probB_"},
    "SVR": {"_n_support": "n_support_", "_probA": "probA_", "_probB": "probB_"},
    "GaussianNB": {"var_": "sigma_"},
    # Both are the dtype of the training data; the first was added after 1.3.0.
    "SimpleImputer": {"_fill_dtype": "_fit_dtype"},
}
#: Package → former module → current module.
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
    f"{package}.{former}": f"{package}.{current}" for package, modules in _MOVED.items() for former, current in modules.items()
}


class _AliasFinder(MetaPathFinder, Loader):
    """Finds modules under their former names. Lifetime: the sandboxed process."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Handles only former names."""
        del path, target
        return ModuleSpec(fullname, self) if fullname in _MOVED_TO else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Returns the current module."""
        return import_module(_MOVED_TO[spec.name])

    def exec_module(self, module: ModuleType) -> None:
        """Does nothing: the module was executed under its current name."""


def install_module_aliases() -> None:
    """Lets pickles import modules under the names they had before scikit-learn 0.22."""
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        sys.meta_path.append(_AliasFinder())


def fix_attributes(model: Any, source: str = "") -> None:
    """Sets attributes on the model and its parts that newer releases expect; never overwrites one.

    source: library that wrote the file. Raises ConversionError when an older release meant something else.
    """
    models = list(model) if isinstance(model, tuple) else [model]
    for part in [part for item in models for part in parts_of(item)]:
        _fix_part(part)
        _reject_changed_meaning(part, source)


def _fix_part(part: Any) -> None:
    state = getattr(part, "__dict__", {})
    name = type(part).__name__
    if state.get("n_jobs") is not None:
        state["n_jobs"] = 1  # the sandbox allows one thread; predictions are the same
    for current, former in _RENAMED.get(name, {}).items():
        if current not in state and former in state:
            state[current] = state[former]
    for attribute, value in _ADDED.get(name, {}).items():
        if attribute not in state and not hasattr(part, attribute):
            state[attribute] = value


def _reject_changed_meaning(part: Any, source: str) -> None:
    """Rejects a LogisticRegression whose `multi_class` option, removed in 1.8, selected another computation. Raises ConversionError."""
    if type(part).__name__ not in ("LogisticRegression", "LogisticRegressionCV"):
        return
    option = getattr(part, "__dict__", {}).get("multi_class")
    if option is None or not hasattr(part, "classes_"):
        return
    is_multiclass = len(part.classes_) > 2
    by_solver = option in ("auto", "deprecated") and getattr(part, "solver", "") == "liblinear"
    is_one_vs_rest = option in ("ovr", "warn") or by_solver
    if (is_multiclass and is_one_vs_rest) or (not is_multiclass and option == "multinomial"):
        flags = advice(source)
        raise ConversionError(
            reason=f"its {type(part).__name__} ({source or 'an older scikit-learn'}) has multi_class='{option}', and the "
            f"scikit-learn {version('scikit-learn')} installed here would compute other probabilities from it. "
            + (f"Repeat with {flags}, or fit it again" if flags else "Fit it again")
            + ", inside a OneVsRestClassifier if it is to stay as it was"
        )
