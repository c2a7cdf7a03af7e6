"""Scanning a pickle reports what it would import, and executes nothing."""

from __future__ import annotations

import collections
import pickle
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.hostile_files import Calls, Runs, vectorizer_and_model

from relevo.importing.pickle_scan import scan_pickle


@pytest.mark.parametrize("protocol", range(6))
def test_imports_are_listed_and_suspicious_ones_named(protocol: int) -> None:
    """A shell command among harmless objects is reported in every protocol."""
    scan = scan_pickle(pickle.dumps([vectorizer_and_model(), Calls("true")], protocol=protocol))
    assert scan.complete
    assert {"posix.system"} == set(scan.suspicious_imports)
    assert any(name.endswith("LogisticRegression") for name in scan.imports)


def test_builtins_that_run_code_are_suspicious() -> None:
    """Exec is suspicious, plain containers are not."""
    scan = scan_pickle(pickle.dumps([Runs("pass"), {1, 2}, frozenset({3}), complex(1, 2), collections.OrderedDict(a=1)]))
    assert scan.suspicious_imports == ("builtins.exec",)


def test_memoized_names_are_followed() -> None:
    """An import whose name comes from the memo is reported."""
    hidden = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x8c\x01x0h\x00h\x01\x93\x8c\x04true\x85R."
    assert "posix.system" in scan_pickle(hidden).imports


def test_computed_names_are_reported() -> None:
    """An import whose name is not a literal text is reported."""
    assert scan_pickle(b"\x80\x04K\x01K\x02\x93.").suspicious_imports == ("an import whose name is computed",)


def test_extension_codes_and_persistent_ids_are_suspicious() -> None:
    """Opcodes that no model needs are reported."""
    assert scan_pickle(b"\x80\x02\x82\x01.").suspicious_imports == ("opcode EXT1",)
    assert scan_pickle(b"Pabc\n.").suspicious_imports == ("opcode PERSID",)


def test_nothing_runs(capfd: pytest.CaptureFixture[str]) -> None:
    """Scanning a command does not run it."""
    scan_pickle(pickle.dumps(Calls("echo ran")))
    assert "ran" not in capfd.readouterr().out


@settings(max_examples=400, deadline=3000)
@given(st.binary(max_size=200).map(lambda tail: b"\x80\x04" + tail) | st.binary(max_size=200))
def test_any_bytes_give_a_scan(data: bytes) -> None:
    """Hostile bytes give a scan, complete or not, and never an exception."""
    scan = scan_pickle(data)
    with suppress(Exception):
        if not scan.complete:
            assert scan.problem


def test_a_truncated_pickle_is_incomplete() -> None:
    """A truncated pickle is reported as incomplete, with the imports read so far."""
    scan = scan_pickle(pickle.dumps(vectorizer_and_model())[:-40])
    assert not scan.complete
    assert scan.imports
