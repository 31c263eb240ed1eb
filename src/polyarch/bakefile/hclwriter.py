"""A bake file in its plain form -> HCL. Source: HCL's syntax specification (quoted templates, object values)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

__all__ = ["hcl_text"]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_ESCAPE = re.compile(r"\\.")
_LONG = {"\\b": "\\u0008", "\\f": "\\u000c", "\\/": "/"}


def hcl_text(plain: Mapping[str, object]) -> str:
    """Return the text of a file: `plain` has blocks by type and by name, whose texts are templates already."""
    blocks = []
    for kind, named in plain.items():
        assert isinstance(named, Mapping)
        for name, attributes in named.items():
            lines = "".join(_attributes(attributes))
            blocks.append(f"{kind} {_quoted(name)} {{\n{lines}}}\n")
    return "\n".join(blocks)


def _attributes(attributes: Mapping[str, object]) -> Iterator[str]:
    for name, value in attributes.items():
        yield f"  {name} = {_value(value, 1)}\n"


def _value(value: object, depth: int) -> str:
    if isinstance(value, str):
        return _quoted(value)
    indent = "  " * depth
    if isinstance(value, Mapping):
        inner = "".join(
            f"{indent}  {_key(key)} = {_value(each, depth + 1)}\n" for key, each in value.items()
        )
        return f"{{\n{inner}{indent}}}" if inner else "{}"
    if isinstance(value, Sequence):
        if any(isinstance(each, Mapping) for each in value):
            inner = "".join(f"{indent}  {_value(each, depth + 1)},\n" for each in value)
            return f"[\n{inner}{indent}]"
        return f"[{', '.join(_value(each, depth) for each in value)}]"
    return json.dumps(value)


def _key(name: str) -> str:
    return name if _IDENTIFIER.match(name) else _quoted(name)


def _quoted(text: str) -> str:
    """Write a quoted template; HCL knows fewer short escapes than JSON."""
    return _ESCAPE.sub(
        lambda found: _LONG.get(found[0], found[0]), json.dumps(text, ensure_ascii=False)
    )
