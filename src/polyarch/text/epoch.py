"""Seconds since 1970, as SOURCE_DATE_EPOCH and those who date sources give them."""

from __future__ import annotations

from polyarch.errors import InputError
from polyarch.pattern import pattern

__all__ = ["has_date", "parse_epoch"]

_NUMBER = pattern(r"-?[0-9]{1,19}")
_FIRST = -62_167_219_200
_END = 253_402_300_800
"""The years 0 to 9999, which are all that a config of an image can tell of (RFC 3339)."""


def has_date(seconds: int) -> bool:
    """Tell whether a time has a date of four digits for the year."""
    return _FIRST <= seconds < _END


def parse_epoch(text: str, hint: str = "give whole seconds since 1970") -> int:
    """Read a number of seconds since 1970. Raises InputError."""
    if not _NUMBER.fullmatch(text) or not has_date(int(text)):
        raise InputError(f"invalid SOURCE_DATE_EPOCH: {text[:200]}", hint=hint)
    return int(text)
