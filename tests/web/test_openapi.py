"""The OpenAPI document and its page: complete, correct, and without external hosts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.web_app import CHURN

from relevo.i18n.catalog import LANGUAGES, facts_in, said, texts
from relevo.web.auth.access_rules import RULES
from relevo.web.middleware.core import PREDICT_PATHS
from relevo.web.openapi import chapters, record_schema

if TYPE_CHECKING:
    import httpx


#: Paths for browsers only, and the path that is documented once for each model.
_PAGES = {"/", "/docs", "/openapi.json", "/favicon.ico", "/static/{address}", "/feedback", "/history", "/health"}
_PAGES |= {"/models/{name}/predict", "/login/oidc", "/login/oidc/callback", "/login/console"}


def test_every_route_is_documented(client: httpx.Client) -> None:
    """Each path is in the document, each operation with a summary and the common error body."""
    whole = client.get("/openapi.json").json()
    asked = {rule.path for rule in RULES} - _PAGES
    assert whole["paths"].keys() == asked | {f"/models/{name}/predict" for name in ("churn", "digits", "rent")}
    for path, item in whole["paths"].items():
        for operation in item.values():
            assert operation["summary"], path
            for status, facts in operation["responses"].items():
                if status >= "400" and path not in {"/health/ready", "/submit"}:
                    assert facts["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody"), (path, status)
    assert "HTTPValidationError" not in whole["components"]["schemas"]


def test_a_models_schema_is_its_signature() -> None:
    """Types, ranges, closed lists and optional fields match the signature."""
    schema: dict[str, Any] = record_schema(CHURN.input)  # type: ignore[arg-type]  # churn takes records
    assert schema["required"] == ["tenure", "monthlycharges", "contract", "paperless"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["tenure"] | {} == {
        "type": "integer",
        "minimum": 0,
        "maximum": 120,
        "description": "months",
        "examples": [41],
    }
    assert schema["properties"]["contract"]["enum"] == ["month-to-month", "one_year", "two_year"]
    assert schema["properties"]["city"]["type"] == ["string", "null"]


def test_the_docs_page_shows_every_operation_without_a_script(client: httpx.Client) -> None:
    """All paths are in the page itself, in both languages."""
    html = client.get("/docs").text
    assert "<script" not in html
    for path in client.get("/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in html
    assert "Todo lo que este servidor responde" in client.get("/docs?lang=es").text


def _texts(part: Any) -> set[str]:
    """The translatable texts of the document, including those of body schemas."""
    if isinstance(part, list):
        return set().union(*map(_texts, part))
    if not isinstance(part, dict):
        return set()
    own = {part[name] for name in ("summary", "description") if isinstance(part.get(name), str)}
    bodies = set().union(*(_texts(json.loads(one)) for one in part.get("bodies", {}).values()))
    return own | bodies | set().union(*(_texts(value) for value in part.values()))


#: Texts of the models' packages.
_THEIRS = {"", "$", "m²", "months"}


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_the_docs_page_is_whole_in_each_language(client: httpx.Client, language: str) -> None:
    """All texts are translated, and the catalogue has no unused entries."""
    whole = client.get("/openapi.json").json()
    english = dict(chapters(whole, "en"))
    says = _texts(list(english.values())) | english.keys()
    says |= {one["in"] for operations in english.values() for operation in operations for one in operation["parameters"]}
    assert sorted(text for text in says - _THEIRS if said(text, language) == text) == []
    assert sorted(text for text in texts("api", language) if not any(_is_of(text, one) for one in says)) == []


def _is_of(template: str, text: str) -> bool:
    return text == template or ("{" in template and facts_in(template, text) is not None)


def test_predict_paths_go_to_the_raw_handlers() -> None:
    """Exactly the predict paths bypass FastAPI."""
    taken = ["/predict", "/predict/", "/submit", "/models/digits/predict"]
    assert all(PREDICT_PATHS.fullmatch(path) for path in taken)
    left = ["/", "/predictions", "/models/a/b/predict", "/models//predict", "/submit/", "/models/digits/predict/x"]
    assert not any(PREDICT_PATHS.fullmatch(path) for path in left)
