"""Checks of `relevo doctor`."""
