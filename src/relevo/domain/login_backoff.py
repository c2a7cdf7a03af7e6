"""How long somebody who mistyped a password waits before the next try is looked at.

    wrong tries of one name from one desk ─ the first few are free ─ 1, 2, 4 … 60 s after the last one

A desk is a network (an IPv4 address, 64 bits of an IPv6 one), or a browser in which that user has signed in before. The pair
waits: whoever knows the password signs in from elsewhere at once, and at their own browser even while somebody of their own network
tries, so nobody can lock another out.

    wrong tries of one name from everywhere ─ a hundred are free ─ one in ten seconds, for all places where that user is not known

So a name is not guessed from a thousand addresses at once, and the owner at a known browser or network does not notice.
A minute's wait leaves a guesser 1440 tries a day of a password of twelve letters and more; nothing is ever closed for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Older tries are forgotten, in s.
WINDOW_S = 15 * 60
FREE_TRIES = 5
LONGEST_WAIT_S = 60
#: Of one name, from all places together, and what follows them for those that are not known as that user's.
FREE_TRIES_OF_NAME = 100
NAME_WAIT_S = 10
_SECOND_US = 1_000_000


def login_delay_s(tries_us: Sequence[int], now_us: int) -> int:
    """Whole seconds to wait before the next try; 0 for none.

    tries_us: when there were wrong ones, in microseconds since 1970, in any order. A clock set back never makes the wait longer.
    """
    counting = [at for at in tries_us if now_us - WINDOW_S * _SECOND_US < at <= now_us]
    if len(counting) < FREE_TRIES:
        return 0
    pause: int = min(2 ** min(len(counting) - FREE_TRIES, 10), LONGEST_WAIT_S)
    left = max(counting) + pause * _SECOND_US - now_us
    return max(-(-left // _SECOND_US), 0)


def name_wait_s(tries: int, last_us: int | None, now_us: int) -> int:
    """Whole seconds to wait before the next try of a name from a place that is not known as that user's; 0 for none.

    tries: how many wrong ones there were within the window, from everywhere; last_us: when the last one was.
    """
    if tries < FREE_TRIES_OF_NAME or last_us is None or last_us > now_us:
        return 0
    return max(-(-(last_us + NAME_WAIT_S * _SECOND_US - now_us) // _SECOND_US), 0)
