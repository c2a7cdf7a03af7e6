"""Traffic splitting: the target depends on key and split only, and follows the weights."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.prediction import Arm
from relevo.domain.routing import RouteTarget, TrafficSplit, answering, pick

_weights = st.lists(st.floats(0.01, 1), min_size=1, max_size=5)


def route(weights: list[float], *, salt: str = "churn", shadow: bool = False, epoch: int = 1) -> TrafficSplit:
    total = sum(weights)
    legs = [
        RouteTarget(version=number, digest=str(number), arm=Arm.CANARY if number else Arm.CHAMPION, weight=weight / total)
        for number, weight in enumerate(weights)
    ]
    if shadow:
        legs.insert(0, RouteTarget(version=99, digest="99", arm=Arm.SHADOW, weight=1.0))
    return TrafficSplit(model="churn", epoch=epoch, targets=tuple(legs), salt=salt)


@given(_weights, st.binary(max_size=30), st.booleans())
def test_some_answering_leg_is_picked_and_its_probability_told(weights: list[float], key: bytes, shadow: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    """Any weights and key give one serving target, never a shadow, with its probability."""
    table = route(weights, shadow=shadow)
    picked = pick(table, key)
    assert picked.target in answering(table)
    assert picked.target.arm is not Arm.SHADOW
    assert picked.propensity == (1.0 if len(weights) == 1 else picked.target.weight)


@given(_weights, st.binary(max_size=30), st.integers(1, 9))
def test_the_same_key_meets_the_same_leg(weights: list[float], key: bytes, epoch: int) -> None:
    """The choice depends on key, salt and weights only, not on time or epoch."""
    assert pick(route(weights), key).target == pick(route(weights, epoch=epoch), key).target


def test_over_many_keys_the_weights_are_met() -> None:
    """A weight of 5 % gets 5 % of the keys, within sampling error."""
    table = route([0.80, 0.15, 0.05])
    met = Counter(pick(table, str(number).encode()).target.version for number in range(40_000))
    for version, weight in enumerate([0.80, 0.15, 0.05]):
        expected, spread = 40_000 * weight, (40_000 * weight * (1 - weight)) ** 0.5
        assert abs(met[version] - expected) < 5 * spread


def test_widening_a_leg_keeps_those_it_had() -> None:
    """If the weight of the last target grows, its former keys keep it."""
    small, large = route([0.95, 0.05]), route([0.5, 0.5])
    had = [key for key in (str(number).encode() for number in range(5000)) if pick(small, key).target.version == 1]
    assert had
    assert all(pick(large, key).target.version == 1 for key in had)


def test_another_salt_divides_anew() -> None:
    """A different salt assigns keys independently."""
    keys = [str(number).encode() for number in range(2000)]
    keys_a = {key for key in keys if pick(route([0.5, 0.5], salt="a"), key).target.version}
    other = {key for key in keys if pick(route([0.5, 0.5], salt="b"), key).target.version}
    assert 300 < len(keys_a & other) < 700
