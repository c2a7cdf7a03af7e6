"""Delays after failed logins."""

from __future__ import annotations

from relevo.domain.login_backoff import FREE_TRIES, LONGEST_WAIT_S, WINDOW_S, login_delay_s

S = 1_000_000
NOW = 1_000_000 * S


def test_the_first_tries_are_free() -> None:
    """The first attempts have no delay."""
    assert [login_delay_s([NOW] * tries, NOW) for tries in range(FREE_TRIES)] == [0] * FREE_TRIES


def test_the_wait_doubles_and_never_exceeds_a_minute() -> None:
    """The delay doubles up to a minute, however many attempts there were."""
    waits = [login_delay_s([NOW] * (FREE_TRIES + more), NOW) for more in range(9)]
    assert waits == [1, 2, 4, 8, 16, 32, LONGEST_WAIT_S, LONGEST_WAIT_S, LONGEST_WAIT_S]
    assert login_delay_s([NOW] * 100_000, NOW) == LONGEST_WAIT_S


def test_what_has_passed_counts() -> None:
    """Elapsed time counts; a fraction of a second is rounded up."""
    tries = [NOW] * (FREE_TRIES + 2)
    assert login_delay_s(tries, NOW + 3 * S) == 1
    assert login_delay_s(tries, NOW + 3 * S + 1) == 1
    assert login_delay_s(tries, NOW + 4 * S) == 0


def test_old_tries_are_forgotten() -> None:
    """Old attempts do not count, nor attempts in the future after the clock was set back."""
    assert login_delay_s([NOW - WINDOW_S * S] * 50, NOW) == 0
    assert login_delay_s([NOW + 3600 * S] * 50, NOW) == 0
