"""Go's `unicode`: what white space is."""

from __future__ import annotations

__all__ = ["SPACE", "is_space"]

SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's white space, as `unicode.IsSpace` and `strings.TrimSpace` know it."""

# Python's own str.isspace has the separators U+001C to U+001F as well.
_SPACES = frozenset(SPACE)


def is_space(char: str) -> bool:
    """Tell if the character is white space."""
    return char in _SPACES
