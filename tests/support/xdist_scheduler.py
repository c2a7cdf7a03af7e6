"""How two processes share the tests: file by file, but for those under load, which are timed and so run one after the other.

tests/chaos/* ─► one of the two          every other file ─► whoever is free next
"""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

_UNDER_LOAD = "tests/chaos/"


class ByFile(LoadFileScheduling):  # type: ignore[misc]  # it is Any to mypy
    """Deals the files out; lives as long as a run."""

    def _split_scope(self, nodeid: str) -> str:
        """The scope of a test that runs in one process: its folder or its file."""
        return _UNDER_LOAD if nodeid.startswith(_UNDER_LOAD) else str(super()._split_scope(nodeid))
