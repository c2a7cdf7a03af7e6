"""Sampling for labelling: unequal probabilities, unbiased estimates."""

from __future__ import annotations

import random

from relevo.domain.ids import new_id
from relevo.domain.label_sampling import sampling_key, sampling_threshold


def test_weighed_by_propensity_the_error_rate_is_fair() -> None:
    """Uncertain predictions are all labelled and wrong more often: the plain rate is biased, the weighted one is not.

    Source: the estimator of Horvitz and Thompson (1952).
    """
    draw, share, count = random.Random(11), 0.1, 40_000  # noqa: S311 - a fixed world
    edge, wrong, weighed, plain = sampling_threshold(share), 0, 0.0, []
    for _ in range(count):
        uncertain = draw.random() < 0.1
        is_wrong = draw.random() < (0.4 if uncertain else 0.05)
        wrong += is_wrong
        if uncertain or sampling_key(new_id(1, draw.randbytes(10))) < edge:
            weighed += is_wrong / (1.0 if uncertain else share)
            plain.append(is_wrong)
    # Five standard errors of the weighed rate: the share of the certain is what varies.
    allowed = 5 * (0.9 * 0.05 * (1 / share) / count) ** 0.5
    assert abs(weighed / count - wrong / count) < allowed
    assert abs(sum(plain) / len(plain) - wrong / count) > 5 * allowed


def test_by_groups_the_error_rate_is_fair_however_little_was_labelled() -> None:
    """With an unfinished queue and unsolicited labels, the stratified estimate is unbiased; the weighted one is not.

    Source: post-stratification, Holt and Smith (1979).
    """
    draw, share, count, labels = random.Random(5), 0.1, 60_000, 9_000  # noqa: S311 - a fixed world
    edge, world = sampling_threshold(share), []
    for _ in range(count):
        uncertain = draw.random() < 0.1
        wrong = draw.random() < (0.4 if uncertain else 0.05)
        reported = wrong and draw.random() < 0.2
        world.append((sampling_key(new_id(1, draw.randbytes(10))), uncertain, wrong, reported))
    rest = [one for one in world if not one[3]]
    asked = sorted(one for one in rest if one[1]) + sorted(one for one in rest if not one[1] and one[0] < edge)
    labelled = asked[:labels]
    groups = [
        (sum(one[1] is uncertain for one in rest), [one[2] for one in labelled if one[1] is uncertain])
        for uncertain in (True, False)
    ]
    assert all(len(known) < size / 2 for size, known in groups[1:])
    by_groups = (sum(size * sum(known) / len(known) for size, known in groups) + count - len(rest)) / count
    truth = sum(one[2] for one in world) / count
    allowed = 5 * 0.9 * (0.04 * 0.96 / len(groups[1][1])) ** 0.5
    assert abs(by_groups - truth) < allowed
    weighed = sum(one[2] / (1.0 if one[1] else share) for one in labelled) / count
    assert abs(weighed - truth) > allowed
