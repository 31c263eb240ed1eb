"""`.env` and files of `env_file`: lines of NAME=value. Source: documentation of Compose, and behaviour of compose-go."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.bakefile.compose.interpolate import substitute
from polyarch.errors import InputError
from polyarch.pattern import pattern

__all__ = ["read_dotenv"]

_LINE = pattern(r"\s*(?:export\s+)?([A-Za-z_][\w.\-\[\]]*)\s*([=:])?[ \t]*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


def read_dotenv(name: str, text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables; those of `environ` may be used in values. Raises InputError."""
    found: dict[str, str] = {}
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    position = 0
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        line = text[position:end].strip()
        if not line or line.startswith("#"):
            position = end + 1
            continue
        match = _LINE.match(text, position)
        if match is None or (match[2] is None and match.end() < end):
            number = text.count("\n", 0, position) + 1
            raise InputError(
                f'failed to read {name}: line {number}: unexpected character in "{line}"'
            )
        if match[2] is None:
            if match[1] in environ:
                found[match[1]] = environ[match[1]]
            position = end + 1
            continue
        value, position = _value(text, match.end(), name)
        found[match[1]] = _expanded(value, {**found, **environ})
    return found


class _Raw(str):
    """A value in single quotes."""

    __slots__ = ()


def _expanded(value: str, environ: Mapping[str, str]) -> str:
    return str(value) if isinstance(value, _Raw) else substitute(value, environ)


def _value(text: str, start: int, name: str) -> tuple[str, int]:
    """Return a value and where the next line begins."""
    quote = text[start : start + 1]
    if quote not in {'"', "'"}:
        end = _line_end(text, start)
        return _without_comment(text[start:end]).strip(), end + 1
    parts: list[str] = []
    position = start + 1
    while position < len(text) and text[position] != quote:
        if quote == '"' and text[position] == "\\" and position + 1 < len(text):
            letter = text[position + 1]
            parts.append(_ESCAPES.get(letter, f"\\{letter}"))
            position += 2
        else:
            parts.append(text[position])
            position += 1
    if position >= len(text):
        raise InputError(
            f"failed to read {name}: unterminated quoted value {text[start : start + 20]}"
        )
    content = "".join(parts)
    return _Raw(content) if quote == "'" else content, _line_end(text, position) + 1


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _without_comment(value: str) -> str:
    return "" if value.startswith("#") else value.partition(" #")[0]
