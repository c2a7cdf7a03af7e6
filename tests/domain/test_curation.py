"""Curation of training data."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.curation import LabelledExample, LabelVote, Reason, curate
from relevo.domain.ids import new_id


def example(number: int, content: str | None, value: str | None, author: str = "ana", **more: Any) -> LabelledExample:
    """An example with the number in its id, so that examples sort by it."""
    trusted = more.get("trusted", False)
    votes = more.pop("votes", (LabelVote(value=value, trusted=trusted),) if value is not None else ())
    digest = None if content is None else content.encode()
    facts = {"trusted": trusted} | more
    return LabelledExample(prediction=new_id(number, bytes(10)), content=digest, value=value, author=author, votes=votes, **facts)


def summary(*examples: LabelledExample, share: float = 1.0, least: int = 500) -> tuple[list[int], dict[int, str]]:
    """Numbers of the kept examples, and reasons of the others."""
    report = curate(examples, share=share, min_labels=least)
    number = {item.prediction: int.from_bytes(item.prediction[:6], "big") for item in examples}
    return [number[item] for item in report.kept], {number[item.prediction]: item.reason.value for item in report.excluded}


def test_what_cannot_be_read_is_left_out() -> None:
    """A missing input and an unreadable one have different reasons."""
    examples = (example(1, None, "7", trouble=Reason.INPUT_NOT_KEPT), example(2, None, "7"), example(3, "a", "7"))
    assert summary(*examples) == ([3], {1: "input_not_kept", 2: "unreadable"})


def test_of_copies_the_oldest_stays() -> None:
    """Of duplicates only the oldest is kept, and the others refer to it."""
    examples = [example(number, "a", "7") for number in (2, 1, 3)]
    assert summary(*examples) == ([1], {2: "duplicate", 3: "duplicate"})
    assert {exclusion.other for exclusion in curate(examples, share=1).excluded} == {examples[1].prediction}


def test_contradictions_are_left_out() -> None:
    """One input with two labels is excluded under both, unless a majority of trusted authors decides."""
    assert summary(example(1, "a", "7"), example(2, "a", "9")) == ([], {1: "contradicting", 2: "contradicting"})
    lab: dict[str, Any] = {"author": "lab", "trusted": True}
    assert summary(example(1, "a", "7"), example(2, "a", "9", **lab), example(3, "b", "7")) == ([2, 3], {1: "contradicting"})
    two = (example(1, "a", "7", **lab), example(2, "a", "9", **lab))
    assert summary(*two) == ([], {1: "contradicting", 2: "contradicting"})


def test_a_disputed_prediction_is_left_out() -> None:
    """A prediction whose authors disagree is excluded, whatever label the aggregation chose."""
    votes = (LabelVote(value="7", trusted=False), LabelVote(value="9", trusted=False))
    assert summary(example(1, "a", "9", votes=votes), example(2, "b", None, votes=votes)) == (
        [],
        {1: "contradicting", 2: "contradicting"},
    )
    votes = (LabelVote(value="7", trusted=False), LabelVote(value="9", trusted=True))
    assert summary(example(1, "a", "9", votes=votes)) == ([1], {})


def test_nobody_floods() -> None:
    """One untrusted author is limited to the share; trusted authors are not."""
    loud = [example(number, f"loud {number}", "7", "loud") for number in range(100)]
    calm = [example(1000 + 10 * who + number, f"{who} {number}", "7", f"calm {who}") for who in range(7) for number in range(10)]
    kept, out = summary(*loud, *calm, share=0.3, least=5)
    assert len(kept) == 100
    assert set(out.values()) == {"flooding"}
    assert sum(number < 1000 for number in kept) == 30
    assert summary(*loud, share=0.3, least=5)[1] == {}
    assert summary(*loud, *calm, share=0.3, least=100)[1] == {}
    trusted = [example(number, f"loud {number}", "7", "loud", trusted=True) for number in range(100)]
    assert summary(*trusted, *calm, share=0.3, least=5)[1] == {}


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from("79"), st.sampled_from(["ana", "eva", "bob"]), st.booleans()), max_size=40
    ),
    st.floats(0.01, 1),
)
def test_nothing_is_lost(rows: list[tuple[int, str, str, bool]], share: float) -> None:
    """Every example is either kept or excluded; kept ones are readable, consistent and unique."""
    examples = [
        example(number, f"{content}" if content else None, value, author, trusted=trusted)
        for number, (content, value, author, trusted) in enumerate(rows)
    ]
    report = curate(reversed(examples), share=share, min_labels=3)
    assert sorted([*report.kept, *(item.prediction for item in report.excluded)]) == [item.prediction for item in examples]
    kept = [item for item in examples if item.prediction in report.kept]
    assert len({item.content for item in kept}) == len(kept)
    assert sum(report.counts.values()) == len(report.excluded)
    bound = max(share, 1 / max(len({item.author for item in kept}), 1)) * len(kept)
    for author in {item.author for item in kept}:
        assert sum(item.author == author and not item.trusted for item in kept) <= max(bound + 1e-6, 3)


def test_which_of_a_flood_stay_is_drawn() -> None:
    """Of an author over the limit, the examples with the smallest sampling keys are kept."""
    examples = [
        LabelledExample(prediction=new_id(at), content=bytes([at]), value="7", author="loud", trusted=False) for at in range(50)
    ]
    calm = example(99, "c", "7", "eva")
    kept = set(curate([*examples, calm], share=0.1, min_labels=10).kept) - {calm.prediction}
    assert kept == {item.prediction for item in sorted(examples, key=lambda item: (item.prediction[9:12], item.prediction))[:10]}


@pytest.mark.parametrize("least", [0, 1])
def test_nothing_comes_of_nothing(least: int) -> None:
    """Without labels nothing is kept."""
    assert summary(least=least) == ([], {})
