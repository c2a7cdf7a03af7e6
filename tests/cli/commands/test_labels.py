"""`relevo label` with a CSV file: import, rejected lines, export and curation."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.web_app import CHURN, DIGITS, World, build_world, served
from tests.support.web_app import prediction as asked_of_web

import relevo.server
from relevo.cli.app import run
from relevo.config import Settings
from relevo.domain import ids
from relevo.domain.prediction import Arm, InputKind, Label, PredictionRecord
from relevo.testing import memory_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from relevo.server import Store

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A home with a two-label model and five predictions of customers 1 to 5; the last two share one customer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RELEVO_LANGUAGE", "en")
    made = relevo.server.open_store(Settings(home=tmp_path / "home"))
    made.registry.add(
        model="churn", digest="0" * 64, summary={"task": "classification", "labels": ["stays", "leaves"]}, author="t", at=NOW
    )
    made.predictions.insert([prediction(number, min(number, 4)) for number in range(1, 6)])
    yield made
    made.engine.dispose()


def prediction(number: int, customer: int) -> PredictionRecord:
    record = json.dumps({"customer": customer, "tenure": 5}).encode()
    return PredictionRecord(
        id=id_of(number),
        at_us=number * 1000,
        model="churn",
        version=1,
        arm=Arm.CHAMPION,
        propensity=1.0,
        epoch=1,
        kind=InputKind.RECORD,
        input=record,
        input_bytes=len(record),
        predicted_label="stays",
        confidence=0.9,
    )


def id_of(number: int) -> bytes:
    return ids.new_id(number, bytes(10))


def query_id(number: int) -> str:
    return ids.text(id_of(number))


def asked(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """The JSON output of a command with the expected exit code."""
    assert run([*arguments, "--home", "home", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_labels_come_from_a_file(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line is imported or rejected with a reason; corrected lines can be imported; a repetition changes nothing."""
    rows = [
        (query_id(1), "leaves", "eva", "seen in person"),
        (query_id(2), "stays", "", ""),
        (query_id(3), "", "", ""),
        (query_id(3), "dog", "", ""),
        (NOBODY, "stays", "", ""),
        ("not an id", "stays", "", ""),
    ]
    file, rejects = tmp_path / "l.csv", tmp_path / "rejects.csv"
    file.write_text("query_id;label;author;note\n" + "".join(";".join(row) + "\n" for row in rows), encoding="utf-8-sig")
    command = ("label", "import", str(file), "--author", "ana", "--rejects", str(rejects))
    output = asked(capsys, *command, code=1)
    assert (output["kept"], output["unchanged"], output["without_label"]) == (2, 0, 1)
    assert [(one["line"], one["about"]) for one in output["refused"]] == [(5, query_id(3)), (6, NOBODY), (7, "not an id")]
    assert "stays, leaves" in output["refused"][0]["reason"]
    kept = {number: store.labels.resolved(id_of(number)) for number in (1, 2, 3)}
    assert [label and (label.value, label.author, label.source, label.note) for label in kept.values()] == [
        ("leaves", "eva", "csv", "seen in person"),
        ("stays", "ana", "csv", ""),
        None,
    ]
    assert asked(capsys, *command, code=1)["unchanged"] == 2
    mended = rejects.read_text().replace("dog", "leaves")
    rejects.write_text("\n".join(mended.splitlines()[:2]), encoding="utf-8")
    assert asked(capsys, "label", "import", str(rejects))["kept"] == 1


def test_two_truths_in_one_file_are_told(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two labels for one prediction the later line wins; the lines and the rule are reported."""
    file = tmp_path / "l.csv"
    rows = [(1, "leaves"), (2, "stays"), (1, "leaves"), (1, "stays")]
    file.write_text("id,label\n" + "".join(f"{query_id(number)},{label}\n" for number, label in rows), encoding="utf-8")
    output = asked(capsys, "label", "import", str(file))
    assert output["contradictions"] == [{"line": 5, "before": 4, "about": query_id(1), "label": "stays", "label_before": "leaves"}]
    assert output["rule"] == "last"
    current = store.labels.resolved(id_of(1))
    assert current is not None
    assert current.value == "stays"
    assert run(["label", "import", str(file), "--home", "home"]) == 0
    printed = capsys.readouterr()
    assert "the later line counts" in printed.err
    assert "label_aggregation = last" in printed.err
    assert query_id(1) in printed.out


def test_two_truths_by_one_s_own_key_are_told(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same with lines that use a record key."""
    assert store
    file = tmp_path / "l.csv"
    file.write_text("customer,label\n1,leaves\n2,leaves\n1,stays\n", encoding="utf-8")
    output = asked(capsys, "label", "import", str(file), "--match", "customer", "--model", "churn")
    assert [(one["line"], one["before"]) for one in output["contradictions"]] == [(4, 2)]


def test_what_was_refused_opens_in_a_spreadsheet(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cells of rejected lines cannot become formulas; corrected and imported, they are unchanged."""
    file, rejects = tmp_path / "l.csv", tmp_path / "rejects.csv"
    file.write_text(f'id,label,author,note,=A1\n{ids.text(id_of(1))},=cmd,@ana,"\t=1+1",-x\n', encoding="utf-8")
    asked(capsys, "label", "import", str(file), "--rejects", str(rejects), code=1)
    written = rejects.read_text(encoding="utf-8")
    cells = [cell for row in csv.reader(io.StringIO(written)) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))]
    rejects.write_text(written.replace("'=cmd", "leaves"), encoding="utf-8")
    assert asked(capsys, "label", "import", str(rejects))["kept"] == 1
    given = store.labels.for_prediction(id_of(1))[0]
    assert (given.author, given.note) == ("@ana", "=1+1")


def test_labels_come_by_ones_own_key(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A unique record key finds its prediction; an unknown or ambiguous one is rejected."""
    file = tmp_path / "l.csv"
    file.write_text("client,truth\n1,leaves\n4,leaves\n9,leaves\n", encoding="utf-8")
    command = ("label", "import", str(file), "--match", "client", "--field", "customer", "--model", "churn")
    output = asked(capsys, *command, code=1)
    assert output["kept"] == 1
    assert store.labels.resolved(id_of(1)) is not None
    assert [(one["about"], one["reason"].split()[0]) for one in output["refused"]] == [("4", "Several"), ("9", "No")]


def test_what_is_exported_can_be_imported(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exported labels are the same after import into another home, with authors and notes."""
    note = "=cmd, \"quoted\"\nand 'more'"
    store.labels.put(Label(prediction=id_of(2), value="leaves", author="eva", source="page", at=NOW, note=note))
    assert run(["label", "export", "-", "--home", "home"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert (row["query_id"], row["prediction"], row["label"]) == (query_id(2), "stays", "leaves")
    file = tmp_path / "out.csv"
    assert run(["label", "export", str(file), "--home", "home"]) == 0
    other = relevo.server.open_store(Settings(home=tmp_path / "other"))
    other.registry.add(
        model="churn", digest="0" * 64, summary={"task": "classification", "labels": ["stays", "leaves"]}, author="t", at=NOW
    )
    other.predictions.insert([prediction(2, 2)])
    assert run(["label", "import", str(file), "--home", "other"]) == 0
    label = other.labels.resolved(id_of(2))
    assert label is not None
    assert (label.value, label.author, label.note) == ("leaves", "eva", note)
    other.engine.dispose()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a,b\n1,2\n", "no column"),
        (b"id,b\n1,2\n", "no column that is called one of 'label', 'truth', 'value'; it has id, b"),
        (b"", "The file cannot be imported: the file is empty."),
        (b"\nid,label\n", "its first line is empty"),
        (b"\xff\xfe,\n", "UTF-8"),
        (b'id,label\n"' + b"x" * 20_000, "no CSV"),
        (b"id,label\n" + b"x," * 600_000, "longer than 1000000"),
        (b"x" * 1_200_000, "longer than 1000000"),
    ],
)
def test_what_is_no_list_of_labels_is_told(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, told: str
) -> None:
    """A file with missing columns, another encoding or damage is an error."""
    file = tmp_path / "l.csv"
    file.write_bytes(content)
    assert run(["label", "import", str(file), "--home", "home"]) == 1
    assert told in capsys.readouterr().err
    assert store.labels.page().items == []


def test_one_label_needs_no_word_more(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`relevo label QUERY_ID LABEL` works with options before or after."""
    assert asked(capsys, "label", "--note", "x", query_id(1), "leaves")["value"] == "leaves"
    assert asked(capsys, "label", "give", query_id(1), "stays")["value"] == "stays"
    assert [label.value for label in store.labels.for_prediction(id_of(1))] == ["leaves", "stays"]


def test_cleaning_is_shown(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Excluded predictions are listed with reasons."""
    for number in (1, 4, 5):
        store.labels.put(Label(prediction=id_of(number), value="leaves", author="eva", source="page", at=NOW))
    result = asked(capsys, "label", "clean", "churn")
    assert (result["kept"], [(one["query_id"], one["reason"], one["other"]) for one in result["excluded"]]) == (
        2,
        [(query_id(5), "duplicate", query_id(4))],
    )
    assert run(["label", "clean", "churn", "--home", "home"]) == 0
    assert "Fit to be learnt from: 2 of 3." in capsys.readouterr().out


@pytest.fixture
def server() -> Iterator[tuple[str, World]]:
    """A server with models and without users, and its URL."""
    with memory_store() as memory:
        world = build_world(memory, [DIGITS, CHURN])
        with served(world.app) as address:
            yield address, world


def test_a_server_takes_and_gives_files(
    server: tuple[str, World], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --url, lines are sent one by one and rejected ones reported; export and curation also use the server."""
    monkeypatch.setenv("RELEVO_LANGUAGE", "en")
    url, world = server
    created = [asked_of_web(model="digits", label="7", input=b"no picture", kind=InputKind.IMAGE) for _ in range(2)]
    world.store.predictions.insert(created)
    one, two = (ids.text(it.id) for it in created)
    file, out = tmp_path / "l.csv", tmp_path / "out.csv"
    file.write_text(f"id,label,note\n{one},7,=x\n{two},dog,\n{NOBODY},7,\n{two},7,{'x' * 501}\n", encoding="utf-8")
    assert run(["label", "import", str(file), "--url", url, "--json"]) == 1
    output = json.loads(capsys.readouterr().out)
    assert (output["kept"], [refused["line"] for refused in output["refused"]]) == (1, [3, 4, 5])
    assert run(["label", "export", str(out), "--url", url, "--model", "digits"]) == 0
    assert capsys.readouterr().out == f"Written: {out}\n"
    (row,) = csv.DictReader(io.StringIO(out.read_text(encoding="utf-8")))
    assert (row["query_id"], row["label"], row["note"]) == (one, "7", "'=x")
    assert run(["label", "clean", "digits", "--url", url, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["kept"], [it["reason"] for it in result["excluded"]]) == (0, ["unreadable"])
    assert run(["label", "import", str(file), "--url", url, "--match", "id", "--model", "digits"]) == 1
    assert "leave --url out" in capsys.readouterr().err
