"""Documents of Kubernetes' API compared with its schemas, which its client library's models are made of.

The library checks what has to be there when a model is made, and neither types nor names of what it's given as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kubernetes import client

__all__ = ["problems"]

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,), "int": (int,), "bool": (bool,), "float": (float, int), "object": (object,), "datetime": (str,)
}  # fmt: skip
_WHOLE = re.compile(r"(?P<kind>list|dict)[\[(](?:str, )?(?P<inner>.+)[\])]\Z")


def problems(document: object, kind: str) -> list[str]:
    """Return what of a document contradicts the schema of a kind, such as `V1Deployment`."""
    return list(_problems(document, kind, ""))


def _problems(value: object, kind: str, at: str) -> Iterator[str]:
    whole = _WHOLE.match(kind)
    if whole is not None:
        yield from _parts(value, whole["kind"], whole["inner"], at)
    elif kind in _TYPES:
        if not isinstance(value, _TYPES[kind]) or (kind == "int" and isinstance(value, bool)):
            yield f"{at} is no {kind}: {value!r}"
    elif isinstance(value, dict):
        yield from _fields(value, getattr(client, kind), at)
    else:
        yield f"{at} is no {kind}: {value!r}"


def _parts(value: object, kind: str, inner: str, at: str) -> Iterator[str]:
    if kind == "list" and isinstance(value, list):
        for number, each in enumerate(value):
            yield from _problems(each, inner, f"{at}[{number}]")
    elif kind == "dict" and isinstance(value, dict):
        for name, each in value.items():
            yield from _problems(each, inner, f"{at}.{name}")
    else:
        yield f"{at} is no {kind}: {value!r}"


def _fields(value: dict[str, Any], model: Any, at: str) -> Iterator[str]:
    known = {there: name for name, there in model.attribute_map.items()}
    for name, each in value.items():
        if name in known:
            yield from _problems(each, model.openapi_types[known[name]], f"{at}.{name}")
        else:
            yield f"{at}.{name} isn't in the schema"
    try:
        model(**{known[name]: each for name, each in value.items() if name in known})
    except ValueError as error:
        yield f"{at}: {error}"
