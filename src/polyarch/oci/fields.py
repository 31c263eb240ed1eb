"""JSON from other machines, read with typed getters; an error names the place in the document.

A place is written like `manifests[0].size`. What is absent, or null, is the type's empty value unless
it is required.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import TypeVar

from polyarch.digest import sha256
from polyarch.errors import IntegrityError, InvalidDigest
from polyarch.golang.json import read_json

__all__ = ["Fields", "naming", "read_document"]

_T = TypeVar("_T")
_LIMIT = 1 << 63


class Fields:
    """A JSON object of which one doesn't know yet what it holds."""

    def __init__(self, value: object, place: str = "") -> None:
        """Take the object at `place`. Raises IntegrityError if it is something else."""
        if not isinstance(value, dict):
            raise IntegrityError(
                f"{place or 'the document'} is {_kind(value)} instead of an object"
            )
        self._fields = value
        self._place = place

    def __contains__(self, key: str) -> bool:
        return self._fields.get(key) is not None

    def place(self, key: str) -> str:
        """Return how errors call the place of a key."""
        return f"{self._place}.{key}" if self._place else key

    def text(self, key: str, *, required: bool = False) -> str:
        """Return a text. Raises IntegrityError."""
        return self._get(key, str, "", required=required)

    def number(self, key: str, *, required: bool = False) -> int:
        """Return a whole number of 63 bits that isn't negative. Raises IntegrityError."""
        number = self._get(key, int, 0, required=required)
        if not 0 <= number < _LIMIT or isinstance(number, bool):
            raise IntegrityError(f"{self.place(key)} is {number} instead of a size")
        return number

    def flag(self, key: str) -> bool:
        """Return a truth value. Raises IntegrityError."""
        return self._get(key, bool, False)

    def integer(self, key: str) -> int:
        """Return a whole number of 64 bits. Raises IntegrityError."""
        number = self._get(key, int, 0)
        if not -_LIMIT <= number < _LIMIT or isinstance(number, bool):
            raise IntegrityError(f"{self.place(key)} is {number} instead of a number of 64 bits")
        return number

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts. Raises IntegrityError."""
        items: list[object] = self._get(key, list, [])
        for position, item in enumerate(items):
            if not isinstance(item, str):
                place = f"{self.place(key)}[{position}]"
                raise IntegrityError(f"{place} is {_kind(item)} instead of a text")
        return tuple(str(item) for item in items)

    def numbers(self, key: str) -> tuple[int, ...]:
        """Return a list of whole numbers of 63 bits that aren't negative. Raises IntegrityError."""
        items: list[object] = self._get(key, list, [])
        for position, item in enumerate(items):
            if not isinstance(item, int) or isinstance(item, bool) or not 0 <= item < _LIMIT:
                raise IntegrityError(
                    f"{self.place(key)}[{position}] is {item!r} instead of a number"
                )
        return tuple(item for item in items if isinstance(item, int))

    def text_map(self, key: str) -> dict[str, str]:
        """Return an object whose values are texts. Raises IntegrityError."""
        found = Fields(self._get(key, dict, {}), self.place(key))
        return {name: found.text(name) for name in found._fields}

    def names(self, key: str) -> tuple[str, ...]:
        """Return the keys of an object whose values are objects, too, and say nothing: a set of texts.

        Raises IntegrityError.
        """
        found = Fields(self._get(key, dict, {}), self.place(key))
        for name in found._fields:
            found._get(name, dict, {})
        return tuple(found._fields)

    def rest(self, known: Container[str]) -> dict[str, object]:
        """Return what there is under keys that aren't known, as it was read."""
        return {key: value for key, value in self._fields.items() if key not in known}

    def object(self, key: str) -> Fields:
        """Return an object, which must be there. Raises IntegrityError."""
        return Fields(self._get(key, dict, {}, required=True), self.place(key))

    def objects(self, key: str) -> Iterator[Fields]:
        """Give the objects of a list. Raises IntegrityError."""
        items: list[object] = self._get(key, list, [])
        for position, item in enumerate(items):
            yield Fields(item, f"{self.place(key)}[{position}]")

    def _get(self, key: str, kind: type[_T], empty: _T, *, required: bool = False) -> _T:
        value = self._fields.get(key)
        if value is None:
            if required:
                raise IntegrityError(f"{self.place(key)} is missing")
            return empty
        if not isinstance(value, kind):
            raise IntegrityError(f"{self.place(key)} is {_kind(value)}, which it can't be")
        return value


def read_document(data: bytes) -> Fields:
    """Read the JSON object that `data` holds. Raises IntegrityError."""
    try:
        return Fields(read_json(data))
    except ValueError as error:
        raise IntegrityError(f"the document is no JSON: {error}") from error


@contextmanager
def naming(kind: str, data: bytes) -> Iterator[None]:
    """Say of every IntegrityError and InvalidDigest inside which document it is about: `kind` and its digest."""
    try:
        yield
    except (IntegrityError, InvalidDigest) as error:
        raise IntegrityError(
            f"the {kind} {sha256(data)} can't be read: {error}",
            hint=error.hint or "the image is damaged, or something else answers for the registry",
        ) from error


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a bool", type(None): "null"}
    return names.get(type(value), "a number")
