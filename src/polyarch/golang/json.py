"""Go's `encoding/json`: documents of others -> values, and values -> the bytes of which digests are made.

Reading knows no NaN, no halves of characters and no depth without end. Writing is compact (configs) or
indented by two blanks (manifests, indexes), with what is unsafe within HTML escaped.
"""

from __future__ import annotations

import json

from polyarch.pattern import pattern

__all__ = ["compact", "indented", "read_json"]

# JavaScript takes the two separators for line ends; Go escapes them wherever the JSON may go.
_SEPARATORS = str.maketrans({"\u2028": "\\u2028", "\u2029": "\\u2029"})
_FOR_HTML = {**_SEPARATORS, **str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&"})}
_HALVES = pattern("[\ud800-\udfff]")
_FLOAT_DIGITS = 308
"""As many digits fit a float, whatever they are."""


# --- reading ---


def read_json(data: bytes | str) -> object:
    """Return the value that `data` holds. Raises ValueError, whatever is wrong with it.

    Bytes that aren't UTF-8, and halves of surrogate pairs, become U+FFFD: nobody could write them again.
    Numbers that no float holds are refused, as Go refuses them.
    """
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    try:
        value: object = _DECODER.decode(text)
        if "\\ud" in text or "\\uD" in text or not (isinstance(data, bytes) or data.isascii()):
            value = _whole(value)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return value


def _integer(text: str) -> int:
    if len(text) > _FLOAT_DIGITS:
        _float(text)
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise ValueError(f"no number is as large as {text[:20]}…")
    return number


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no value of JSON")


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_no_constant)


def _whole(value: object) -> object:
    if isinstance(value, str):
        return _HALVES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(each) for key, each in value.items()}
    return value


# --- writing ---


def compact(value: object, *, sort_keys: bool = False, for_html: bool = True) -> bytes:
    """Write `value` without blanks; keys in the given order, or sorted.

    Without `for_html` as Go's encoder does after SetEscapeHTML(false).
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=sort_keys)
    return _encode(text.translate(_FOR_HTML if for_html else _SEPARATORS))


def indented(value: object, *, by: str = "  ") -> bytes:
    """Write `value` with each level indented, by two blanks or otherwise, keys in the given order."""
    return _encode(json.dumps(value, indent=by, ensure_ascii=False).translate(_FOR_HTML))


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # A byte of a flag that isn't UTF-8: Go writes the replacement for one, as an escape.
        return _HALVES.sub(r"\\ufffd", text).encode()
