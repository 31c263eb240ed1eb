"""One line of comma separated values, as flags use it.

RFC 4180 with Go's strictness: a quote may open a field or, doubled, stand within a quoted one; anywhere
else it is an error that names the column in bytes. One line break at the end is forgiven.
"""

from __future__ import annotations

import re
from typing import NoReturn

from polyarch.errors import InputError

__all__ = ["csv_fields", "csv_value"]

# Possessive, lest the first half of a doubled quote is taken for the end of a field.
_QUOTED = re.compile(r'"((?:[^"]++|"")*+)"')
_BARE = 'bare " in non-quoted-field'
_EXTRANEOUS = 'extraneous or missing " in quoted-field'


def csv_fields(text: str, *, comma: str = ",") -> list[str]:
    """Split a line into fields. Raises InputError: "EOF" for an empty line, else with the column."""
    line = text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")
    if line == "":
        raise InputError("EOF")
    fields = []
    position = 0
    while True:
        field, end = _field(line, position, comma)
        fields.append(field)
        if end == len(line):
            return fields
        position = end + 1


def _field(line: str, start: int, comma: str) -> tuple[str, int]:
    """Read the field at `start`; returns it and the place of its comma or the line's end."""
    if not line.startswith('"', start):
        end = line.find(comma, start)
        end = len(line) if end < 0 else end
        bare = line.find('"', start, end)
        if bare >= 0:
            _fail(line, bare, _BARE)
        return line[start:end], end
    match = _QUOTED.match(line, start)
    if match is None:
        # Go stands behind the last quote that it took as part of the field.
        _fail(line, line.rfind('"') + 1, _EXTRANEOUS)
    end = match.end()
    if end < len(line) and line[end] != comma:
        _fail(line, end - 1, _EXTRANEOUS)
    return match[1].replace('""', '"'), end


def _fail(line: str, position: int, reason: str) -> NoReturn:
    column = len(line[:position].encode(errors="surrogateescape")) + 1
    raise InputError(f"parse error on line 1, column {column}: {reason}")


def csv_value(fields: dict[str, str]) -> str:
    """Write `key=value` fields as one line, in the given order; those with a comma are quoted."""
    return ",".join(
        f'"{key}={value}"' if "," in key + value else f"{key}={value}"
        for key, value in fields.items()
    )
