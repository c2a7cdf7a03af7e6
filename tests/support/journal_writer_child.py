"""A process that writes to a journal forever and prints each prediction's id after its commit.

python writer_child.py FOLDER DURABILITY ─► one hex id a line, flushed
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from tests.support.journal import prediction

from relevo.recording.journal import Journal, JournalLimits


def main() -> None:
    """Write for ever; each seventh batch is large, and files are replaced often."""
    journal = Journal(Path(sys.argv[1]), durability=sys.argv[2], limits=JournalLimits(rotate_bytes=200_000))
    for number in count():
        batch = [prediction(20_000 if number % 7 == 0 else 50) for _ in range(1 + number % 3)]
        journal.write(batch)
        sys.stdout.write("".join(f"{one.id.hex()}\n" for one in batch))
        sys.stdout.flush()


main()
