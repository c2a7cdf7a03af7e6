"""The queue asks unevenly and says how unevenly, so that what is estimated from its labels is fair."""

from __future__ import annotations

import random

from relevo.domain.asking import first_lot_beyond, lot_of
from relevo.domain.ids import new_id


def test_weighed_by_propensity_the_error_rate_is_fair() -> None:
    """Uncertain answers, asked about all, are wrong more often: the plain rate is far off, the weighed one is not.

    Source: the estimator of Horvitz and Thompson (1952).
    """
    draw, share, count = random.Random(11), 0.1, 40_000  # noqa: S311 - a fixed world
    edge, wrong, weighed, plain = first_lot_beyond(share), 0, 0.0, []
    for _ in range(count):
        uncertain = draw.random() < 0.1
        is_wrong = draw.random() < (0.4 if uncertain else 0.05)
        wrong += is_wrong
        if uncertain or lot_of(new_id(1, draw.randbytes(10))) < edge:
            weighed += is_wrong / (1.0 if uncertain else share)
            plain.append(is_wrong)
    # Five standard errors of the weighed rate: the share of the certain is what varies.
    allowed = 5 * (0.9 * 0.05 * (1 / share) / count) ** 0.5
    assert abs(weighed / count - wrong / count) < allowed
    assert abs(sum(plain) / len(plain) - wrong / count) > 5 * allowed
