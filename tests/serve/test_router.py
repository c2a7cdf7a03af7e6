"""The router: targets get their share of the keys, a key always the same target, with its probability."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.support.small_models import shelf

from relevo.domain.prediction import Arm
from relevo.domain.routing import RouteTarget, TrafficSplit
from relevo.serve.loaded_version import LoadedVersion, ServingOptions
from relevo.serve.router import Router


async def make_version(version: int) -> LoadedVersion:
    return LoadedVersion(model=shelf(), version=version, digest=str(version), write=print, options=ServingOptions())


def route(*legs: tuple[int, Arm, float], epoch: int = 4) -> TrafficSplit:
    named = tuple(RouteTarget(version=version, digest=str(version), arm=arm, weight=weight) for version, arm, weight in legs)
    return TrafficSplit(model="shelf", epoch=epoch, targets=named, salt="shelf")


def test_a_single_champion_answers_everybody() -> None:
    """With one target every key goes to it, with probability 1 and the epoch of the route."""

    async def run() -> None:
        version = await make_version(1)
        router = Router(route((1, Arm.CHAMPION, 1.0)), {"1": version})
        for key in (b"", b"10.0.0.1", b"10.0.0.2"):
            chosen = router.choose(key)
            assert chosen.loaded is version
            assert (chosen.arm, chosen.propensity, chosen.epoch) == (Arm.CHAMPION, 1.0, 4)

    asyncio.run(run())


def test_two_legs_share_the_callers_and_tell_the_odds() -> None:
    """Keys are divided by weight, each stays on its target, and the probability is the target's weight."""

    async def run() -> None:
        loaded_versions = {"1": await make_version(1), "2": await make_version(2)}
        router = Router(route((1, Arm.CHAMPION, 0.8), (2, Arm.CANARY, 0.2)), loaded_versions)
        keys = [str(number).encode() for number in range(5000)]
        met = {key: router.choose(key) for key in keys}
        share = Counter(chosen.loaded.version for chosen in met.values())[2] / len(keys)
        assert 0.17 < share < 0.23
        assert {(choice.loaded.version, choice.arm, choice.propensity) for choice in met.values()} == {
            (1, Arm.CHAMPION, 0.8),
            (2, Arm.CANARY, 0.2),
        }
        assert all(router.choose(key).loaded is met[key].loaded for key in keys)

    asyncio.run(run())


def test_a_shadow_never_answers() -> None:
    """The version of a shadow is loaded in addition to the champion's and never answers."""

    async def run() -> None:
        loaded_versions = {"1": await make_version(1), "2": await make_version(2)}
        router = Router(route((1, Arm.CHAMPION, 1.0), (2, Arm.SHADOW, 1.0)), loaded_versions)
        assert {router.choose(str(number).encode()).loaded.version for number in range(100)} == {1}

    asyncio.run(run())
