"""Variables in Compose files: `${NAME:-default}` and its like. Source: documentation of Compose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polyarch.bakefile.compose.placed import fault, replacing_text
from polyarch.bakefile.compose.yamls import Override
from polyarch.errors import InputError
from polyarch.pattern import pattern

__all__ = ["interpolate", "substitute"]

_NAME = pattern(r"[_a-zA-Z][_a-zA-Z0-9]*")
_OPERATOR = pattern(r":?[-?+]")
_MOST_NODES = 1_000_000
_DEEPEST = 50


def interpolate(value: Any, environ: Mapping[str, str]) -> Any:
    """Return a document with its texts interpolated; keys stay. Raises BakeFileError with the path of the text."""
    return _Walk(environ).value(value, ())


class _Walk:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._nodes = 0

    def value(self, value: Any, path: tuple[str, ...]) -> Any:
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise InputError(
                "a document with more than a million parts, which its aliases make of it"
            )
        if isinstance(value, str):
            if "$" not in value:
                return value
            try:
                return replacing_text(value, substitute(value, self._environ))
            except InputError as error:
                message = f"error while interpolating {'.'.join(path)}: {error}"
                raise fault(message, value) from None
        if isinstance(value, dict):
            return {_name(k): self.value(v, (*path, str(k))) for k, v in value.items()}
        if isinstance(value, list):
            return [self.value(each, (*path, "[]")) for each in value]
        if isinstance(value, Override):
            return Override(self.value(value.value, path))
        return value


def _name(key: object) -> str:
    return key if isinstance(key, str) else str(key)


def substitute(text: str, environ: Mapping[str, str], depth: int = 0) -> str:
    """Return a text with what its variables stand for. Raises InputError."""
    if depth > _DEEPEST:
        raise InputError("variables are nested too deep")
    parts: list[str] = []
    position = 0
    while (start := text.find("$", position)) >= 0:
        parts.append(text[position:start])
        following = text[start + 1 : start + 2]
        if following == "$":
            parts.append("$")
            position = start + 2
        elif following == "{":
            end = _closing(text, start + 1)
            if end < 0:
                raise InputError(f'Invalid template: "{text}"')
            parts.append(_braced(text[start + 2 : end], environ, text, depth))
            position = end + 1
        elif match := _NAME.match(text, start + 1):
            parts.append(environ.get(match.group(), ""))
            position = match.end()
        else:
            raise InputError(f'Invalid template: "{text}"')
    parts.append(text[position:])
    return "".join(parts)


def _closing(text: str, opening: int) -> int:
    depth = 0
    for position in range(opening, len(text)):
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
    return -1


def _braced(inside: str, environ: Mapping[str, str], whole: str, depth: int) -> str:
    match = _NAME.match(inside)
    if match is None:
        raise InputError(f'Invalid template: "{whole}"')
    name, rest = match.group(), inside[match.end() :]
    value = environ.get(name)
    if not rest:
        return value or ""
    operator = _OPERATOR.match(rest)
    if operator is None:
        raise InputError(f'Invalid template: "{whole}"')
    sign, alternative = operator.group(), rest[operator.end() :]
    is_there = value is not None and (value != "" or not sign.startswith(":"))
    # With "+" the alternative is for a variable that is there, else for one that isn't.
    if is_there != sign.endswith("+"):
        return value or ""
    chosen = substitute(alternative, environ, depth + 1)
    if sign.endswith("?"):
        more = f": {chosen}" if chosen else ""
        raise InputError(f"required variable {name} is missing a value{more}")
    return chosen
