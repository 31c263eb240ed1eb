"""A matrix of a target: every combination of its values. Source: documentation and behaviour of buildx."""

from __future__ import annotations

from polyarch.bakefile.hcl.types import Kind
from polyarch.bakefile.hcl.values import Value, elements
from polyarch.errors import BakeFileError

__all__ = ["combinations"]

_MOST = 10_000


def combinations(value: Value) -> list[dict[str, Value]]:
    """Return the variables of each cell. Raises BakeFileError.

    buildx goes through the names in an order that differs from run to run; here it is that of the alphabet, and
    the first one changes fastest.
    """
    if value.type.kind not in {Kind.MAP, Kind.OBJECT} or value.is_null:
        raise BakeFileError("matrix must be a map")
    cells: list[dict[str, Value]] = [{}]
    for name, each in value.raw.items():
        if each.is_null or not each.type.is_iterable:
            raise BakeFileError("matrix values must be a list")
        items = [item for _key, item in elements(each)]
        if len(cells) * len(items) > _MOST:
            raise BakeFileError(f"a matrix of more than {_MOST} cells")
        cells = [{**cell, name: item} for item in items for cell in cells]
    return cells
