"""Clients of an older service find the fields they read, whichever way their request goes."""

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
    """A server of a small model whose answers carry two fields of an older service."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression

    truth = [int(one["tenure"] < 30) for one in churn_records]
    vectorizer = DictVectorizer(sparse=False)
    model = LogisticRegression(max_iter=2000).fit(vectorizer.fit_transform(churn_records), truth)
    package = relevo.pack(
        (vectorizer, model), name="churn", samples=churn_records, labels=["stays", "leaves"], answer=_OLD, figures=False
    )
    digits = _digits()
    with running(tmp_path_factory.mktemp("fields"), package, digits, default_model="churn") as server:
        yield server.url


def _digits() -> Package:
    """Pictures, for a client that knows the model by its file and reads whether it was a seven under a name of ours."""
    from sklearn.datasets import load_digits
    from sklearn.tree import DecisionTreeClassifier

    pixels = load_digits()
    model = DecisionTreeClassifier(max_depth=6, random_state=0).fit(pixels.data, pixels.target)
    return relevo.pack(
        model,
        name="digits",
        samples=(pixels.images[:40] * 15).astype("uint8"),
        scale=1 / 15,
        answer={"class": "prediction", "seven": "is:7"},
        synonyms=["clf.pickle"],
        figures=False,
    )


def _asked(url: str, record: dict[str, Any], *, chunked: bool) -> dict[str, Any]:
    body = json.dumps(record).encode()
    # A body in chunks takes the long way, a plain one the short.
    content = iter([body]) if chunked else body
    answer: dict[str, Any] = httpx.post(f"{url}/predict", content=content, headers={"content-type": "application/json"}).json()
    return answer


@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_carries_them_after_its_own(url: str, churn_records: list[dict[str, Any]], *, chunked: bool) -> None:
    """The canonical fields come first and unchanged; then the old ones, which agree with them."""
    for record in churn_records[:20]:
        answer = _asked(url, record, chunked=chunked)
        assert list(answer) == [*_CANONICAL, *_OLD]
        assert answer["churn_probability"] == answer["probabilities"][1]
        assert answer["churn"] is (answer["prediction"] == "leaves")


def test_every_answer_of_a_batch_carries_them(url: str, churn_records: list[dict[str, Any]]) -> None:
    """A list of records is answered with the same fields each."""
    answers = httpx.post(f"{url}/models/churn/predict", json=churn_records[:5]).json()
    assert [list(answer)[-2:] for answer in answers] == [list(_OLD)] * 5


def test_a_client_of_relevo_reads_on(url: str, churn_records: list[dict[str, Any]]) -> None:
    """Fields it does not know do not disturb our own client."""
    with relevo.Client(url) as client:
        assert client.predict("churn", churn_records[0]).prediction in ("stays", "leaves")


def test_they_are_documented(url: str) -> None:
    """The API's document gives each its type, and says that it always comes."""
    operation = httpx.get(f"{url}/openapi.json").json()["paths"]["/models/churn/predict"]["post"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"][0]
    assert schema["properties"]["churn"]["type"] == "boolean"
    assert schema["properties"]["churn_probability"]["type"] == "number"
    assert {*_OLD} <= {*schema["required"]}


# --- the old clients' own requests --------------------------------------------------------------------------------------


def _ways(url: str, record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The answer to one record by every way in over HTTP that answers JSON."""
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
    """A client that sends customerid gets the original's answer and a warning that names the field, however it asks."""
    plain = httpx.post(f"{url}/predict", json=churn_records[0]).json()
    for way, answer in _ways(url, {**churn_records[0], "customerid": "8879-zkjof"}).items():
        assert answer.get("prediction") == plain["prediction"], (way, answer)
        assert ["customerid" in one for one in answer["warnings"]] == [True], (way, answer)
    spanish = httpx.post(f"{url}/predict", json={**churn_records[0], "customerid": 1}, headers={"accept-language": "es"}).json()
    assert spanish["warnings"] == ["Se han ignorado campos desconocidos: customerid."]
    assert "warnings" not in plain


def test_the_page_tells_what_was_ignored(url: str, churn_records: list[dict[str, Any]]) -> None:
    """A form with a field too many is answered on the page, with the warning beside the answer."""
    page = httpx.post(f"{url}/submit?model=churn", data={**churn_records[0], "customerid": "8879-zkjof"})
    assert page.status_code == 200
    assert "Unknown fields were ignored: customerid." in page.text


def test_a_missing_field_counts_as_zero_and_is_told(url: str, churn_records: list[dict[str, Any]]) -> None:
    """What the original counted as 0 is answered with a warning; a slip of the pen in its name is refused."""
    record = {name: value for name, value in churn_records[0].items() if name != "tenure"}
    for way, answer in _ways(url, record).items():
        assert any("tenure" in one for one in answer["warnings"]), (way, answer)
    with relevo.Client(url) as client:
        assert any("tenure" in one for one in client.predict("churn", record).warnings)
    for name in ("Tenure", "tenur", "tenure_months"):
        refused = httpx.post(f"{url}/predict", json={**record, name: 4})
        assert (refused.status_code, refused.json()["field"]) == (422, name), refused.text


def test_an_old_client_calls_the_model_by_its_file(url: str, digit_pngs: list[bytes]) -> None:
    """`-F image=@… -F model=clf.pickle` is answered, its digit a number, and its other fields as [answer] says."""
    sent = {"image": ("a.png", digit_pngs[0])}
    answer = httpx.post(f"{url}/predict/", files=sent, data={"model": "clf.pickle"}).json()
    plain = httpx.post(f"{url}/models/digits/predict", files=sent).json()
    assert answer["prediction"] == int(plain["prediction"]), answer
    assert isinstance(answer["prediction"], int)
    assert (answer["class"], answer["seven"]) == (plain["prediction"], plain["prediction"] == "7")
    assert list(plain) == [*_CANONICAL, "seven"], "what every answer has keeps its meaning in the whole one"
    for path in ("/predict", "/submit", "/predict?model=clf.pickle", "/models/clf.pickle/predict", "/models/digits/predict"):
        told = httpx.post(f"{url}{path}", files=sent, data={} if "clf" in path else {"model": "clf.pickle"})
        assert told.status_code == 200, (path, told.text)


@pytest.mark.parametrize("path", ["/predict", "/predict/", "/submit", "/models/digits/predict"])
def test_a_selector_is_never_ignored(url: str, digit_pngs: list[bytes], path: str) -> None:
    """Whoever names a model that is not there, or not the one of the address, is refused, whichever way it is named."""
    sent = {"image": ("a.png", digit_pngs[0])}
    for query, form in (("", {"model": "nosuch"}), ("?model=nosuch", {}), ("?model=digits", {"model": "churn"})):
        told = httpx.post(f"{url}{path}{query}", files=sent, data=form)
        assert told.status_code in (404, 422), (path, query, form, told.text)
    both = httpx.post(f"{url}{path}?model=digits", files=sent, data={"model": "digits"})
    assert both.status_code == 200, both.text


def test_an_empty_record_is_answered_where_missing_fields_count_as_0(url: str) -> None:
    """`{}` is all zeros to the original: it is answered alone and in a batch, and the warning names every field."""
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
    """Though a DictVectorizer makes something of it: 422 with the field, and what it takes."""
    refused = httpx.post(f"{url}/predict", json={**churn_records[0], **change})
    assert refused.status_code == 422
    assert refused.json()["error"] == told


def test_a_comma_in_a_form_is_refused_or_shown_back(url: str, churn_records: list[dict[str, Any]]) -> None:
    """`monthlycharges=1,234` is no 1.234 in English; in Spanish it is, and the answer says so."""
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
