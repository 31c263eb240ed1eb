"""`csvdecode`: a table with a line of names -> a list of objects. Source: Go's encoding/csv."""

from __future__ import annotations

from polyarch.bakefile.hcl.types import STRING, list_of, object_of
from polyarch.bakefile.hcl.values import Value, object_value, string
from polyarch.golang.strconv import quote

__all__ = ["csv_decode"]


def csv_decode(text: str) -> Value:
    """Return the rows of a table. Raises ValueError."""
    rows = _rows(text)
    if not rows:
        raise ValueError("missing header line")
    header = rows[0][1]
    for index, name in enumerate(header):
        if name in header[:index]:
            raise ValueError(f"duplicate column name {quote(name)}")
    found: list[Value] = []
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise ValueError(f"CSV parse error on line {line}: wrong number of fields")
        cells = zip(header, row, strict=True)
        found.append(object_value({name: string(cell) for name, cell in cells}))
    return Value(list_of(object_of(dict.fromkeys(header, STRING))), tuple(found))


def _rows(text: str) -> list[tuple[int, list[str]]]:
    """Return the rows with the numbers of their lines; empty lines are none."""
    text = text.replace("\r\n", "\n")
    rows: list[tuple[int, list[str]]] = []
    position, line = 0, 1
    while position < len(text):
        if text[position] == "\n":
            position, line = position + 1, line + 1
            continue
        cells: list[str] = []
        first = line
        while True:
            cell, end = _cell(text, position, line)
            line += cell.count("\n")
            cells.append(cell)
            position = end + 1
            if text[end : end + 1] != ",":
                break
        line += 1
        rows.append((first, cells))
    return rows


def _cell(text: str, start: int, line: int) -> tuple[str, int]:
    """Return a cell, and where its comma or line end is."""
    if text[start : start + 1] != '"':
        end = start
        while end < len(text) and text[end] not in ",\n":
            if text[end] == '"':
                raise ValueError(f'CSV parse error on line {line}: bare " in non-quoted-field')
            end += 1
        return text[start:end], end
    parts: list[str] = []
    position = start + 1
    while True:
        end = text.find('"', position)
        if end < 0:
            raise ValueError(
                f'CSV parse error on line {line}: extraneous or missing " in quoted-field'
            )
        parts.append(text[position:end])
        if text[end + 1 : end + 2] != '"':
            break
        parts.append('"')
        position = end + 2
    if text[end + 1 : end + 2] not in {"", ",", "\n"}:
        raise ValueError(f'CSV parse error on line {line}: extraneous or missing " in quoted-field')
    return "".join(parts), end + 1
