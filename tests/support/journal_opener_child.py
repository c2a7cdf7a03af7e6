"""A process that writes two batches at durability full and prints their results and the settings of the file.

python opener_child.py FOLDER ─► refused | kept:<journal mode>, twice
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.journal import prediction

from relevo.errors import JournalUnavailableError
from relevo.recording.journal import Journal, JournalLimits


def main() -> None:
    """A journal that broke is tried again at once."""
    journal = Journal(Path(sys.argv[1]), durability="full", limits=JournalLimits(retry_s=0))
    for _ in range(2):
        sys.stdout.write(f"{_written(journal)}\n")
    journal.close()


def _written(journal: Journal) -> str:
    try:
        journal.write([prediction()])
    except JournalUnavailableError:
        return "refused"
    assert journal._open is not None
    (mode,) = journal._open._connection.execute("PRAGMA journal_mode").fetchone()
    return f"kept:{mode}"


main()
