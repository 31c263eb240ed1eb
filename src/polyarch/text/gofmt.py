"""Values as Go prints them: history entries are made of such texts, and people compare them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["duration", "quoted", "quoted_list", "value_list"]

_UNITS = ((3_600_000_000_000, "h"), (60_000_000_000, "m"))
_SECOND = 1_000_000_000
_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
    '"': '\\"', "\\": "\\\\",
}  # fmt: skip


def quoted(text: str) -> str:
    """Write a text as Go's %q does."""
    return '"' + "".join(_quoted_rune(char) for char in text) + '"'


def _quoted_rune(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted_list(words: Sequence[str]) -> str:
    """Write a list of texts as Go's %q does: blanks between, no commas."""
    return "[" + " ".join(map(quoted, words)) + "]"


def value_list(words: Sequence[str]) -> str:
    """Write a list of texts as Go's %v does."""
    return "[" + " ".join(words) + "]"


def duration(nanoseconds: int) -> str:
    """Write a duration as Go does: 1m30s, 1.5s, 250ms, 0s.

    Source: Go's time package, Duration.String.
    """
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < 0:
        return "-" + duration(-nanoseconds)
    if nanoseconds < _SECOND:
        for unit, name in ((1_000_000, "ms"), (1_000, "µs"), (1, "ns")):
            if nanoseconds >= unit:
                return _decimal(nanoseconds, unit) + name
    out, rest = "", nanoseconds
    for unit, name in _UNITS:
        if nanoseconds >= unit:
            out += f"{rest // unit}{name}"
            rest %= unit
    return out + _decimal(rest, _SECOND) + "s"


def _decimal(value: int, unit: int) -> str:
    whole, part = divmod(value, unit)
    if not part:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{part:0{digits}d}".rstrip("0")
