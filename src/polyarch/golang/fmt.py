"""Go's `fmt`, as far as no template is involved: lists of texts in history entries and messages.

`sprintf` with all its verbs is a function of templates (`template/printf.py`, `template/verbs.py`); `%q` of one
text is `strconv.quote`.
"""

from __future__ import annotations

from collections.abc import Sequence

from polyarch.golang.strconv import quote

__all__ = ["quoted_list", "value_list"]


def quoted_list(words: Sequence[str]) -> str:
    """Write a list of texts as `%q` does: blanks between, no commas."""
    return "[" + " ".join(map(quote, words)) + "]"


def value_list(words: Sequence[str]) -> str:
    """Write a list of texts as `%v` does."""
    return "[" + " ".join(words) + "]"
