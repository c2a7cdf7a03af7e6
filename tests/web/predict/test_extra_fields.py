"""Extra fields for clients of older services, on every path."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.support.server import running

import relevo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.package.package import Package

pytest.importorskip("skl2onnx")

_OLD = {"churn": "is:leaves", "churn_probability": "probability:leaves"}
_CANONICAL = ["query_id", "model", "version", "prediction", "class", "confidence", "probabilities", "uncertain", "execution_time"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, churn_records: list[dict[str, Any]]) -> Iterator[str]:
    """A server of a small model with two extra fields."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression

    truth = [int(one["tenure"] < 30) for one in churn_records]
    vectorizer = DictVectorizer(sparse=False)
    model = LogisticRegression(max_iter=2000).fit(vectorizer.fit_transform(churn_records), truth)
    package = relevo.pack(
        (vectorizer, model), name="churn", samples=churn_records, labels=["stays", "leaves"], extra_fields=_OLD, figures=False
    )
    digits = _digits()
    with running(tmp_path_factory.mktemp("fields"), package, digits, default_model="churn") as server:
        yield server.url


def _digits() -> Package:
    """An image model, known by its file name, with an extra field for the digit seven."""
    from sklearn.datasets import load_digits
    from sklearn.tree import DecisionTreeClassifier

    pixels = load_digits()
    model = DecisionTreeClassifier(max_depth=6, random_state=0).fit(pixels.data, pixels.target)
    return relevo.pack(
        model,
        name="digits",
        samples=(pixels.images[:40] * 15).astype("uint8"),
        scale=1 / 15,
        extra_fields={"class": "prediction", "seven": "is:7"},
        synonyms=["clf.pickle"],
        figures=False,
    )


def _asked(url: str, record: dict[str, Any], *, chunked: bool) -> dict[str, Any]:
    body = json.dumps(record).encode()
    # A chunked body takes the ASGI path, a plain one the fast path.
    content = iter([body]) if chunked else body
    answer: dict[str, Any] = httpx.post(f"{url}/predict", content=content, headers={"content-type": "application/json"}).json()
    return answer


@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_carries_them_after_its_own(url: str, churn_records: list[dict[str, Any]], *, chunked: bool) -> None:
    """Extra fields follow the unchanged canonical fields and agree with them."""
    for record in churn_records[:20]:
        answer = _asked(url, record, chunked=chunked)
        assert list(answer) == [*_CANONICAL, *_OLD]
        assert answer["churn_probability"] == answer["probabilities"][1]
        assert answer["churn"] is (answer["prediction"] == "leaves")


def test_every_answer_of_a_batch_carries_them(url: str, churn_records: list[dict[str, Any]]) -> None:
    """Each prediction of a batch has the extra fields."""
    answers = httpx.post(f"{url}/models/churn/predict", json=churn_records[:5]).json()
    assert [list(answer)[-2:] for answer in answers] == [list(_OLD)] * 5


def test_a_client_of_relevo_reads_on(url: str, churn_records: list[dict[str, Any]]) -> None:
    """Relevo's own client ignores extra fields."""
    with relevo.Client(url) as client:
        assert client.predict("churn", churn_records[0]).prediction in ("stays", "leaves")


def test_they_are_documented(url: str) -> None:
    """The OpenAPI document lists the extra fields with their types, as required."""
    operation = httpx.get(f"{url}/openapi.json").json()["paths"]["/models/churn/predict"]["post"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"][0]
    assert schema["properties"]["churn"]["type"] == "boolean"
    assert schema["properties"]["churn_probability"]["type"] == "number"
    assert {*_OLD} <= {*schema["required"]}


# --- requests of old clients --------------------------------------------------------------------------------------------


def _ways(url: str, record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Responses to one record on all HTTP paths that return JSON."""
    texts = {name: str(value) for name, value in record.items() if value is not None}
    parts = {name: (None, text) for name, text in texts.items()}
    return {
        "json": httpx.post(f"{url}/predict", json=record).json(),
        "long": _asked(url, record, chunked=True),
        "batch": httpx.post(f"{url}/models/churn/predict", json=[record, record]).json()[1],
        "form": httpx.post(f"{url}/predict", data=texts).json(),
        "multipart": httpx.post(f"{url}/predict", files=parts).json(),
        "short": httpx.post(f"{url}/predict/", data=texts).json(),
    }


def test_an_unknown_field_is_ignored_and_told_on_every_way(url: str, churn_records: list[dict[str, Any]]) -> None:
    """An unknown field such as customerid is ignored with a warning on every path."""
    plain = httpx.post(f"{url}/predict", json=churn_records[0]).json()
    for way, answer in _ways(url, {**churn_records[0], "customerid": "8879-zkjof"}).items():
        assert answer.get("prediction") == plain["prediction"], (way, answer)
        assert ["customerid" in one for one in answer["warnings"]] == [True], (way, answer)
    spanish = httpx.post(f"{url}/predict", json={**churn_records[0], "customerid": 1}, headers={"accept-language": "es"}).json()
    assert spanish["warnings"] == ["Se han ignorado campos desconocidos: customerid."]
    assert "warnings" not in plain


def test_the_page_tells_what_was_ignored(url: str, churn_records: list[dict[str, Any]]) -> None:
    """The page shows the warning for an ignored form field."""
    page = httpx.post(f"{url}/submit?model=churn", data={**churn_records[0], "customerid": "8879-zkjof"})
    assert page.status_code == 200
    assert "Unknown fields were ignored: customerid." in page.text


def test_a_missing_field_counts_as_zero_and_is_told(url: str, churn_records: list[dict[str, Any]]) -> None:
    """A missing field counts as 0 with a warning; a misspelt name is an error."""
    record = {name: value for name, value in churn_records[0].items() if name != "tenure"}
    for way, answer in _ways(url, record).items():
        assert any("tenure" in one for one in answer["warnings"]), (way, answer)
    with relevo.Client(url) as client:
        assert any("tenure" in one for one in client.predict("churn", record).warnings)
    for name in ("Tenure", "tenur", "tenure_months"):
        refused = httpx.post(f"{url}/predict", json={**record, name: 4})
        assert (refused.status_code, refused.json()["field"]) == (422, name), refused.text


def test_an_old_client_calls_the_model_by_its_file(url: str, digit_pngs: list[bytes]) -> None:
    """`-F image=@… -F model=clf.pickle` works, with the digit as a number and the configured extra fields."""
    sent = {"image": ("a.png", digit_pngs[0])}
    answer = httpx.post(f"{url}/predict/", files=sent, data={"model": "clf.pickle"}).json()
    plain = httpx.post(f"{url}/models/digits/predict", files=sent).json()
    assert answer["prediction"] == int(plain["prediction"]), answer
    assert isinstance(answer["prediction"], int)
    assert (answer["class"], answer["seven"]) == (plain["prediction"], plain["prediction"] == "7")
    assert list(plain) == [*_CANONICAL, "seven"], "what every answer has keeps its meaning in the whole one"
    for path in ("/predict", "/submit", "/predict?model=clf.pickle", "/models/clf.pickle/predict", "/models/digits/predict"):
        response = httpx.post(f"{url}{path}", files=sent, data={} if "clf" in path else {"model": "clf.pickle"})
        assert response.status_code == 200, (path, response.text)


@pytest.mark.parametrize("path", ["/predict", "/predict/", "/submit", "/models/digits/predict"])
def test_a_selector_is_never_ignored(url: str, digit_pngs: list[bytes], path: str) -> None:
    """A selector for an unknown model, or one that differs from the path, is rejected."""
    sent = {"image": ("a.png", digit_pngs[0])}
    for query, form in (("", {"model": "nosuch"}), ("?model=nosuch", {}), ("?model=digits", {"model": "churn"})):
        response = httpx.post(f"{url}{path}{query}", files=sent, data=form)
        assert response.status_code in (404, 422), (path, query, form, response.text)
    both = httpx.post(f"{url}{path}?model=digits", files=sent, data={"model": "digits"})
    assert both.status_code == 200, both.text


def test_an_empty_record_is_answered_where_missing_fields_count_as_0(url: str) -> None:
    """`{}` is a record of zeros, alone and in a batch, with a warning for every field."""
    sentence = "Fields without a value that the model knows count as 0, as in the original: "
    alone, batch = httpx.post(f"{url}/predict", json={}), httpx.post(f"{url}/predict", json=[{}])
    assert (alone.status_code, batch.status_code) == (200, 200), alone.text + batch.text
    for answer in (alone.json(), *batch.json()):
        assert answer["warnings"] == [f"{sentence}tenure, monthlycharges, contract, partner."]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tenure": "41"}, "The field 'tenure' expects a number without quotes, but text came."),
        ({"contract": 7}, "The field 'contract' expects text, but a number came."),
        ({"contract": ["one_year"]}, "The field 'contract' expects text, but a list came."),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(
    url: str, churn_records: list[dict[str, Any]], change: dict[str, Any], told: str
) -> None:
    """A value of the wrong type gives 422 with the field, although a DictVectorizer would accept it."""
    refused = httpx.post(f"{url}/predict", json={**churn_records[0], **change})
    assert refused.status_code == 422
    assert refused.json()["error"] == told


def test_a_comma_in_a_form_is_refused_or_shown_back(url: str, churn_records: list[dict[str, Any]]) -> None:
    """`monthlycharges=1,234` is an error in English; in Spanish it is 1.234, with a remark."""
    texts = {**{name: str(value) for name, value in churn_records[0].items()}, "monthlycharges": "1,234"}
    for path in ("/predict", "/predict/", "/submit?lang=en"):
        refused = httpx.post(f"{url}{path}", data=texts)
        assert refused.status_code == 422, refused.text
        assert "monthlycharges" in refused.text
    answer = httpx.post(f"{url}/predict?lang=es", data=texts).json()
    assert answer["warnings"] == ["La coma se ha leído como separador decimal: monthlycharges = 1.234."]
    plain = httpx.post(f"{url}/predict", json={**churn_records[0], "monthlycharges": 1.234}).json()
    assert answer["probabilities"] == plain["probabilities"]
    page = httpx.post(f"{url}/submit?lang=es", data=texts).text
    assert 'value="1.234"' in page
