"""The packages of tests/package/conftest.py."""

from __future__ import annotations

from tests.package.conftest import digits, digits_package  # noqa: F401 - fixtures
