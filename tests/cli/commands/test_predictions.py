"""`relevo predict` and `Client.predict_many` when some inputs fail, with a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.support.server import running

from relevo.client import Client
from relevo.errors import (
    BrokenImageError,
    InvalidFieldError,
    InvalidInputError,
    InvalidParameterError,
    MissingInputError,
    ModelNotFoundError,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from relevo.package.package import Package

pd = pytest.importorskip("pandas")
MOST_ROWS = 7

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, digits_package: Package, churn_package: Package) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("predict"), digits_package, churn_package, max_records_per_request=MOST_ROWS) as server:
        yield server.url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as found:
        yield found


@pytest.fixture
def files(tmp_path: Path, digit_pngs: list[bytes]) -> list[str]:
    """Three images and one file that is no image."""
    contents = {"a.png": digit_pngs[0], "b.png": digit_pngs[1], "broken.png": digit_pngs[2][:60], "c.png": digit_pngs[3]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return list(contents)


def test_pictures_that_were_answered_are_printed(relevo_run: Run, url: str, tmp_path: Path, files: list[str]) -> None:
    """Three predictions on standard output, the invalid file on standard error, and a nonzero exit code."""
    ended = relevo_run("predict", *files, "--model", "digits", "--url", url, cwd=tmp_path)
    assert ended.returncode == 1
    assert [line.split()[0] for line in ended.stdout.splitlines()] == ["input", "a.png", "b.png", "c.png"]
    assert "broken.png" in ended.stderr
    assert "(broken_image)" in ended.stderr
    ended = relevo_run("predict", *files, "--model", "digits", "--url", url, "--json", cwd=tmp_path)
    output = json.loads(ended.stdout)
    assert ended.returncode == 1
    assert ["query_id" in one for one in output] == [True, True, False, True]
    assert (output[2]["input"], output[2]["code"]) == ("broken.png", "broken_image")


def test_a_bad_record_is_named_by_its_place(relevo_run: Run, url: str, tmp_path: Path, churn_records: list[dict[str, Any]]) -> None:
    """An invalid record is named by file and index, the others are predicted; also in Spanish."""
    (tmp_path / "rows.json").write_text(json.dumps([*churn_records[:10], {**churn_records[0], "tenure": "long"}]))
    ended = relevo_run("predict", "rows.json", "--model", "churn", "--url", url, cwd=tmp_path, RELEVO_LANGUAGE="es")
    assert ended.returncode == 1
    assert len(ended.stdout.splitlines()) == 11
    assert "rows.json[10]: El campo 'tenure'" in ended.stderr


def test_answers_come_with_the_error(client: Client, churn_records: list[dict[str, Any]]) -> None:
    """Invalid records are named by their index in the caller's list; all others are predicted exactly once."""
    before = len(list(client.all_history(model="churn")))
    records = [dict(churn_records[place % len(churn_records)]) for place in range(30)]
    bad = {3: "contract", 4: "tenure", 29: "tenure"}
    for place, name in bad.items():
        records[place][name] = {"no": "value"}
    done: list[int] = []
    with pytest.raises(InvalidFieldError, match=r"^inputs\[3\]: .*'contract'.* 2 more failed\. 27 of 30") as caught:
        client.predict_many("churn", records, progress=done.append)
    error = caught.value
    assert {place: failed.field for place, failed in error.failures.items()} == bad
    assert [place for place, one in enumerate(error.results) if one is None] == [*bad]
    assert done[-1] == len(records)
    client.prediction(error.results[28].query_id)
    assert len(list(client.all_history(model="churn"))) == before + 27


def test_batches_fit_the_server(client: Client, churn_records: list[dict[str, Any]]) -> None:
    """Batches respect the server's limit and keep the order."""
    records = churn_records[:25]
    together = client.predict_many("churn", records)
    alone = [client.predict("churn", one) for one in records]
    assert [one.prediction for one in together] == [one.prediction for one in alone]
    assert [one.confidence for one in together] == pytest.approx([one.confidence for one in alone])


def test_pictures_are_named_too(client: Client, tmp_path: Path, files: list[str]) -> None:
    """Errors contain path and index; a missing file does not affect other inputs."""
    paths = [tmp_path / name for name in [*files, "nowhere.png"]]
    with pytest.raises(BrokenImageError, match=r"inputs\[2\] \('.*broken\.png'\)") as caught:
        client.predict_many("digits", paths)
    assert [one is None for one in caught.value.results] == [False, False, True, False, True]
    assert isinstance(caught.value.failures[4], MissingInputError)


def test_what_every_input_would_meet_is_met_once(client: Client, churn_records: list[dict[str, Any]]) -> None:
    """An unknown model fails at the first input; the others are not sent."""
    for given in ([b"\x89PNG"] * 50, churn_records[:20]):
        with pytest.raises(ModelNotFoundError) as caught:
            client.predict_many("nobody", given)
        assert len(caught.value.failures) < 10


def test_several_inputs_are_several_answers(client: Client, churn_records: list[dict[str, Any]]) -> None:
    """`predict` of a list returns a list, as of a DataFrame."""
    two = client.predict("churn", churn_records[:2])
    assert [one.model for one in two] == ["churn", "churn"]
    assert client.predict("churn", []) == []


def test_notebooks_values_are_taken(client: Client, churn_records: list[dict[str, Any]]) -> None:
    """DataFrames, their rows and records with NumPy scalars are handled like dicts; NaN is a missing value."""
    records = churn_records[:9]
    frame = pd.DataFrame(records)
    plain = [one.probabilities for one in client.predict_many("churn", records)]
    scalars = [{name: np.asarray(value)[()] for name, value in one.items()} for one in records]
    assert any(isinstance(value, np.str_) for value in scalars[0].values())
    assert any(isinstance(value, np.float64) for value in scalars[0].values())
    for several in (frame, frame.astype({"contract": "category"}), [row for _, row in frame.iterrows()], scalars):
        assert [one.probabilities for one in client.predict_many("churn", several)] == plain
    assert [one.probabilities for one in client.predict("churn", frame)] == plain
    assert client.predict("churn", frame.iloc[1]).probabilities == plain[1]
    answer = client.predict("churn", scalars[2])
    assert answer.probabilities == plain[2]
    assert client.label(answer.query_id, np.array(["leaves"])[0])["value"] == "leaves"


@pytest.mark.parametrize("given", [np.zeros(3), 3.5, None, {1, 2}], ids=["array", "number", "nothing", "set"])
def test_what_is_no_input_is_said_so(client: Client, given: Any) -> None:
    """An unsupported type gives an error that names the supported ones."""
    with pytest.raises(InvalidInputError, match="a record as a dict"):
        client.predict("churn", given)
    with pytest.raises(InvalidInputError, match="a record as a dict"):
        client.predict_many("churn", [given])


def test_one_input_is_not_many(client: Client, churn_records: list[dict[str, Any]]) -> None:
    """A single record or path for predict_many is an error; duplicate column names are too."""
    for given in (churn_records[0], "a.png", b"\x89PNG", 3):
        with pytest.raises(InvalidInputError, match="for a single one use predict"):
            client.predict_many("churn", given)  # type: ignore[arg-type]  # what people try
    frame = pd.DataFrame([[1, 2]], columns=["tenure", "tenure"])
    with pytest.raises(InvalidInputError, match="'tenure'"):
        client.predict_many("churn", frame)


def test_a_value_that_json_has_not_is_named(client: Client, churn_records: list[dict[str, Any]]) -> None:
    """The error names the field and the index of the record."""
    with pytest.raises(InvalidInputError, match=r"inputs\[1\]: The field 'tenure' cannot be sent") as caught:
        client.predict_many("churn", [churn_records[0], {**churn_records[1], "tenure": 3 + 4j}])
    assert caught.value.field == "tenure"
    assert caught.value.results[0] is not None


def test_infinity_is_refused_by_its_field(
    client: Client, relevo_run: Run, url: str, tmp_path: Path, churn_records: list[dict[str, Any]]
) -> None:
    """Infinity is not sent as null: the error names the field, in Python and on the command line."""
    endless = {**churn_records[0], "monthlycharges": float("inf")}
    with pytest.raises(InvalidInputError, match="'monthlycharges' expects a finite number") as caught:
        client.predict("churn", endless)
    assert caught.value.field == "monthlycharges"
    with pytest.raises(InvalidInputError, match=r"inputs\[2\]: The field 'monthlycharges' expects a finite number") as caught:
        client.predict_many("churn", [*churn_records[:2], endless])
    assert [one is not None for one in caught.value.results] == [True, True, False]
    for text in (json.dumps(endless), json.dumps(endless).replace("Infinity", "1e999")):
        ended = relevo_run("predict", text, "--model", "churn", "--url", url, cwd=tmp_path)
        assert ended.returncode == 1
        assert "'monthlycharges'" in ended.stderr


def test_a_warning_is_shown(relevo_run: Run, url: str, tmp_path: Path, churn_records: list[dict[str, Any]]) -> None:
    """Warnings of the server are printed on standard error."""
    text = json.dumps({**churn_records[0], "customerid": "8879-zkjof"})
    ended = relevo_run("predict", text, "--model", "churn", "--url", url, cwd=tmp_path)
    assert ended.returncode == 0
    assert "Unknown fields were ignored: customerid." in ended.stderr


def test_times_are_taken_as_people_have_them(client: Client, churn_records: list[dict[str, Any]]) -> None:
    """Dates, datetimes and texts, with and without offset, filter the history; an invalid one is an error."""
    last = client.predict("churn", churn_records[0]).query_id
    client.prediction(last)
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    west = (now - hour).astimezone(timezone(-5 * hour))
    local = (now - hour).astimezone().replace(tzinfo=None)
    past = (now.date() - 2 * timedelta(days=1), west, west.isoformat(), local, str(local), pd.Timestamp(west), np.datetime64(local))
    for since in past:
        assert client.history(since=since, limit=1).items[0]["query_id"] == last
        assert last not in [one["query_id"] for one in client.all_history(until=since)]
    for wrong in ("yesterday", "31/01/2026", "2026-02-30"):
        with pytest.raises(InvalidParameterError, match=r"'since' expects a time, like 2026-01-31, .*\+01:00"):
            client.history(since=wrong)


def test_a_refused_batch_names_its_row_over_http(client: Client, churn_records: list[dict[str, Any]]) -> None:
    """A rejected batch names its row, counted from 0."""
    with pytest.raises(InvalidFieldError) as caught:
        client.request_json("POST", "/models/churn/predict", json=[churn_records[0], {**churn_records[1], "tenure": "x"}])
    assert caught.value.facts["row"] == 1
