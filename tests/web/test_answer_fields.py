"""Clients of an older service find the fields they read, whichever way their request goes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.serving_world import running

import relevo

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    with running(tmp_path_factory.mktemp("fields"), package) as server:
        yield server.url


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
