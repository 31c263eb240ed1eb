"""JSON objects whose keys can be written as Go writes field names, too.

docker's templates reach into Go structs: `{{.Manifest.Digest}}` is the field `digest` of the JSON. A key
is found if it is the same but for case and for the characters that Go names don't have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from polyarch.cli.template.values import Value

__all__ = ["GoFields", "go_fields"]


def _plain(key: object) -> str:
    return str(key).replace("_", "").replace(".", "").lower()


class GoFields(Mapping[str, Value]):
    """A JSON object; iterating gives the keys as they are in the JSON."""

    def __init__(self, fields: Mapping[str, Value]) -> None:
        self._fields = fields
        self._aliases = {_plain(key): key for key in reversed(list(fields))}

    def __getitem__(self, key: str) -> Value:
        return self._fields[key if key in self._fields else self._aliases[_plain(key)]]

    def __contains__(self, key: object) -> bool:
        return key in self._fields or _plain(key) in self._aliases

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def go_fields(value: object) -> Value:
    """Wrap all objects of a JSON document. Raises TypeError for what is none."""
    if isinstance(value, Mapping):
        return GoFields({str(key): go_fields(each) for key, each in value.items()})
    if isinstance(value, (list, tuple)):
        return [go_fields(each) for each in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"{value!r} is no JSON")
