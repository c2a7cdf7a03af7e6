"""Login throttling: the delay before the next password attempt after failed ones.

    failed attempts of one name from one origin ─ the first few are free ─ 1, 2, 4 … 60 s after the last one

An origin is a network (an IPv4 address, 64 bits of an IPv6 one), or a browser in which that user has logged in before. The delay
applies to the pair of name and origin: the owner can log in from another origin at once, and in a known browser even during an
attack from the same network, so an attacker cannot lock a user out.

    failed attempts of one name from all origins ─ a hundred are free ─ one per ten seconds, for origins not known as that user's

This limits distributed guessing of one name, without effect on the owner at a known browser or network.
A delay of a minute leaves an attacker 1440 attempts per day, for a password of twelve characters or more. No account is ever locked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Older attempts do not count, in s.
WINDOW_S = 15 * 60
FREE_TRIES = 5
LONGEST_WAIT_S = 60
#: Free attempts of one name from all origins, and the delay after them for origins not known as that user's.
FREE_TRIES_OF_NAME = 100
NAME_WAIT_S = 10
_SECOND_US = 1_000_000


def login_delay_s(tries_us: Sequence[int], now_us: int) -> int:
    """Whole seconds to wait before the next attempt; 0 for none.

    tries_us: times of failed attempts, in microseconds since 1970, in any order. A clock set back never increases the delay.
    """
    recent = [at for at in tries_us if now_us - WINDOW_S * _SECOND_US < at <= now_us]
    if len(recent) < FREE_TRIES:
        return 0
    delay: int = min(2 ** min(len(recent) - FREE_TRIES, 10), LONGEST_WAIT_S)
    remaining = max(recent) + delay * _SECOND_US - now_us
    return max(-(-remaining // _SECOND_US), 0)


def name_wait_s(tries: int, last_us: int | None, now_us: int) -> int:
    """Whole seconds to wait before the next attempt for a name from an origin not known as that user's; 0 for none.

    tries: failed attempts within the window, from all origins; last_us: time of the last one.
    """
    if tries < FREE_TRIES_OF_NAME or last_us is None or last_us > now_us:
        return 0
    return max(-(-(last_us + NAME_WAIT_S * _SECOND_US - now_us) // _SECOND_US), 0)
