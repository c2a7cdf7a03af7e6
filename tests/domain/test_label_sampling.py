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
    rest = [row for row in world if not row[3]]
    reviewed = sorted(row for row in rest if row[1]) + sorted(row for row in rest if not row[1] and row[0] < edge)
    labelled = reviewed[:labels]
    groups = [
        (sum(row[1] is uncertain for row in rest), [row[2] for row in labelled if row[1] is uncertain])
        for uncertain in (True, False)
    ]
    assert all(len(labelled_rows) < size / 2 for size, labelled_rows in groups[1:])
    by_groups = (sum(size * sum(labelled_rows) / len(labelled_rows) for size, labelled_rows in groups) + count - len(rest)) / count
    truth = sum(row[2] for row in world) / count
    allowed = 5 * 0.9 * (0.04 * 0.96 / len(groups[1][1])) ** 0.5
    assert abs(by_groups - truth) < allowed
    weighed = sum(row[2] / (1.0 if row[1] else share) for row in labelled) / count
    assert abs(weighed - truth) > allowed
