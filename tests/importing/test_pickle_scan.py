"""The look at a pickle tells what it would import, and runs nothing."""

from __future__ import annotations

import collections
import pickle
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.hostile_files import Calls, Runs, pairs

from relevo.importing.pickle_scan import look


@pytest.mark.parametrize("protocol", range(6))
def test_imports_are_listed_and_the_unusual_named(protocol: int) -> None:
    """A shell command hidden among honest things is named in every protocol."""
    seen = look(pickle.dumps([pairs(), Calls("true")], protocol=protocol))
    assert seen.complete
    assert {"posix.system"} == set(seen.unusual)
    assert any(name.endswith("LogisticRegression") for name in seen.imports)


def test_builtins_that_run_code_are_unusual() -> None:
    """Exec is unusual, plain containers are not."""
    seen = look(pickle.dumps([Runs("pass"), {1, 2}, frozenset({3}), complex(1, 2), collections.OrderedDict(a=1)]))
    assert seen.unusual == ("builtins.exec",)


def test_remembered_names_are_followed() -> None:
    """A name that is taken from the memo is seen as an import all the same."""
    hidden = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x8c\x01x0h\x00h\x01\x93\x8c\x04true\x85R."
    assert "posix.system" in look(hidden).imports


def test_computed_names_are_reported() -> None:
    """An import whose name is no plain text is named as such."""
    assert look(b"\x80\x04K\x01K\x02\x93.").unusual == ("an import whose name is computed",)


def test_extension_codes_and_persistent_ids_are_unusual() -> None:
    """Opcodes that no model needs are named."""
    assert look(b"\x80\x02\x82\x01.").unusual == ("opcode EXT1",)
    assert look(b"Pabc\n.").unusual == ("opcode PERSID",)


def test_nothing_runs(capfd: pytest.CaptureFixture[str]) -> None:
    """Looking at a command does not run it."""
    look(pickle.dumps(Calls("echo ran")))
    assert "ran" not in capfd.readouterr().out


@settings(max_examples=400, deadline=3000)
@given(st.binary(max_size=200).map(lambda tail: b"\x80\x04" + tail) | st.binary(max_size=200))
def test_any_bytes_give_a_look(data: bytes) -> None:
    """Hostile bytes end in a look, complete or not, and never in an exception."""
    seen = look(data)
    with suppress(Exception):
        if not seen.complete:
            assert seen.problem


def test_a_truncated_pickle_is_incomplete() -> None:
    """A cut pickle says so and still tells what was seen."""
    seen = look(pickle.dumps(pairs())[:-40])
    assert not seen.complete
    assert seen.imports
