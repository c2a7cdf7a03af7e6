"""The classify page: sends an image or a record to a model, and shows the prediction with a form to label it.

model ─► manifest ─┬ image ──► upload or camera ─┐
                   └ record ─► form ─────────────┴► client.predict ─► prediction next to the input ─► label
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from relevo.client import Result
from relevo.console import layout, manifests
from relevo.console.components import input_preview, label_form, model_picker, prediction, record_form
from relevo.errors import AuthenticationError, RelevoError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from relevo.console.session import Session
    from relevo.console.texts import Texts

#: Bytes; larger images get a URL of their own instead of a data: URI.
_MAX_INLINE_BYTES = 200_000
_FILE_EXTENSIONS = ["png", "jpg", "jpeg", "jfif", "webp", "gif", "bmp", "tif", "tiff", "pgm", "ppm"]
_MAX_CACHED = 50


def show(session: Session) -> None:
    """Draws the page."""
    texts = session.texts
    layout.heading(texts["page.classify"], texts["classify.lead"])
    name = model_picker.pick_model(session)
    if name is None:
        return
    model = session.client.request_json("GET", f"/models/{name}")
    if model["serving"] is None:
        layout.show_empty_state(texts["classify.unserved"], texts("classify.unserved.next", model=name))
        return
    manifest = manifests.load(session, model["name"], model["serving"])
    input_column, output_column = st.columns(2, gap="medium")
    with input_column:
        if manifest.get("description"):
            layout.caption(str(manifest["description"]))
        result = _image_input(session, model) if manifest["input"]["type"] == "image" else _record_input(session, model, manifest)
    with output_column:
        _show_result(session, result, manifest)


def _image_input(session: Session, model: Mapping[str, Any]) -> Result | RelevoError | None:
    texts = session.texts
    source = st.segmented_control(
        texts["classify.way"], ["file", "camera"], default="file", required=True, label_visibility="collapsed",
        format_func=lambda name: texts[f"classify.{name}"], key="way",
    )  # fmt: skip
    if source == "camera":
        file = st.camera_input(texts["classify.camera"], label_visibility="collapsed", key=f"camera-{model['name']}")
    else:
        file = st.file_uploader(
            texts["classify.file"], type=_FILE_EXTENSIONS, label_visibility="collapsed", key=f"file-{model['name']}"
        )
    if file is None:
        return None
    result = _predict_once(session, model, file)
    if isinstance(result, Result):
        _show_image(file, texts)
    return result


def _predict_once(session: Session, model: Mapping[str, Any], file: UploadedFile) -> Result | RelevoError:
    """The result for this file; one request, however often the page runs."""
    cache: dict[tuple[str, str, int], Result | RelevoError] = st.session_state.setdefault("answers", {})
    key = (file.file_id, model["name"], model["serving"])
    if key not in cache:
        for oldest in list(cache)[: max(0, len(cache) - _MAX_CACHED)]:
            del cache[oldest]
        cache[key] = _predict(session, model["name"], file.getvalue())
    return cache[key]


def _predict(session: Session, model: str, payload: bytes | dict[str, Any]) -> Result | RelevoError:
    try:
        return session.client.predict(model, payload)
    except (AuthenticationError, UnavailableError):
        raise
    except RelevoError as error:
        return error


def _show_image(file: UploadedFile, texts: Texts) -> None:
    """The image as it was sent; a tiny one is enlarged without smoothing."""
    content = file.getvalue()
    if len(content) <= _MAX_INLINE_BYTES:
        st.html(input_preview.render(input_preview.from_bytes(input_preview.media_type(content), content), texts, file.name))
    else:
        st.image(content)


def _record_input(session: Session, model: Mapping[str, Any], manifest: Mapping[str, Any]) -> Result | RelevoError | None:
    cache: dict[str, Result | RelevoError] = st.session_state.setdefault("records", {})
    name = f"{model['name']} {model['serving']}"
    record = record_form.show(manifest["input"]["fields"], session.texts, model=name)
    if record is not None:
        cache[name] = _predict(session, model["name"], record)
    return cache.get(name)


def _show_result(session: Session, result: Result | RelevoError | None, manifest: Mapping[str, Any]) -> None:
    texts = session.texts
    if result is None:
        st.html(
            '<div class="rv-waiting">' + layout.empty_state(texts["classify.waiting"], texts["classify.waiting.next"]) + "</div>"
        )
        return
    if isinstance(result, RelevoError):
        layout.show_error(texts, result)
        return
    st.html(prediction.card(prediction.PredictionOut.from_result(result, manifest), texts))
    layout.caption(
        texts("classify.kept", model=result.model, version=result.version, time=texts.number(_latency_ms(result), digits=3))
    )
    row = {"query_id": result.query_id, "model": result.model, "prediction": result.prediction}
    labels = st.session_state.setdefault("given-labels", {})
    if result.query_id not in labels:
        label = label_form.show(session, row, manifest)
        if label is None:
            return
        labels[result.query_id] = label
    st.html(f'<p class="rv-kept">{layout.escape(texts("truth.kept", value=labels[result.query_id]))}</p>')


def _latency_ms(result: Result) -> float:
    """The latency; the server sends it in seconds: "0.002 s"."""
    return float(result.execution_time.partition(" ")[0] or 0) * 1000
