"""Worker process that loads a model file with the libraries that wrote it. A script; never imported.

    python -I worker.py SOURCE MEMORY CPU FILE NEED LAYERS   (stdin: one LegacyRequest frame, read-only; stdout: a pipe)

    rlimits ─ privileges ─ Landlock ─ seccomp ─ self-test ─► SandboxStatus ─► pipe
    LegacyRequest ─ load ─ predict the samples ─ serialize the model, if requested ─► LegacyOutputsMessage | FailureMessage ─► pipe

It runs in a legacy environment under Python 3.7 or later that holds only the libraries which wrote the file. So it imports
nothing but the standard library and an old NumPy, and uses no newer syntax. `sandbox.protocol` defines the messages.
"""

from __future__ import annotations

import io
import json
import math
import os
import struct
import sys
import warnings
from typing import Any

if __name__ == "__main__":
    # Last in the path: current libraries next to Relevo's source must not shadow the legacy ones.
    sys.path.append(sys.argv[1])

from relevo.importing.legacy.serialize import UnsupportedError, feature_count, serialize

_LENGTH = struct.Struct("<I")
_MAX_TEXT = 400
_GENERATED_ROWS = 64
_MAGNITUDES = (0.1, 1.0, 10.0, 100.0)
_MAX_DEPTH = 40


def main() -> None:
    """Enter the sandbox, report the isolation level, and open the file only afterwards."""
    source, memory, cpu, file_bytes, need, layers = sys.argv[1:7]
    from relevo.importing.sandbox.linux import (
        landlock,  # noqa: F401 - loaded before the sandbox is entered
        self_test,
    )
    from relevo.importing.sandbox.worker import enter_sandbox, private_pipes

    sys.path.remove(source)
    readable_folder = os.path.dirname(self_test.__file__)  # noqa: PTH120 - no pathlib in the worker
    out, request = private_pipes()
    level, failed_checks = enter_sandbox(readable_folder, int(memory), int(cpu), int(file_bytes), layers.split(","))
    _send(out, {"kind": "walls", "level": level, "failed_checks": failed_checks}, ())
    if need == "strong" and level != "strong":
        return
    _send(out, *_run_request(request.read()))


def _send(out: Any, header: dict[str, Any], bodies: Any) -> None:
    header_with_sizes = dict(header, bodies=[len(body) for body in bodies])
    encoded_header = json.dumps(header_with_sizes).encode()
    out.write(b"".join([_LENGTH.pack(len(encoded_header)), encoded_header, *bodies]))
    out.flush()


def _run_request(raw: bytes) -> tuple[Any, ...]:
    """Turn one request into the header and the bodies of the answer."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _answer(*_decode_request(raw))
    except UnsupportedError as error:
        return {"kind": "stopped", "code": "conversion_failed", "reason": str(error)[:_MAX_TEXT]}, ()
    except MemoryError:
        return {"kind": "stopped", "code": "quarantine_failed", "reason": "the file needs more memory than it is given"}, ()
    except Exception as cause:  # noqa: BLE001 - untrusted code raises anything
        return {"kind": "stopped", "code": "conversion_failed", "reason": _one_line(cause)}, ()


def _one_line(cause: BaseException) -> str:
    lines = str(cause).strip().splitlines() or ["no reason given"]
    return f"{type(cause).__name__}: {lines[0]}"[:_MAX_TEXT]


def _decode_request(raw: bytes) -> tuple[Any, ...]:
    (length,) = _LENGTH.unpack_from(raw)
    offset = _LENGTH.size + length
    header = json.loads(raw[_LENGTH.size : offset].decode())
    bodies = []
    for size in header["bodies"]:
        bodies.append(raw[offset : offset + size])
        offset += size
    return header, bodies


def _answer(request: dict[str, Any], bodies: list[Any]) -> tuple[Any, ...]:
    vectorizer, model = _find_model([_load_pickle(body) for body in bodies[:2] if body])
    _force_single_thread(model, 0)
    samples = _Samples(request, bodies[2]) if request["samples"] != "none" else _generate_samples(vectorizer, model)
    method, classes, scores = _predict(model, _model_input(vectorizer, model, samples))
    document, arrays = serialize(vectorizer, model) if request["spell"] else ({}, b"")
    header = {"kind": "answered", "method": method, "classes": classes, "outputs": list(scores.shape)}
    records = json.dumps(samples.records).encode() if request["samples"] == "none" else b""
    return header, (scores.astype("<f8").tobytes(), records, json.dumps(document).encode() if document else b"", arrays)


# --- the file ---------------------------------------------------------------------------------------------------------


def _load_pickle(data: bytes) -> Any:
    """Unpickle with the installed joblib. Raises UnsupportedError."""
    try:
        joblib = _joblib()
        if joblib is None:
            return _unpickle(data, "ASCII")
        try:
            return joblib.load(io.BytesIO(data))
        except UnicodeDecodeError:
            # Written by Python 2, whose texts are bytes.
            return _unpickle(data, "latin1")
    except MemoryError:
        raise
    except Exception as cause:
        raise UnsupportedError(f"the libraries it was to be opened with cannot load it ({_one_line(cause)})") from cause


def _joblib() -> Any:
    try:
        import joblib  # type: ignore[import-untyped]  # it ships no types
    except ImportError:
        try:
            from sklearn.externals import joblib
        except ImportError:
            return None
    return joblib


def _unpickle(data: bytes, encoding: str) -> Any:
    import pickle

    return pickle.loads(data, encoding=encoding)  # noqa: S301 - inside the sandbox, and the user trusts the author


def _find_model(loaded: list[Any]) -> tuple[Any, ...]:
    """Find (DictVectorizer or None, model) in the unpickled containers. Raises UnsupportedError."""
    objects = [value for container in loaded for value in _flatten(container)]
    models = [value for value in objects if hasattr(value, "predict")]
    vectorizers = [value for value in objects if _is_vectorizer(value)]
    if len(models) != 1 or len(vectorizers) > 1:
        kinds = ", ".join(type(value).__name__ for value in objects[:8])
        raise UnsupportedError(f"it holds {kinds or 'nothing'}; one model was expected, or a DictVectorizer and a model")
    return (vectorizers[0] if vectorizers else None), models[0]


def _flatten(value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return list(value)
    return list(value.values()) if isinstance(value, dict) else [value]


def _is_vectorizer(value: Any) -> bool:
    return hasattr(value, "vocabulary_") and hasattr(value, "feature_names_")


def _force_single_thread(estimator: Any, depth: int) -> None:
    """Set n_jobs to 1: the sandbox allows one thread, and the outputs are the same."""
    if getattr(estimator, "__dict__", {}).get("n_jobs") is not None:
        estimator.__dict__["n_jobs"] = 1
    if depth < _MAX_DEPTH:
        for inner in list(getattr(estimator, "steps", ())) + list(getattr(estimator, "transformers_", ())):
            _force_single_thread(inner[1], depth + 1)


# --- samples and outputs -----------------------------------------------------------------------------------------------


class _Samples:
    """The rows to predict. Lifetime: the process."""

    def __init__(self, request: dict[str, Any], body: bytes) -> None:
        import numpy as np

        self.names = request["names"]
        self.matrix = None
        self.records: list[Any] = []
        if request["samples"] == "matrix":
            self.matrix = np.frombuffer(body, dtype="<f8").reshape(request["shape"]).astype(np.float64)
        else:
            self.records = json.loads(body.decode())


def _generate_samples(vectorizer: Any, model: Any) -> _Samples:
    """Generate rows that fit the features that the model declares. Raises UnsupportedError."""
    import numpy as np

    rng = np.random.RandomState(0)
    first_step = vectorizer if vectorizer is not None else (model.steps[0][1] if hasattr(model, "steps") else model)
    samples = _Samples({"names": [], "samples": "records"}, b"[]")
    if _is_vectorizer(first_step):
        fields = _vectorizer_fields(first_step)
        samples.names = list(fields)
        samples.records = [
            {name: values[rng.randint(len(values))] if values else _random_number(rng) for name, values in fields.items()}
            for _ in range(_GENERATED_ROWS)
        ]
        return samples
    samples.names = [str(name) for name in getattr(model, "feature_names_in_", ())]
    samples.names = samples.names or [f"f{column}" for column in range(feature_count(model))]
    samples.records = [{name: _random_number(rng) for name in samples.names} for _ in range(_GENERATED_ROWS)]
    return samples


def _random_number(rng: Any) -> float:
    return float(rng.normal() * rng.choice(_MAGNITUDES))


def _vectorizer_fields(vectorizer: Any) -> dict[str, Any]:
    """Map each field to its values; a number has none."""
    fields: dict[str, Any] = {}
    for entry in vectorizer.feature_names_:
        name, equals, value = str(entry).partition(vectorizer.separator)
        values = fields.setdefault(name, [])
        if equals:
            values.append(value)
    return fields


def _model_input(vectorizer: Any, model: Any, samples: _Samples) -> Any:
    """Prepare the samples for the model, or for the vectorizer before it. Raises UnsupportedError."""
    records = [{name: value for name, value in record.items() if value is not None} for record in samples.records]
    if vectorizer is not None:
        return vectorizer.transform(records)
    if hasattr(model, "steps") and _is_vectorizer(model.steps[0][1]):
        return records
    return samples.matrix if samples.matrix is not None else _to_table(model, samples)


def _to_table(model: Any, samples: _Samples) -> Any:
    """Convert records to numbers, a DataFrame or objects: what this model was most likely fitted on."""
    import numpy as np

    fitted_names = [str(name) for name in getattr(model, "feature_names_in_", ())]
    names = fitted_names if fitted_names and all(name in samples.names for name in fitted_names) else samples.names
    rows = [[record.get(name) for name in names] for record in samples.records]
    by_name = any(hasattr(step, "transformers") for step in [model] + [step for _, step in getattr(model, "steps", ())])
    if not by_name and not any(isinstance(value, str) for row in rows for value in row):
        return np.array([[math.nan if value is None else value for value in row] for row in rows], dtype=np.float64)
    try:
        import pandas as pd  # type: ignore[import-untyped]  # its types are not installed
    except ImportError as cause:
        if by_name:
            raise UnsupportedError("it takes a table with named columns; add pandas of its time: --with pandas==…") from cause
        return np.array(rows, dtype=object)
    return pd.DataFrame(rows, columns=names)


def _predict(model: Any, features: Any) -> tuple[Any, ...]:
    """Return the method used, the classes as text, and the scores (n, columns) in double precision. Raises UnsupportedError."""
    import numpy as np

    classes = getattr(model, "classes_", None)
    if isinstance(classes, list):
        raise UnsupportedError("it answers several questions at once; package one model for each")
    method = "predict" if classes is None else "predict_proba" if hasattr(model, "predict_proba") else "decision_function"
    if not hasattr(model, method):
        raise UnsupportedError(f"a {type(model).__name__} tells no score for each class, only the class")
    try:
        scores = np.asarray(getattr(model, method)(features), dtype=np.float64)
    except Exception as cause:
        raise UnsupportedError(f"the model itself fails on the samples ({_one_line(cause)})") from cause
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1) if method == "decision_function" else scores[:, None]
    if scores.ndim != 2 or (classes is None and scores.shape[1] != 1):
        raise UnsupportedError("it answers several numbers at once; package one model for each")
    return method, [] if classes is None else [str(value) for value in np.asarray(classes).tolist()], scores


if __name__ == "__main__":
    main()
