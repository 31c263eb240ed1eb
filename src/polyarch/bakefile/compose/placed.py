"""Texts of Compose files that know where they are written, and errors that say so.

Documents are merged, extended and interpolated many times before anything looks at what they say. So a place isn't kept
beside a value, by a path that each of these would have to follow: names and texts carry it along themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from polyarch.bakefile.hcl.place import Range
from polyarch.errors import BakeFileError, InputError

__all__ = ["Text", "fault", "name_in", "placing", "range_of", "replacing_text"]


class Text(str):
    """A name or a text of a document, written at `at`; for all else a text like any other."""

    __slots__ = ("at",)

    at: Range

    @classmethod
    def written(cls, text: str, at: Range) -> Text:
        """Return a text with its place."""
        found = cls(text)
        found.at = at
        return found


def replacing_text(before: object, text: str) -> str:
    """Return a text that stands where another value was written."""
    return Text.written(text, before.at) if isinstance(before, Text) else text


def range_of(*values: object) -> Range | None:
    """Return where the first of some values is written that has a place; mappings and lists begin with what is in them."""
    for value in values:
        if isinstance(value, Text):
            return value.at
        inner = iter(value) if isinstance(value, dict | list) else iter(())
        if (found := range_of(*inner)) is not None:
            return found
    return None


def name_in(mapping: Mapping[str, object] | None, name: str) -> str:
    """Return a name as a mapping has it, with its place; itself if it isn't there."""
    return next((each for each in mapping or () if each == name), name)


def fault(message: str, *values: object) -> BakeFileError:
    """Return an error about values of a document, at the first of them that has a place."""
    at = range_of(*values)
    return BakeFileError(message, place=at.location if at is not None else None)


@contextmanager
def placing(*values: object) -> Iterator[None]:
    """Set the place of errors raised in the block to that of `values`, unless they have one already."""
    try:
        yield
    except InputError as error:
        at = range_of(*values)
        if error.place is None and at is not None:
            error.place = at.location
        raise
