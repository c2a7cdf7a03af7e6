"""Converts XGBoost models: JSON and UBJSON through the installed library, the binary format of before 2.x through our own parser.

    .json .ubj ─ Booster.load_model ─ save_raw("json") ─┬─► read_learner ─► ParsedBooster, proved against the library's predictions
    live model ─────────────────────────────────────────┘
    old binary ─ read_binary ─► read_learner ─► ParsedBooster, not proved: no installable library loads the file

An old binary is also converted to JSON for the current library, which must predict the same; that checks our graph, but it is no
prediction of the original.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.converters.boosting.booster import ParsedBooster
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

    from relevo.converters.base import ConversionRequest, ConversionResult
    from relevo.converters.boosting.booster import Scale
    from relevo.converters.boosting.xgboost_json import ParsedXGBoost
    from relevo.converters.graphs.trees import Ensemble
    from relevo.package.samples import Samples

_UBJSON_MARKERS = b"LUiIl"
#: For an objective with parameters, one with the same link and without them: they matter only in training.
_SUBSTITUTES = {"Sigmoid": "binary:logistic", "Exp": "reg:gamma"}


#: Display name.
NAME = "XGBoost"


def release() -> str:
    """The installed version. Raises MissingDependencyError."""
    return str(_library().__version__)


def open_file(request: ConversionRequest, bodies: Sequence[bytes], samples: Samples | None) -> ConversionResult:
    """Converts an XGBoost file. Raises InvalidOptionsError, ConversionError, MissingDependencyError."""
    return open_booster(request.options, read_file(bodies[0], request.options.iterations), samples)


def read_file(data: bytes, rounds: int = 0) -> ParsedBooster:
    """Parses a model file of any of the three formats. Raises ConversionError, MissingDependencyError."""
    library = _library()
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return _read_binary(library, read_binary(data), rounds)
    # The library trusts every length in a file, and has crashed on a truncated one: incomplete files never reach it.
    version = _version_in_ubjson(data) if _is_ubjson(data) else _version_in_json(data)
    return _parse(library, _load(library, data), version, rounds)


def _is_ubjson(data: bytes) -> bool:
    return data[:1] == b"{" and data[1:2] in {bytes([marker]) for marker in _UBJSON_MARKERS}


def _version_in_ubjson(data: bytes) -> list[int]:
    """Reads the version that wrote the file: three small numbers at its end; the library would report its own. Raises ConversionError."""
    require_whole_ubjson(data)
    match = re.search(rb"version\[#L\0{7}\x03i([\0-\x7f])i([\0-\x7f])i([\0-\x7f])}\Z", data[-64:])
    return [part[0] for part in match.groups()] if match else []


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


def _load(library: Any, data: bytes) -> Any:
    # One thread: the sandbox does not allow more.
    booster = library.Booster({"nthread": 1})
    try:
        booster.load_model(bytearray(data))
    except (library.core.XGBoostError, ValueError, UnicodeDecodeError) as cause:
        raise ConversionError(reason=f"XGBoost {library.__version__} cannot load it ({_short_message(cause)})") from cause
    return booster


def _short_message(cause: BaseException) -> str:
    """The library's message without its source location."""
    lines = [line for line in str(cause).splitlines() if line.strip() and "Stack trace" not in line]
    return lines[0].partition(": ")[2][:160] if lines and ": " in lines[0] else one_line(cause)


def _parse(library: Any, booster: Any, version: Any, rounds: int) -> ParsedBooster:
    model = read_learner(json.loads(booster.save_raw("json")), rounds)
    return _to_parsed(model, _framework(version), _predict_function(library, booster, model, rounds), library)


def _read_binary(library: Any, plain: dict[str, Any], rounds: int) -> ParsedBooster:
    """Parses an old binary; the current library predicts with the same trees, which is a check and no proof."""
    model = read_learner(plain, rounds)
    booster = _load(library, json.dumps(to_current_json(plain)).encode())
    parsed = _to_parsed(model, _framework(plain["version"]), _predict_function(library, booster, model, rounds), library)
    return replace(parsed, proved=False)


def _to_parsed(model: ParsedXGBoost, framework: str, predict: Callable[..., NDArray[np.float64]], library: Any) -> ParsedBooster:
    return ParsedBooster(
        framework=framework,
        names=model.names,
        classes=model.classes,
        structure=model.structure,
        predict=predict,
        thresholds=thresholds(model),
        optional=frozenset(range(len(model.names))),
        library={"xgboost": str(library.__version__)},
    )


def _framework(version: Any) -> str:
    numbers = version if isinstance(version, list) and all(isinstance(part, int) for part in version) else []
    return f"XGBoost {'.'.join(str(part) for part in numbers)}".strip() if numbers else "XGBoost before 1.0"


def _predict_function(library: Any, booster: Any, model: ParsedXGBoost, rounds: int) -> Callable[..., NDArray[np.float64]]:
    """Returns the library's predict function; uses margins and our link where the objective would hide the probabilities."""

    def predict(matrix: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
        margin = scale == "margin"
        data = library.DMatrix(matrix, missing=np.nan, feature_names=booster.feature_names, feature_types=booster.feature_types)
        options = {} if model.is_linear or not rounds else {"iteration_range": (0, rounds)}
        hidden = model.objective in ("multi:softmax", "binary:logitraw")
        predicted = np.asarray(booster.predict(data, output_margin=margin or hidden, **options), dtype=np.float64)
        return predicted if margin or not hidden else _apply_link(predicted)

    return predict


def _apply_link(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    if margins.ndim == 1:
        return 1.0 / (1.0 + np.exp(-margins))
    exponentials = np.exp(margins - margins.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def to_current_json(plain: dict[str, Any]) -> dict[str, Any]:
    """Converts a parsed old binary to JSON that the current library loads: every key, and the base score with the link applied."""
    learner = plain["learner"]
    params, name = learner["learner_model_param"], learner["objective"]["name"]
    base_score = float(params["base_score"])
    if params["margin"] and name in ("binary:logistic", "reg:logistic", "binary:logitraw"):
        base_score = 1.0 / (1.0 + math.exp(-base_score))
    elif params["margin"] and name in ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox"):
        base_score = math.exp(base_score)
    booster = learner["gradient_booster"]
    model = (booster.get("gbtree") or booster)["model"]
    groups = max(1, int(params["num_class"]))
    if "trees" in model:
        count = len(model["trees"])
        model = {
            "gbtree_model_param": {"num_trees": str(count), "num_parallel_tree": "1"},
            "trees": [_to_current_tree(tree, number, params["num_feature"]) for number, tree in enumerate(model["trees"])],
            "tree_info": model["tree_info"],
            "iteration_indptr": list(range(0, count + 1, groups)),
        }
    inner_booster = {"name": booster["name"], "model": model}
    if weights := tree_weights(booster):
        inner_booster = {"name": "dart", "gbtree": {"name": "gbtree", "model": model}, "weight_drop": weights}
    objective = {"name": _SUBSTITUTES.get(link_of(name), "reg:squarederror"), "reg_loss_param": {"scale_pos_weight": "1"}}
    if name.startswith("multi:"):
        objective = {"name": name, "softmax_multiclass_param": {"num_class": params["num_class"]}}
    return {
        "version": [2, 0, 0],
        "learner": {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": inner_booster,
            "learner_model_param": {
                **{key: params[key] for key in ("num_class", "num_feature")},
                "base_score": repr(base_score),
                "boost_from_average": "0",
                "num_target": "1",
            },
            "objective": objective,
        },
    }


def _to_current_tree(tree: dict[str, Any], number: int, width: str) -> dict[str, Any]:
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


def from_booster(booster: Any) -> ParsedBooster:
    """Parses a live Booster with all its rounds."""
    library = _library()
    plain = json.loads(booster.save_raw("json"))
    return _parse(library, booster, plain.get("version"), 0)


def structure_of_fitted(model: Any) -> Ensemble | Linear:
    """Trees or weights of a fitted model with the scikit-learn interface; of an early-stopped one those up to its best round."""
    rounds = 0
    if getattr(model, "early_stopping_rounds", None) is not None:
        rounds = int(model.best_iteration) + 1
    structure = read_learner(json.loads(model.get_booster().save_raw("json")), rounds).structure
    absent = getattr(model, "missing", math.nan)
    if absent is None or math.isnan(absent) or isinstance(structure, Linear):
        return structure
    return replace(structure, absent=float(absent))
