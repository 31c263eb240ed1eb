"""JSON that others wrote, read as Go reads it: no NaN, no halves of characters, and no depth without end."""

from __future__ import annotations

import json
import re

__all__ = ["read_json"]

_HALVES = re.compile("[\ud800-\udfff]")


def read_json(data: bytes | str) -> object:
    """Return the value that `data` holds. Raises ValueError, whatever is wrong with it.

    Bytes that aren't UTF-8, and halves of surrogate pairs, become U+FFFD: nobody could write them again.
    """
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    try:
        value: object = json.loads(text, parse_constant=_no_constant)
        if "\\ud" in text or "\\uD" in text or isinstance(data, str):
            value = _whole(value)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return value


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no value of JSON")


def _whole(value: object) -> object:
    if isinstance(value, str):
        return _HALVES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(each) for key, each in value.items()}
    return value
