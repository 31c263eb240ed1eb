"""What stands for no value."""

from __future__ import annotations

__all__ = ["UNDEFINED", "Undefined", "Unfit"]


class Undefined:
    """No value."""


UNDEFINED = Undefined()


class Unfit(Exception):
    """A builtin function was given what it can't do with: its result is undefined."""
