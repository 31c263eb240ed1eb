"""One line of comma separated values, as flags and mounts hold it.

RFC 4180 with Go's strictness: a quote may open a field or, doubled, stand within a quoted one; anywhere
else it is an error that names the column, in bytes. Line feeds are ordinary, but for one line break at the
end, which is forgiven. Source: behaviour of tonistiigi/go-csvvalue, `Fields`, with which BuildKit and buildx
read such lines.
"""

from __future__ import annotations

from polyarch.errors import InputError

__all__ = ["csv_fields"]

_BARE = 'bare " in non-quoted-field'
_EXTRANEOUS = 'extraneous or missing " in quoted-field'


def csv_fields(text: str, *, comma: str = ",") -> list[str]:
    """Split a line into fields. Raises InputError: "EOF" for an empty line, else with the column."""
    line = text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")
    if line == "":
        raise InputError("EOF")
    fields: list[str] = []
    position = 0
    while True:
        read = _quoted_field if line.startswith('"', position) else _bare_field
        field, end = read(line, position, comma)
        fields.append(field)
        if end == len(line):
            return fields
        position = end + 1


def _bare_field(line: str, start: int, comma: str) -> tuple[str, int]:
    """Return the field at `start` and the place of its comma or of the line's end."""
    end = line.find(comma, start)
    end = len(line) if end < 0 else end
    bare = line.find('"', start, end)
    if bare >= 0:
        raise _error_at(line, bare, _BARE)
    return line[start:end], end


def _quoted_field(line: str, start: int, comma: str) -> tuple[str, int]:
    """Return the field whose first quote is at `start` and the place behind its last one."""
    parts: list[str] = []
    position = start + 1
    while True:
        end = line.find('"', position)
        if end < 0:
            # Go stands behind the last quote that it took.
            raise _error_at(line, position, _EXTRANEOUS)
        parts.append(line[position:end])
        if not line.startswith('"', end + 1):
            break
        parts.append('"')
        position = end + 2
    if line[end + 1 : end + 2] not in {"", comma}:
        raise _error_at(line, end, _EXTRANEOUS)
    return "".join(parts), end + 1


def _error_at(line: str, position: int, reason: str) -> InputError:
    column = len(line[:position].encode(errors="surrogateescape")) + 1
    return InputError(f"parse error on line 1, column {column}: {reason}")
