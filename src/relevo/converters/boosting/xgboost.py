"""XGBoost's models: JSON and universal binary JSON by the library of today, the binary of before 2.x by ourselves.

    .json .ubj ─ Booster.load_model ─ save_raw("json") ─┬─► read_learner ─► Read, proved against the library's own answers
    a live model ───────────────────────────────────────┘
    old binary ─ read_binary ─► read_learner ─► Read, not proved: no library here loads the file

What was read of an old binary is still told to today's library, as JSON, and must be answered the same; only that is no word of the
original's.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.converters.boosting.booster import Read
from relevo.converters.boosting.files import open_booster
from relevo.converters.boosting.ubjson_check import require_whole_ubjson
from relevo.converters.boosting.xgboost_json import link_of, read_learner, thresholds, tree_weights
from relevo.converters.boosting.xgboost_legacy import read_binary
from relevo.converters.graphs.linear import Linear
from relevo.converters.sklearn.estimator import one_line
from relevo.errors import ConversionError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from relevo.converters.base import ConversionResult
    from relevo.converters.boosting.booster import Scale
    from relevo.converters.boosting.xgboost_json import ParsedXGBoost
    from relevo.converters.graphs.trees import Ensemble
    from relevo.converters.options import ConversionOptions
    from relevo.package.samples import Samples

_UBJSON_SIGNS = b"LUiIl"
#: For an objective with parameters of its own, one with the same link and none: they matter in training only.
_STAND_INS = {"Sigmoid": "binary:logistic", "Exp": "reg:gamma"}


#: As a person writes it.
NAME = "XGBoost"


def release() -> str:
    """The version that is installed. Raises MissingDependencyError."""
    return str(_library().__version__)


def open_file(task: ConversionOptions, bodies: Sequence[bytes], samples: Samples | None) -> ConversionResult:
    """A file of XGBoost's as a conversion. Raises InvalidOptionsError, ConversionError, MissingDependencyError."""
    return open_booster(task, read_file(bodies[0], task.rounds), samples)


def read_file(data: bytes, rounds: int = 0) -> Read:
    """The model in a file of any of the three forms. Raises ConversionError, MissingDependencyError."""
    library = _library()
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return _read_binary(library, read_binary(data), rounds)
    # The library trusts every length in a file, and has crashed on one cut short: what is not whole never reaches it.
    version = _version_in_ubjson(data) if _is_ubjson(data) else _version_in_json(data)
    return _read(library, _loaded(library, data), version, rounds)


def _is_ubjson(data: bytes) -> bool:
    return data[:1] == b"{" and data[1:2] in {bytes([sign]) for sign in _UBJSON_SIGNS}


def _version_in_ubjson(data: bytes) -> list[int]:
    """Who wrote it: three small numbers at the end, where the library would tell its own. Raises ConversionError."""
    require_whole_ubjson(data)
    found = re.search(rb"version\[#L\0{7}\x03i([\0-\x7f])i([\0-\x7f])i([\0-\x7f])}\Z", data[-64:])
    return [part[0] for part in found.groups()] if found else []


def _version_in_json(data: bytes) -> Any:
    try:
        return json.loads(data).get("version")
    except (ValueError, RecursionError) as cause:
        raise ConversionError(reason=f"it is no whole JSON file ({one_line(cause)})") from cause


def _library() -> Any:
    try:
        import xgboost
    except ImportError as cause:
        raise MissingDependencyError(extra="xgboost") from cause
    return xgboost


def _loaded(library: Any, data: bytes) -> Any:
    # One thread: the quarantine gives no others.
    booster = library.Booster({"nthread": 1})
    try:
        booster.load_model(bytearray(data))
    except (library.core.XGBoostError, ValueError, UnicodeDecodeError) as cause:
        raise ConversionError(reason=f"XGBoost {library.__version__} cannot load it ({_short(cause)})") from cause
    return booster


def _short(cause: BaseException) -> str:
    """What the library says, without where in its source it says it."""
    lines = [line for line in str(cause).splitlines() if line.strip() and "Stack trace" not in line]
    return lines[0].partition(": ")[2][:160] if lines and ": " in lines[0] else one_line(cause)


def _read(library: Any, booster: Any, version: Any, rounds: int) -> Read:
    told = read_learner(json.loads(booster.save_raw("json")), rounds)
    return _as_read(told, _framework(version), _asking(library, booster, told, rounds), library)


def _read_binary(library: Any, plain: dict[str, Any], rounds: int) -> Read:
    """An old binary; what answers is today's library told the same trees, which is a check of ours and no proof."""
    told = read_learner(plain, rounds)
    booster = _loaded(library, json.dumps(told_again(plain)).encode())
    read = _as_read(told, _framework(plain["version"]), _asking(library, booster, told, rounds), library)
    return replace(read, proved=False)


def _as_read(told: ParsedXGBoost, framework: str, ask: Callable[..., NDArray[np.float64]], library: Any) -> Read:
    return Read(
        framework=framework,
        names=told.names,
        classes=told.classes,
        body=told.body,
        ask=ask,
        thresholds=thresholds(told),
        optional=frozenset(range(len(told.names))),
        library={"xgboost": str(library.__version__)},
    )


def _framework(version: Any) -> str:
    numbers = version if isinstance(version, list) and all(isinstance(part, int) for part in version) else []
    return f"XGBoost {'.'.join(str(part) for part in numbers)}".strip() if numbers else "XGBoost before 1.0"


def _asking(library: Any, booster: Any, told: ParsedXGBoost, rounds: int) -> Callable[..., NDArray[np.float64]]:
    """The library's answers: margins where the objective would hide the probabilities, the link then ours."""

    def ask(matrix: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
        margin = scale == "margin"
        data = library.DMatrix(matrix, missing=np.nan, feature_names=booster.feature_names, feature_types=booster.feature_types)
        until = {} if told.linear or not rounds else {"iteration_range": (0, rounds)}
        hidden = told.objective in ("multi:softmax", "binary:logitraw")
        said = np.asarray(booster.predict(data, output_margin=margin or hidden, **until), dtype=np.float64)
        return said if margin or not hidden else _linked(said)

    return ask


def _linked(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    if margins.ndim == 1:
        return 1.0 / (1.0 + np.exp(-margins))
    powers = np.exp(margins - margins.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def told_again(plain: dict[str, Any]) -> dict[str, Any]:
    """What was read of an old binary as JSON that today's library loads: its base score with the link applied, and every key."""
    learner = plain["learner"]
    told, name = learner["learner_model_param"], learner["objective"]["name"]
    score = float(told["base_score"])
    if told["margin"] and name in ("binary:logistic", "reg:logistic", "binary:logitraw"):
        score = 1.0 / (1.0 + math.exp(-score))
    elif told["margin"] and name in ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox"):
        score = math.exp(score)
    booster = learner["gradient_booster"]
    model = (booster.get("gbtree") or booster)["model"]
    groups = max(1, int(told["num_class"]))
    if "trees" in model:
        count = len(model["trees"])
        model = {
            "gbtree_model_param": {"num_trees": str(count), "num_parallel_tree": "1"},
            "trees": [_tree_again(tree, number, told["num_feature"]) for number, tree in enumerate(model["trees"])],
            "tree_info": model["tree_info"],
            "iteration_indptr": list(range(0, count + 1, groups)),
        }
    inside = {"name": booster["name"], "model": model}
    if weights := tree_weights(booster):
        inside = {"name": "dart", "gbtree": {"name": "gbtree", "model": model}, "weight_drop": weights}
    objective = {"name": _STAND_INS.get(link_of(name), "reg:squarederror"), "reg_loss_param": {"scale_pos_weight": "1"}}
    if name.startswith("multi:"):
        objective = {"name": name, "softmax_multiclass_param": {"num_class": told["num_class"]}}
    return {
        "version": [2, 0, 0],
        "learner": {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": inside,
            "learner_model_param": {
                **{key: told[key] for key in ("num_class", "num_feature")},
                "base_score": repr(score),
                "boost_from_average": "0",
                "num_target": "1",
            },
            "objective": objective,
        },
    }


def _tree_again(tree: dict[str, Any], number: int, width: str) -> dict[str, Any]:
    count = len(tree["left_children"])
    parents = np.full(count, 2**31 - 1)
    for side in ("left_children", "right_children"):
        children = np.array(tree[side])
        parents[children[children >= 0]] = np.flatnonzero(children >= 0)
    return {
        **tree,
        "id": number,
        "parents": parents.tolist(),
        "default_left": [int(left) for left in tree["default_left"]],
        "split_type": [0] * count,
        "base_weights": [0.0] * count,
        "loss_changes": [0.0] * count,
        "sum_hessian": [0.0] * count,
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "tree_param": {"num_deleted": "0", "num_feature": width, "num_nodes": str(count), "size_leaf_vector": "1"},
    }


# --- live models ------------------------------------------------------------------------------------------------------


def from_booster(booster: Any) -> Read:
    """A live Booster, all its rounds."""
    library = _library()
    plain = json.loads(booster.save_raw("json"))
    return _read(library, booster, plain.get("version"), 0)


def structure_of_fitted(model: Any) -> Ensemble | Linear:
    """The trees or weights of a fitted model with scikit-learn's face: of an early-stopped one those up to its best round."""
    rounds = 0
    if getattr(model, "early_stopping_rounds", None) is not None:
        rounds = int(model.best_iteration) + 1
    body = read_learner(json.loads(model.get_booster().save_raw("json")), rounds).body
    absent = getattr(model, "missing", math.nan)
    if absent is None or math.isnan(absent) or isinstance(body, Linear):
        return body
    return replace(body, absent=float(absent))
