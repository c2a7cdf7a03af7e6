"""The prediction log on both databases: each prediction stored once, found by every filter, paged without gaps."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from relevo.domain.prediction import Arm, InputKind, Label, PredictionRecord
from relevo.errors import FieldRangeError, FieldTypeError, InputNotStoredError, PredictionNotFoundError
from relevo.store.files.blobs import Blobs
from relevo.store.prediction_filters import Filters
from relevo.store.predictions import INLINE_BYTES, PredictionStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

    from relevo.store.labels.labels import Labels

START = 1_700_000_000_000


def at(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def mixed(prediction: Callable[..., PredictionRecord], count: int) -> list[PredictionRecord]:
    """Predictions of two models, three versions and ten labels, some uncertain, one every other millisecond, shuffled."""
    draw = random.Random(5)  # noqa: S311 - a fixed mix
    made = [
        prediction(
            START + 2 * number,
            model=draw.choice(["digits", "digits", "churn"]),
            version=draw.choice([1, 2, 3]),
            label=draw.choice("0123456789"),
            uncertain=draw.random() < 0.1,
        )
        for number in range(count)
    ]
    draw.shuffle(made)
    return made


def pages(history: PredictionStore, limit: int, **filters: Any) -> list[bytes]:
    found: list[bytes] = []
    cursor = None
    while True:
        page = history.page(cursor=cursor, limit=limit, **filters)
        found += [item.prediction.id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


GRID: list[Filters] = [
    Filters(model=model, version=version, label=label, uncertain=uncertain, since=since, until=until)
    for model, version, label, uncertain, (since, until) in itertools.product(
        (None, "digits", "nobody"),
        (None, 2),
        (None, "7"),
        (None, True, False),
        ((None, None), (at(START + 101), at(START + 500)), (at(START + 300), None)),
    )
]


class TestPredictionStore:
    """The contract of the prediction log."""

    def test_a_prediction_is_read_back(self, history: PredictionStore, prediction: Callable[..., PredictionRecord]) -> None:
        """Every recorded field is read back unchanged, the input by its own call."""
        sent = prediction(
            arm=Arm.PINNED, propensity=0.25, epoch=3, value=-1.5, error="model_failed", subject="patient 4", uncertain=True
        )
        assert history.insert([sent]) == 1
        stored = history.get(sent.id)
        facts = {name: getattr(sent, name) for name in PredictionRecord.__struct_fields__} | {"input": None}
        assert stored.prediction == PredictionRecord(**facts)
        assert stored.input_kept
        assert history.input(sent.id) == (InputKind.IMAGE, b"\x89PNG")

    def test_an_empty_prediction_is_read_back(self, history: PredictionStore, prediction: Callable[..., PredictionRecord]) -> None:
        """A failed prediction without label, scores or input is stored like any other."""
        sent = prediction(label=None, confidence=None, scores=b"", input=None, error="model_failed")
        history.insert([sent])
        stored = history.get(sent.id)
        assert stored.prediction == sent
        assert not stored.input_kept

    def test_recording_twice_keeps_one(self, history: PredictionStore, prediction: Callable[..., PredictionRecord]) -> None:
        """Recording the same predictions again changes nothing, in one batch or two."""
        some = [prediction(START + number) for number in range(3)]
        assert history.insert([some[0], some[0], some[1]]) == 2
        changed = prediction(id=some[0].id, label="other")
        assert history.insert([changed, *some]) == 1
        assert history.count() == 3
        assert history.get(some[0].id).prediction.predicted_label == "7"

    def test_an_empty_batch_is_no_error(self, history: PredictionStore) -> None:
        """An empty batch is no error."""
        assert history.insert([]) == 0

    def test_times_are_kept_to_the_microsecond(self, history: PredictionStore, prediction: Callable[..., PredictionRecord]) -> None:
        """Microseconds beyond 32 bits are stored exactly."""
        sent = prediction(at_us=253_402_300_799_999_999, latency_us=2**40, input_bytes=2**33)
        history.insert([sent])
        back = history.get(sent.id).prediction
        assert (back.at_us, back.latency_us, back.input_bytes) == (sent.at_us, 2**40, 2**33)

    def test_filters_match_exactly(self, history: PredictionStore, prediction: Callable[..., PredictionRecord]) -> None:
        """Any combination of filters returns exactly the matching predictions, newest first, with any page size."""
        some = mixed(prediction, 400)
        history.insert(some)
        newest_first = sorted(some, key=lambda it: it.id, reverse=True)
        for filters in GRID:
            wanted = [it.id for it in newest_first if matches(it, filters)]
            assert pages(history, 97, **filters) == wanted, filters
            assert history.count(**filters) == len(wanted), filters

    def test_resolved_labels_are_filters(
        self, history: PredictionStore, labels: Labels, prediction: Callable[..., PredictionRecord]
    ) -> None:
        """Filters by resolved label combine with all others, for one model, some, and all."""
        some = mixed(prediction, 200)
        history.insert(some)
        truth = {it.id: "7" if number % 2 else "3" for number, it in enumerate(some) if number % 3}
        at_all = datetime(2026, 3, 1, tzinfo=UTC)
        labels.put_many([Label(prediction=one, value=said, author="ana", source="csv", at=at_all) for one, said in truth.items()])
        newest_first = sorted(some, key=lambda it: it.id, reverse=True)
        grid = itertools.product((None, "digits"), (None, ["churn", "digits"]), (None, "7"), (None, "7"), (None, True, False))
        for model, models, label, said, labelled in grid:
            filters = Filters(model=model, models=models, label=label, truth=said, labelled=labelled)
            wanted = [
                it.id
                for it in newest_first
                if model in {None, it.model}
                and label in {None, it.predicted_label}
                and said in {None, truth.get(it.id)}
                and labelled in {None, it.id in truth}
            ]
            assert pages(history, 71, **filters) == wanted, filters
            assert history.count(**filters) == len(wanted), filters

    @pytest.mark.parametrize("limit", [1, 2, 5, 6, 1000])
    def test_pages_join_without_gap(
        self, history: PredictionStore, prediction: Callable[..., PredictionRecord], limit: int
    ) -> None:
        """Pages of any size add up to the whole log; the last one has no cursor."""
        some = [prediction(START) for _ in range(6)]
        history.insert(some)
        assert pages(history, limit) == sorted((it.id for it in some), reverse=True)

    def test_new_predictions_do_not_shift_pages(
        self, history: PredictionStore, prediction: Callable[..., PredictionRecord]
    ) -> None:
        """Predictions inserted between two pages neither repeat nor hide older ones."""
        history.insert([prediction(START + number) for number in range(4)])
        first = history.page(limit=2)
        history.insert([prediction(START + 100)])
        second = history.page(limit=2, cursor=first.next_cursor)
        times = [item.prediction.at_us // 1000 - START for item in (*first.items, *second.items)]
        assert times == [3, 2, 1, 0]

    def test_adjacent_windows_do_not_overlap(self, history: PredictionStore, prediction: Callable[..., PredictionRecord]) -> None:
        """A prediction on the border of two time windows belongs to the later one only."""
        history.insert([prediction(START + number) for number in range(10)])
        border = at(START + 4) + timedelta(microseconds=700)
        assert history.count(until=border) + history.count(since=border) == 10
        assert history.count(until=border) == 4

    @pytest.mark.parametrize("moment", [datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
    def test_far_times_are_no_error(
        self, history: PredictionStore, prediction: Callable[..., PredictionRecord], moment: datetime
    ) -> None:
        """Time filters may be far in the past or future."""
        history.insert([prediction()])
        assert history.count(since=moment) + history.count(until=moment) == 1

    @pytest.mark.parametrize("cursor", ["", "x", "ñ", "AAAA", "A" * 23, "AAAAAAAAAAAAAAAAAAAAA\n", "'; DROP TABLE predictions"])
    def test_a_foreign_cursor_is_refused(self, history: PredictionStore, cursor: str) -> None:
        """An invalid cursor is a field error, not a failure."""
        with pytest.raises(FieldTypeError) as refused:
            history.page(cursor=cursor)
        assert refused.value.field == "cursor"

    @pytest.mark.parametrize("limit", [0, -1, 1001])
    def test_a_page_has_bounds(self, history: PredictionStore, limit: int) -> None:
        """The page size is limited."""
        with pytest.raises(FieldRangeError) as refused:
            history.page(limit=limit)
        assert refused.value.field == "limit"

    @pytest.mark.parametrize(
        "filters",
        [
            Filters(version=2**63),
            Filters(version=-1),
            Filters(model="a\x00b"),
            Filters(label="\ud800"),
            Filters(since=datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))),
            Filters(until=datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))),
        ],
    )
    def test_impossible_filters_find_nothing(
        self, history: PredictionStore, prediction: Callable[..., PredictionRecord], filters: Filters
    ) -> None:
        """A filter that nothing can match returns an empty page."""
        history.insert([prediction()])
        assert history.page(**filters).items == []
        assert history.count(**filters) == 0

    def test_unknown_ids_are_told(self, history: PredictionStore, prediction: Callable[..., PredictionRecord]) -> None:
        """An unknown prediction and a missing input are different errors."""
        sent = prediction(input=None)
        history.insert([sent])
        for read in (history.get, history.input):
            with pytest.raises(PredictionNotFoundError):
                read(bytes(16))
        with pytest.raises(InputNotStoredError):
            history.input(sent.id)

    def test_large_inputs_are_blobs(self, engine: Engine, tmp_path: Path, prediction: Callable[..., PredictionRecord]) -> None:
        """Inputs above 16 KiB are files, smaller ones are in the table; both are read back equal."""
        folder = tmp_path / "blobs"
        history = PredictionStore(engine, Blobs(folder))
        small, large = (prediction(input=bytes(INLINE_BYTES + extra), kind=InputKind.RECORD) for extra in (0, 1))
        history.insert([small, large])
        assert sum(path.is_file() for path in folder.rglob("*")) == 1
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT id, input IS NULL FROM predictions")).all()
        assert {bytes(row[0]): bool(row[1]) for row in rows} == {small.id: False, large.id: True}
        for sent in (small, large):
            assert history.input(sent.id) == (InputKind.RECORD, sent.input)
            assert history.get(sent.id).input_kept

    def test_a_missing_blob_is_an_input_not_stored(
        self, engine: Engine, tmp_path: Path, prediction: Callable[..., PredictionRecord]
    ) -> None:
        """If the file of a large input is missing, the prediction stays and its input is reported as not stored."""
        history = PredictionStore(engine, Blobs(tmp_path / "blobs"))
        sent = prediction(input=bytes(INLINE_BYTES + 1))
        history.insert([sent])
        elsewhere = PredictionStore(engine, Blobs(tmp_path / "other"))
        with pytest.raises(InputNotStoredError):
            elsewhere.input(sent.id)

    def test_unstorable_characters_are_replaced(
        self, history: PredictionStore, prediction: Callable[..., PredictionRecord]
    ) -> None:
        """Characters that no database stores are replaced in a subject, and the following rows are inserted."""
        odd = prediction(subject="a\x00b\ud800c\nñ")
        assert history.insert([odd, prediction()]) == 2
        kept = history.get(odd.id).prediction.subject
        assert kept is not None
        assert (kept[:3], kept[-3:]) == ("a\ufffdb", "c\nñ")


class TestShipping:
    """The contract of reading journals."""

    def test_position_and_predictions_move_together(
        self, history: PredictionStore, prediction: Callable[..., PredictionRecord]
    ) -> None:
        """A batch and the journal position are written in one transaction."""
        some = [prediction(), prediction()]
        assert history.insert_from_journal("w1.spool", 120, some) == 2
        assert history.insert_from_journal("w2.spool", 7, []) == 0
        assert history.positions() == {"w1.spool": 120, "w2.spool": 7}

    def test_shipping_again_changes_nothing(self, history: PredictionStore, prediction: Callable[..., PredictionRecord]) -> None:
        """A batch shipped again after a crash adds nothing, and a late one never decreases the position."""
        some = [prediction(), prediction()]
        history.insert_from_journal("w1.spool", 120, some)
        assert history.insert_from_journal("w1.spool", 120, some) == 0
        assert history.insert_from_journal("w1.spool", 60, some[:1]) == 0
        assert history.positions() == {"w1.spool": 120}
        assert history.count() == 2

    def test_a_batch_that_fails_leaves_nothing(self, history: PredictionStore, prediction: Callable[..., PredictionRecord]) -> None:
        """If one row of a batch is rejected, neither the other rows nor the position are stored."""
        with pytest.raises(Exception, match=r"(?i)not.null"):
            history.insert_from_journal("w1.spool", 120, [prediction(), prediction(model=None)])
        assert history.count() == 0
        assert history.positions() == {}

    def test_a_position_is_deleted(self, history: PredictionStore) -> None:
        """The position of a deleted file can be removed, also twice."""
        history.insert_from_journal("w1.spool", 120, [])
        history.forget_file("w1.spool")
        history.forget_file("w1.spool")
        assert history.positions() == {}


def matches(it: PredictionRecord, filters: Filters) -> bool:
    since, until = filters.get("since"), filters.get("until")
    return (
        all(filters.get(name) in {None, getattr(it, name)} for name in ("model", "version", "label", "uncertain"))
        and (since is None or at(it.at_us // 1000) >= since)
        and (until is None or at(it.at_us // 1000) < until)
    )


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("filters", "indexes"),
    [
        (Filters(), ["sqlite_autoindex_predictions_1"]),
        (Filters(model="digits"), ["ix_predictions_newest"]),
        (Filters(model="digits", version=2), ["ix_predictions_version"]),
        (Filters(model="digits", label="7"), ["ix_predictions_label"]),
        (Filters(model="digits", uncertain=True), ["ix_predictions_uncertain", "ix_predictions_newest"]),
        (Filters(model="digits", truth="7"), ["ix_predictions_truth"]),
        (Filters(model="digits", labelled=True), ["ix_predictions_labelled"]),
        (Filters(label="7"), ["ix_predictions_label"]),
        (Filters(models=["churn", "digits"], version=3, truth="7"), ["ix_predictions_version", "ix_predictions_truth"]),
    ],
    ids=str,
)
def test_a_page_is_read_from_an_index(
    history: PredictionStore, engine: Engine, prediction: Callable[..., PredictionRecord], filters: Filters, indexes: list[str]
) -> None:
    """No filter makes the database read rows outside the page, or sort within a model."""
    history.insert([prediction(model="digits"), prediction(model="churn")])
    asked: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _k, sql, values, *_rest: asked.append((sql, values)))
    filters["since"] = at(START)
    history.page(**filters)
    sql, values = next(item for item in asked if item[0].startswith("SELECT"))
    with engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + sql, values)]
    searches = [step for step in plan if " predictions " in step]
    assert searches
    assert all(any(f"USING COVERING INDEX {index} " in step for index in indexes) for step in searches), plan
    # At most the few ids of several models are sorted.
    assert len(searches) > 1 or not any("TEMP B-TREE" in step for step in plan), plan
