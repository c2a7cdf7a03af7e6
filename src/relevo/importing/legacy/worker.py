"""The process in which a model file is asked by the very libraries that wrote it. A script; imported by nobody.

    python -I child.py SOURCE MEMORY CPU FILE NEED WALLS   (standard input: one Question, read-only; output: a pipe)

    limits ─ privileges ─ Landlock ─ seccomp ─ probe ─► Walls ─► pipe
    Question ─ load ─ answer the samples ─ spell the model out, if asked to ─► Answered | Stopped ─► pipe

It runs in an environment of another time, under a Python from 3.7 on, with nothing installed but what wrote the file: hence only
the standard library here, NumPy as old as it comes, and no word that such a Python does not know. `wire.Question` and
`wire.Answered` say what passes.
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
    # Behind everything else: beside our source there may lie libraries of today, which must not be found.
    sys.path.append(sys.argv[1])

from relevo.importing.legacy.serialize import UnsupportedError, serialize, width

_LENGTH = struct.Struct("<I")
_WORDS = 400
_GENERATED = 64
_MAGNITUDES = (0.1, 1.0, 10.0, 100.0)
_DEEPEST = 40


def main() -> None:
    """Build the walls, say how strong they are, and open the file only behind them."""
    source, memory, cpu, file_bytes, need, walls = sys.argv[1:7]
    from relevo.importing.sandbox.linux import (
        landlock,  # noqa: F401 - read before they stand
        self_test,
    )
    from relevo.importing.sandbox.worker import enter_sandbox, private_pipes

    sys.path.remove(source)
    walls_folder = os.path.dirname(self_test.__file__)  # noqa: PTH120 - no pathlib in the child
    out, task = private_pipes()
    level, unheld = enter_sandbox(walls_folder, int(memory), int(cpu), int(file_bytes), walls.split(","))
    _send(out, {"kind": "walls", "level": level, "unheld": unheld}, ())
    if need == "strong" and level != "strong":
        return
    _send(out, *_carry_out(task.read()))


def _send(out: Any, header: dict[str, Any], bodies: Any) -> None:
    told = dict(header, bodies=[len(body) for body in bodies])
    head = json.dumps(told).encode()
    out.write(b"".join([_LENGTH.pack(len(head)), head, *bodies]))
    out.flush()


def _carry_out(raw: bytes) -> tuple[Any, ...]:
    """One Question as bytes to a header and its bodies."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _answered(*_received(raw))
    except UnsupportedError as refusal:
        return {"kind": "stopped", "code": "conversion_failed", "reason": str(refusal)[:_WORDS]}, ()
    except MemoryError:
        return {"kind": "stopped", "code": "quarantine_failed", "reason": "the file needs more memory than it is given"}, ()
    except Exception as cause:  # noqa: BLE001 - a stranger's code raises whatever it likes
        return {"kind": "stopped", "code": "conversion_failed", "reason": _one_line(cause)}, ()


def _one_line(cause: BaseException) -> str:
    lines = str(cause).strip().splitlines() or ["no reason given"]
    return f"{type(cause).__name__}: {lines[0]}"[:_WORDS]


def _received(raw: bytes) -> tuple[Any, ...]:
    (length,) = _LENGTH.unpack_from(raw)
    at = _LENGTH.size + length
    header = json.loads(raw[_LENGTH.size : at].decode())
    bodies = []
    for size in header["bodies"]:
        bodies.append(raw[at : at + size])
        at += size
    return header, bodies


def _answered(question: dict[str, Any], bodies: list[Any]) -> tuple[Any, ...]:
    vectorizer, model = _arranged([_load(body) for body in bodies[:2] if body])
    _on_one_thread(model, 0)
    samples = _Samples(question, bodies[2]) if question["samples"] != "none" else _generated(vectorizer, model)
    method, classes, scores = _ask(model, _features(vectorizer, model, samples))
    spelled, arrays = serialize(vectorizer, model) if question["spell"] else ({}, b"")
    header = {"kind": "answered", "method": method, "classes": classes, "outputs": list(scores.shape)}
    records = json.dumps(samples.records).encode() if question["samples"] == "none" else b""
    return header, (scores.astype("<f8").tobytes(), records, json.dumps(spelled).encode() if spelled else b"", arrays)


# --- the file ---------------------------------------------------------------------------------------------------------


def _load(data: bytes) -> Any:
    """Unpickle with whatever joblib there is. Raises Unable."""
    try:
        joblib = _joblib()
        if joblib is None:
            return _unpickled(data, "ASCII")
        try:
            return joblib.load(io.BytesIO(data))
        except UnicodeDecodeError:
            # A Python 2 wrote it: its texts are bytes.
            return _unpickled(data, "latin1")
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


def _unpickled(data: bytes, encoding: str) -> Any:
    import pickle

    return pickle.loads(data, encoding=encoding)  # noqa: S301 - the walls stand, and a person trusts the author


def _arranged(loaded: list[Any]) -> tuple[Any, ...]:
    """(DictVectorizer or None, model) out of whatever containers people pickle. Raises Unable."""
    things = [thing for one in loaded for thing in _spread(one)]
    models = [thing for thing in things if hasattr(thing, "predict")]
    vectorizers = [thing for thing in things if _is_vectorizer(thing)]
    if len(models) != 1 or len(vectorizers) > 1:
        kinds = ", ".join(type(thing).__name__ for thing in things[:8])
        raise UnsupportedError(f"it holds {kinds or 'nothing'}; one model was expected, or a DictVectorizer and a model")
    return (vectorizers[0] if vectorizers else None), models[0]


def _spread(thing: Any) -> list[Any]:
    if isinstance(thing, (tuple, list)):
        return list(thing)
    return list(thing.values()) if isinstance(thing, dict) else [thing]


def _is_vectorizer(thing: Any) -> bool:
    return hasattr(thing, "vocabulary_") and hasattr(thing, "feature_names_")


def _on_one_thread(thing: Any, depth: int) -> None:
    """The quarantine gives one thread; the answers are the same."""
    if getattr(thing, "__dict__", {}).get("n_jobs") is not None:
        thing.__dict__["n_jobs"] = 1
    if depth < _DEEPEST:
        for inner in list(getattr(thing, "steps", ())) + list(getattr(thing, "transformers_", ())):
            _on_one_thread(inner[1], depth + 1)


# --- the samples and the answers --------------------------------------------------------------------------------------


class _Samples:
    """The rows to ask with; lives as long as the process."""

    def __init__(self, question: dict[str, Any], body: bytes) -> None:
        import numpy as np

        self.names = question["names"]
        self.matrix = None
        self.records: list[Any] = []
        if question["samples"] == "matrix":
            self.matrix = np.frombuffer(body, dtype="<f8").reshape(question["shape"]).astype(np.float64)
        else:
            self.records = json.loads(body.decode())


def _generated(vectorizer: Any, model: Any) -> _Samples:
    """Rows that fit what the model tells of itself. Raises Unable."""
    import numpy as np

    draw = np.random.RandomState(0)
    first = vectorizer if vectorizer is not None else (model.steps[0][1] if hasattr(model, "steps") else model)
    samples = _Samples({"names": [], "samples": "records"}, b"[]")
    if _is_vectorizer(first):
        fields = _fields_of(first)
        samples.names = list(fields)
        samples.records = [
            {name: values[draw.randint(len(values))] if values else _number(draw) for name, values in fields.items()}
            for _ in range(_GENERATED)
        ]
        return samples
    samples.names = [str(name) for name in getattr(model, "feature_names_in_", ())]
    samples.names = samples.names or [f"f{column}" for column in range(width(model))]
    samples.records = [{name: _number(draw) for name in samples.names} for _ in range(_GENERATED)]
    return samples


def _number(draw: Any) -> float:
    return float(draw.normal() * draw.choice(_MAGNITUDES))


def _fields_of(vectorizer: Any) -> dict[str, Any]:
    """Field → its values; none for a number."""
    fields: dict[str, Any] = {}
    for entry in vectorizer.feature_names_:
        name, equals, value = str(entry).partition(vectorizer.separator)
        values = fields.setdefault(name, [])
        if equals:
            values.append(value)
    return fields


def _features(vectorizer: Any, model: Any, samples: _Samples) -> Any:
    """What the model, or the vectorizer before it, is asked with. Raises Unable."""
    known = [{name: value for name, value in record.items() if value is not None} for record in samples.records]
    if vectorizer is not None:
        return vectorizer.transform(known)
    if hasattr(model, "steps") and _is_vectorizer(model.steps[0][1]):
        return known
    return samples.matrix if samples.matrix is not None else _table(model, samples)


def _table(model: Any, samples: _Samples) -> Any:
    """Records as numbers, as a frame, or as objects: what this model was most likely fitted on."""
    import numpy as np

    told = [str(name) for name in getattr(model, "feature_names_in_", ())]
    names = told if told and all(name in samples.names for name in told) else samples.names
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


def _ask(model: Any, features: Any) -> tuple[Any, ...]:
    """How it was asked, its classes as text, and its scores (n, columns) in double precision. Raises Unable."""
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
