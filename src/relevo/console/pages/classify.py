"""Ask a model and see what it says: a picture or a form, the answer, a bar for every label, and whether it was right.

model ─► manifest ─┬ image ──► upload or camera ─┐
                   └ record ─► form ─────────────┴► client.predict ─► answer beside what was sent ─► truth
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

#: Larger files are sent to the browser by an address of their own.
_INLINE = 200_000
_KINDS = ["png", "jpg", "jpeg", "jfif", "webp", "gif", "bmp", "tif", "tiff", "pgm", "ppm"]
_MOST_ANSWERS = 50


def show(here: Session) -> None:
    """The page."""
    words = here.words
    layout.heading(words["page.classify"], words["classify.lead"])
    name = model_picker.model_chosen(here)
    if name is None:
        return
    model = here.client.ask("GET", f"/models/{name}")
    if model["serving"] is None:
        layout.say(words["classify.unserved"], words("classify.unserved.next", model=name))
        return
    manifest = manifests.manifest(here, model["name"], model["serving"])
    given, told = st.columns(2, gap="medium")
    with given:
        if manifest.get("description"):
            layout.small(str(manifest["description"]))
        found = _picture(here, model) if manifest["input"]["type"] == "image" else _record(here, model, manifest)
    with told:
        _answer(here, found, manifest)


def _picture(here: Session, model: Mapping[str, Any]) -> Result | RelevoError | None:
    words = here.words
    way = st.segmented_control(
        words["classify.way"], ["file", "camera"], default="file", required=True, label_visibility="collapsed",
        format_func=lambda one: words[f"classify.{one}"], key="way",
    )  # fmt: skip
    if way == "camera":
        sent = st.camera_input(words["classify.camera"], label_visibility="collapsed", key=f"camera-{model['name']}")
    else:
        sent = st.file_uploader(words["classify.file"], type=_KINDS, label_visibility="collapsed", key=f"file-{model['name']}")
    if sent is None:
        return None
    found = _asked(here, model, sent)
    if isinstance(found, Result):
        _show_sent(sent, words)
    return found


def _asked(here: Session, model: Mapping[str, Any], sent: UploadedFile) -> Result | RelevoError:
    """The answer for this file; it is asked for once, however often the page runs."""
    kept: dict[tuple[str, str, int], Result | RelevoError] = st.session_state.setdefault("answers", {})
    key = (sent.file_id, model["name"], model["serving"])
    if key not in kept:
        for old in list(kept)[: max(0, len(kept) - _MOST_ANSWERS)]:
            del kept[old]
        kept[key] = _ask(here, model["name"], sent.getvalue())
    return kept[key]


def _ask(here: Session, model: str, payload: bytes | dict[str, Any]) -> Result | RelevoError:
    try:
        return here.client.predict(model, payload)
    except (AuthenticationError, UnavailableError):
        raise
    except RelevoError as error:
        return error


def _show_sent(sent: UploadedFile, words: Texts) -> None:
    """The picture as it was given; a tiny one enlarged, pixel by pixel."""
    content = sent.getvalue()
    if len(content) <= _INLINE:
        st.html(input_preview.shown(input_preview.of_bytes(input_preview.kind_of(content), content), words, sent.name))
    else:
        st.image(content)


def _record(here: Session, model: Mapping[str, Any], manifest: Mapping[str, Any]) -> Result | RelevoError | None:
    kept: dict[str, Result | RelevoError] = st.session_state.setdefault("records", {})
    name = f"{model['name']} {model['serving']}"
    record = record_form.ask(manifest["input"]["fields"], here.words, model=name)
    if record is not None:
        kept[name] = _ask(here, model["name"], record)
    return kept.get(name)


def _answer(here: Session, found: Result | RelevoError | None, manifest: Mapping[str, Any]) -> None:
    words = here.words
    if found is None:
        st.html('<div class="rv-waiting">' + layout.empty(words["classify.waiting"], words["classify.waiting.next"]) + "</div>")
        return
    if isinstance(found, RelevoError):
        layout.say_refused(words, found)
        return
    st.html(prediction.card(prediction.Told.of_result(found, manifest), words))
    layout.small(words("classify.kept", model=found.model, version=found.version, time=words.number(_ms(found), digits=3)))
    row = {"query_id": found.query_id, "model": found.model, "prediction": found.prediction}
    said = st.session_state.setdefault("said", {})
    if found.query_id not in said:
        kept = label_form.ask(here, row, manifest)
        if kept is None:
            return
        said[found.query_id] = kept
    st.html(f'<p class="rv-kept">{layout.safe(words("truth.kept", value=said[found.query_id]))}</p>')


def _ms(found: Result) -> float:
    """How long it took, as the server says: "0.002 s"."""
    return float(found.execution_time.partition(" ")[0] or 0) * 1000
