"""JSON as Go writes it: the documents' bytes are what digests are made of.

Compact with HTML-unsafe characters escaped (configs), or indented by two blanks (manifests, indexes).
"""

from __future__ import annotations

import json

__all__ = ["compact", "indented"]

# Go's encoding/json escapes these so that JSON may stand in HTML.
_ESCAPES = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}
_TABLE = str.maketrans(_ESCAPES)


def compact(value: object, *, sort_keys: bool = False) -> bytes:
    """Write `value` without blanks; keys in the given order, or sorted."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=sort_keys)
    return _encode(text)


def indented(value: object) -> bytes:
    """Write `value` indented by two blanks, keys in the given order."""
    return _encode(json.dumps(value, indent=2, ensure_ascii=False))


def _encode(text: str) -> bytes:
    # What isn't UTF-8 came out of a Dockerfile; Go puts U+FFFD in its place.
    return text.translate(_TABLE).encode("utf-8", "replace")
