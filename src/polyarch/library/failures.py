"""Errors <-> plain values: an engine's error is raised where its build was asked for.

An error comes back as the class of the tree that it is, or is nearest to, with all that it carries.
Its place comes back as a line and an excerpt. What isn't of the tree is a bug, and comes back as one,
with the engine's traceback as a note.
"""

from __future__ import annotations

import traceback
from typing import Any

from polyarch import errors
from polyarch.errors import InternalError, Place, PolyarchError
from polyarch.record import frozen

__all__ = ["ShownPlace", "decode_error", "encode_error"]

_COMMON = frozenset({"hint", "place", "exit_status"})


@frozen
class ShownPlace:
    """A place in a source text that lies elsewhere."""

    line: int
    shown: str

    def excerpt(self) -> str:
        """The lines around the place, those of the place marked, ending with a newline."""
        return self.shown


def encode_error(error: BaseException) -> dict[str, Any]:
    """Return an error as plain values."""
    if isinstance(error, BaseExceptionGroup):
        parts = [encode_error(each) for each in error.exceptions]
        return {"class": "ExceptionGroup", "message": error.message, "errors": parts}
    if not isinstance(error, PolyarchError):
        return _encode_bug(error)
    more = {name: value for name, value in vars(error).items() if name not in _COMMON}
    return {
        "class": _name(error),
        "message": str(error),
        "hint": error.hint,
        "place": _encode_place(error.place),
        "exit_status": error.exit_status,
        "more": more,
        "notes": list(getattr(error, "__notes__", ())),
    }


def _encode_bug(error: BaseException) -> dict[str, Any]:
    name = type(error).__name__
    bug = InternalError(
        f"this is a bug of polyarch: {name}: {error}" if str(error) else name,
        hint="please report it, with the traceback",
    )
    bug.add_note("".join(traceback.format_exception(error)))
    return {**encode_error(bug), "more": {}}


def _name(error: PolyarchError) -> str:
    """Return the name of the nearest class that the tree has."""
    kinds = {name for name, each in vars(errors).items() if each in type(error).__mro__}
    return next(each.__name__ for each in type(error).__mro__ if each.__name__ in kinds)


def _encode_place(place: Place | None) -> dict[str, Any] | None:
    return {"line": place.line, "shown": place.excerpt()} if place is not None else None


def decode_error(data: dict[str, Any]) -> Exception:
    """Return the error that `encode_error` was given. Raises InternalError."""
    try:
        return _decode(data)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InternalError("the engine has sent an error that can't be read") from error


def _decode(data: dict[str, Any]) -> Exception:
    message = str(data["message"])
    if data["class"] == "ExceptionGroup":
        return ExceptionGroup(message, [_decode(each) for each in data["errors"]])
    kind = getattr(errors, data["class"])
    if not (isinstance(kind, type) and issubclass(kind, PolyarchError)):
        raise TypeError(data["class"])
    error = kind(message, hint=str(data["hint"]))
    if data["place"] is not None:
        error.place = ShownPlace(line=int(data["place"]["line"]), shown=str(data["place"]["shown"]))
    if data["exit_status"] != error.exit_status:
        error.exit_status = int(data["exit_status"])
    # What the class has of its own tells by its default what it is made of.
    for name, default in tuple(vars(error).items()):
        if name in data["more"]:
            setattr(error, name, type(default)(data["more"][name]))
    for note in data["notes"]:
        error.add_note(str(note))
    return error
