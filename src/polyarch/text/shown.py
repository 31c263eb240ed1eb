"""Texts as people are shown them: nothing in them speaks to the terminal.

File names, Dockerfiles, build arguments and what servers answer may hold control characters: sequences that
move the cursor, set the title, or make a line say what it doesn't, and marks that turn the direction of
writing (CVE-2021-42574). They are shown as Go's and Python's escapes show them. What steps print is theirs, and isn't touched.
"""

from __future__ import annotations

__all__ = ["shown", "shown_line"]

_CONTROLS = (
    *range(0x20),
    *range(0x7F, 0xA0),
    *(0x061C, 0x200E, 0x200F),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
)
_SHORT = {ord("\n"): "\\n", ord("\r"): "\\r"}
_IN_LINES = {
    code: _SHORT.get(code, f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
    for code in _CONTROLS
    if code != ord("\t")
}
_IN_TEXTS = {code: text for code, text in _IN_LINES.items() if code != ord("\n")}


def shown(text: str) -> str:
    """Return a text of any number of lines with its control characters escaped, but for line ends and tabs."""
    return text if text.isprintable() else text.translate(_IN_TEXTS)


def shown_line(text: str) -> str:
    """Return a text that is to be one line with all its control characters escaped, but for tabs."""
    return text if text.isprintable() else text.translate(_IN_LINES)
