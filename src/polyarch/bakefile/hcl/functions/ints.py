"""Numbers of HCL as whole numbers and floats of a machine, as functions take them."""

from __future__ import annotations

from polyarch.bakefile.hcl.functions.spec import FunctionError
from polyarch.bakefile.hcl.values import Value

__all__ = ["as_float", "as_int"]

_LIMIT = 1 << 63


def as_int(value: Value) -> int:
    """Return a number as a whole one of 64 bits. Raises FunctionError."""
    num = value.raw
    if not num.is_integer or not -_LIMIT <= num.value < _LIMIT:
        raise FunctionError(f"value must be a whole number, between {-_LIMIT} and {_LIMIT - 1}")
    return int(num.value)


def as_float(value: Value) -> float:
    """Return a number in double precision."""
    num = value.raw
    if num.infinite:
        return float("inf") if num.infinite > 0 else float("-inf")
    try:
        return float(num.value)
    except OverflowError:
        return float("inf") if num.value > 0 else float("-inf")
