"""Texts as what people take for characters: grapheme clusters.

The rules of Unicode's annex 29 as far as texts of bake files need them: marks, joined emoji, flags, syllables of
Hangul that are written in parts, and CR with LF. The standard library has no table of the others.
"""

from __future__ import annotations

import unicodedata

__all__ = ["clusters"]

_JOINER = "\u200d"
_FLAGS = range(0x1F1E6, 0x1F200)
_TONES = range(0x1F3FB, 0x1F400)
_LEADING, _VOWELS, _TRAILING = range(0x1100, 0x1160), range(0x1160, 0x11A8), range(0x11A8, 0x1200)
_SYLLABLES = range(0xAC00, 0xD7A4)


def clusters(text: str) -> list[str]:
    """Split a text."""
    if text.isascii() and "\r\n" not in text:
        return list(text)
    found: list[str] = []
    for char in text:
        if found and _belongs(found[-1], char):
            found[-1] += char
        else:
            found.append(char)
    return found


def _belongs(before: str, char: str) -> bool:
    last, code = before[-1], ord(char)
    if last == "\r" and char == "\n":
        return True
    if last in "\r\n" or char in "\r\n" or unicodedata.category(last) == "Cc":
        return False
    if char == _JOINER or code in _TONES or unicodedata.category(char) in {"Mn", "Me", "Mc"}:
        return True
    if last == _JOINER:
        return unicodedata.category(char) == "So" and len(before) > 1
    if code in _FLAGS and ord(last) in _FLAGS:
        return len(before) % 2 == 1
    return _is_hangul_pair(ord(last), code)


def _is_hangul_pair(last: int, code: int) -> bool:
    if last in _LEADING:
        return code in _LEADING or code in _VOWELS or code in _SYLLABLES
    if last in _VOWELS or (last in _SYLLABLES and (last - _SYLLABLES.start) % 28 == 0):
        return code in _VOWELS or code in _TRAILING
    return (last in _TRAILING or last in _SYLLABLES) and code in _TRAILING
