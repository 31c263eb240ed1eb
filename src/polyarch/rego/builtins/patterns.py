"""Regular expressions and globs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from polyarch.golang.regexp import compile_regexp, expand
from polyarch.rego.builtins.given import Table, a_text, an_integer, texts
from polyarch.rego.undefined import Unfit

__all__ = ["PATTERNS"]

_SPECIAL = "*?\\[]{}"


def _compiled(source: object) -> re.Pattern[str]:
    try:
        return compile_regexp(a_text(source))
    except ValueError:
        raise Unfit from None


def _is_valid(source: object) -> object:
    try:
        _compiled(source)
    except Unfit:
        return False
    return True


def _first(source: object, text: object, count: object) -> list[re.Match[str]]:
    most = an_integer(count)
    found: list[re.Match[str]] = []
    for match in _compiled(source).finditer(a_text(text)):
        if 0 <= most <= len(found):
            break
        found.append(match)
    return found


def _groups(match: re.Match[str]) -> tuple[str, ...]:
    return (match.group(), *(each or "" for each in match.groups()))


def _split(source: object, text: object) -> object:
    whole, position, found = a_text(text), 0, []
    for match in _compiled(source).finditer(whole):
        # As Go has it: nothing is no separator at the ends, nor right behind another one.
        if not match.group() and match.start() in {position, len(whole)}:
            continue
        found.append(whole[position : match.start()])
        position = match.end()
    return (*found, whole[position:])


def _replace(text: object, source: object, value: object) -> object:
    template = a_text(value)
    return _compiled(source).sub(lambda match: expand(match, template), a_text(text))


# --- globs ---


def _glob(source: object, delimiters: object, text: object) -> object:
    separators = (
        (".",) if delimiters == () else () if delimiters is None else tuple(texts(delimiters))
    )
    return _glob_pattern(a_text(source), separators).fullmatch(a_text(text)) is not None


@lru_cache(64)
def _glob_pattern(source: str, separators: tuple[str, ...]) -> re.Pattern[str]:
    inside = "[^" + re.escape("".join(separators)) + "]" if separators else "."
    try:
        return re.compile("".join(_pieces(source, inside)), re.DOTALL)
    except re.error:
        raise Unfit from None


def _pieces(source: str, inside: str) -> Iterator[str]:
    position, depth = 0, 0
    while position < len(source):
        char = source[position]
        if char == "*":
            is_double = source.startswith("**", position)
            yield ".*" if is_double else f"{inside}*"
            position += is_double
        elif char == "?":
            yield inside
        elif char == "[":
            end = source.find("]", position + 2)
            if end < 0:
                raise Unfit
            content = source[position + 1 : end].replace("\\", "\\\\")
            yield f"[^{content[1:]}]" if content.startswith("!") else f"[{content}]"
            position = end
        elif char == "{":
            depth += 1
            yield "(?:"
        elif char == "}" and depth:
            depth -= 1
            yield ")"
        elif char == "," and depth:
            yield "|"
        elif char == "\\" and position + 1 < len(source):
            position += 1
            yield re.escape(source[position])
        else:
            yield re.escape(char)
        position += 1


def _quoted(text: object) -> object:
    return "".join(f"\\{char}" if char in _SPECIAL else char for char in a_text(text))


def _matches(source: object, text: object) -> object:
    return _compiled(source).search(a_text(text)) is not None


def _found(take: Callable[[re.Match[str]], object]) -> Callable[..., object]:
    return lambda source, text, count: tuple(take(each) for each in _first(source, text, count))


PATTERNS: Table = {
    "regex.is_valid": (1, _is_valid),
    "regex.match": (2, _matches),
    "regex.find_n": (3, _found(lambda match: match.group())),
    "regex.find_all_string_submatch_n": (3, _found(_groups)),
    "regex.split": (2, _split),
    "regex.replace": (3, _replace),
    "glob.match": (3, _glob),
    "glob.quote_meta": (1, _quoted),
}
