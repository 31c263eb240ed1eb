"""`printf` within templates: Go's `fmt.Sprintf`, as far as JSON's types reach.

Mistakes aren't errors but visible, as in Go: `%!d(string=a)`, `%!s(MISSING)`, `%!(EXTRA int=1)`. Here the directives
are read, with what stands between `%` and the verb; `verbs` writes the arguments. Source: the documentation of
Go's package fmt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from polyarch.golang.template.values import Value, type_name
from polyarch.golang.template.verbs import Flags, formatted
from polyarch.pattern import pattern
from polyarch.record import replace

__all__ = ["sprintf"]

_BEGINNING = pattern(
    r"%(?P<flags>[-+# 0]*)(?:\[(?P<width_index>[^\]]*)\])?(?P<width>\*|[0-9]*)"
    # At the very end, a point is a verb.
    r"(?:\.(?!\Z)(?P<point>)(?:\[(?P<precision_index>[^\]]*)\])?(?P<precision>\*|[0-9]*))?"
)
_VERB_INDEX = pattern(r"\[([^\]]*)\]")
_WHOLE = frozenset("vw")
"""The verbs for whatever a value is; `%w` is for errors, and only its flags are those of `%v`."""
_LARGEST = 1_000_000
"""The largest width, precision and index of an argument: more is a mistake."""


def sprintf(form: str, arguments: Sequence[Value]) -> str:
    """Write `arguments` into `form`."""
    writer = _Writer(arguments)
    out, position = "", 0
    while (start := form.find("%", position)) >= 0:
        text, end = writer.directive(form, start)
        out += form[position:start] + text
        position = end
    return out + form[position:] + writer.rest()


def _flags(match: re.Match[str], width: int, precision: int, *, is_source: bool) -> Flags:
    given = match["flags"]
    return Flags(
        minus="-" in given,
        plus="+" in given,
        sharp="#" in given and not is_source,
        space=" " in given,
        zero="0" in given,
        width=width,
        precision=precision,
        is_source=is_source,
    )


class _Writer:
    """Writes one directive after the other, and knows which argument is next."""

    def __init__(self, arguments: Sequence[Value]) -> None:
        self._arguments = arguments
        self._next = 0
        self._is_reordered = False
        self._is_good = True

    def directive(self, form: str, start: int) -> tuple[str, int]:
        """Write the directive at `start`; returns it and where it ends."""
        match = _BEGINNING.match(form, start)
        assert match is not None
        self._is_good = True
        complaint, width, minus = self._width(match)
        more, precision = self._precision(match)
        complaint += more
        end = match.end()
        # The index of a width or a precision that isn't an argument is the value's already.
        part = "width" if match["point"] is None else "precision"
        pending = match[f"{part}_index"]
        if pending is None or not _is_number(pending) or match[part] == "*":
            index = _VERB_INDEX.match(form, end)
            if index is not None:
                self._seek(index[1])
                end = index.end()
        verb = form[end : end + 1]
        flags = _flags(match, width, precision, is_source=verb in _WHOLE and "#" in match["flags"])
        flags = replace(flags, minus=flags.minus or minus, plus=flags.plus and verb not in _WHOLE)
        return complaint + self._written(flags, verb), end + 1

    def _written(self, flags: Flags, verb: str) -> str:
        if verb == "":
            return "%!(NOVERB)"
        if verb == "%":
            return "%"
        if not self._is_good:
            return f"%!{verb}(BADINDEX)"
        if self._next >= len(self._arguments):
            return f"%!{verb}(MISSING)"
        self._next += 1
        return formatted(flags, verb, self._arguments[self._next - 1])

    def rest(self) -> str:
        """Return a remark on arguments that no directive has asked for."""
        if self._is_reordered or self._next >= len(self._arguments):
            return ""
        plain = Flags()
        texts = [
            "<nil>" if value is None else f"{type_name(value)}={formatted(plain, 'v', value)}"
            for value in self._arguments[self._next :]
        ]
        return f"%!(EXTRA {', '.join(texts)})"

    def _seek(self, index: str | None) -> None:
        if index is None:
            return
        self._is_reordered = True
        number = int(index) if _is_number(index) and len(index) < 8 else 0
        if 1 <= number <= len(self._arguments):
            self._next = number - 1
        else:
            self._is_good = False

    def _width(self, match: re.Match[str]) -> tuple[str, int, bool]:
        """Return a complaint, the width, and whether it was negative, which is a minus."""
        self._seek(match["width_index"])
        text = match["width"]
        if text != "*":
            # `%[1]5d` isn't a width behind an index, but a mistake.
            self._is_good = self._is_good and not (match["width_index"] is not None and text)
            return "", _number(text), False
        width = self._star()
        if width is None:
            return "%!(BADWIDTH)", -1, False
        return "", abs(width), width < 0

    def _precision(self, match: re.Match[str]) -> tuple[str, int]:
        if match["point"] is None:
            return "", -1
        if match["width_index"] is not None and not match["width"]:
            self._is_good = False
        self._seek(match["precision_index"])
        text = match["precision"]
        if text != "*":
            self._is_good = self._is_good and not (match["precision_index"] is not None and text)
            return "", max(0, _number(text))
        precision = self._star()
        if precision is None or precision < 0:
            return "%!(BADPREC)", -1
        return "", precision

    def _star(self) -> int | None:
        """Take the next argument for a number; None if it is none."""
        if self._next >= len(self._arguments):
            return None
        value = self._arguments[self._next]
        self._next += 1
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        return value if abs(value) <= _LARGEST else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _number(digits: str) -> int:
    return int(digits) if digits and len(digits) < 8 and int(digits) <= _LARGEST else -1
