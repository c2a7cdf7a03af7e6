"""How long somebody who mistyped a password waits before the next try is looked at.

    wrong tries of one name from one desk ─ the first few are free ─ 1, 2, 4 … 60 s after the last one

A desk is an address, or a browser in which that user has signed in before. Only the pair waits: whoever knows the password signs in
from elsewhere at once, and at their own browser even while somebody of their own network tries, so nobody can lock another out.
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
_SECOND_US = 1_000_000


def wait_s(tries_us: Sequence[int], now_us: int) -> int:
    """Whole seconds to wait before the next try; 0 for none.

    tries_us: when there were wrong ones, in microseconds since 1970, in any order. A clock set back never makes the wait longer.
    """
    counting = [at for at in tries_us if now_us - WINDOW_S * _SECOND_US < at <= now_us]
    if len(counting) < FREE_TRIES:
        return 0
    pause: int = min(2 ** min(len(counting) - FREE_TRIES, 10), LONGEST_WAIT_S)
    left = max(counting) + pause * _SECOND_US - now_us
    return max(-(-left // _SECOND_US), 0)
