"""Errors <-> plain values: an engine's error is raised where its build was asked for.

An error comes back as the class of the tree that it is, or is nearest to, with all that it carries.
Its place comes back as a line and an excerpt. What isn't of the tree is a bug, and comes back as one,
with the engine's traceback as a note.
"""

from __future__ import annotations

import traceback

from polyarch import errors
from polyarch.errors import IntegrityError, InternalError, Place, PolyarchError
from polyarch.oci.fields import Fields
from polyarch.record import frozen
from polyarch.store.trouble import machine_trouble

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


def encode_error(error: BaseException) -> dict[str, object]:
    """Return an error as plain values."""
    if isinstance(error, BaseExceptionGroup):
        parts = [encode_error(each) for each in error.exceptions]
        return {"class": "ExceptionGroup", "message": error.message, "errors": parts}
    error = machine_trouble(error) or error
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


def _encode_bug(error: BaseException) -> dict[str, object]:
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


def _encode_place(place: Place | None) -> dict[str, object] | None:
    return {"line": place.line, "shown": place.excerpt()} if place is not None else None


def decode_error(data: object) -> Exception:
    """Return the error that `encode_error` was given. Raises InternalError."""
    try:
        return _decode(Fields(data))
    except (TypeError, AttributeError, ValueError, IntegrityError) as error:
        raise InternalError("the engine has sent an error that can't be read") from error


def _decode(data: Fields) -> Exception:
    message, name = data.text("message"), data.text("class", required=True)
    if name == "ExceptionGroup":
        return ExceptionGroup(message, list(map(_decode, data.objects("errors"))))
    kind = getattr(errors, name)
    if not (isinstance(kind, type) and issubclass(kind, PolyarchError)):
        raise TypeError(name)
    error = kind(message, hint=data.text("hint"))
    if "place" in data:
        place = data.object("place")
        error.place = ShownPlace(
            line=place.integer("line"), shown=place.text("shown", required=True)
        )
    if data.integer("exit_status") != error.exit_status:
        error.exit_status = data.integer("exit_status")
    # What the class has of its own tells by its default what it is made of.
    more = data.object("more").rest(())
    for field, default in tuple(vars(error).items()):
        if field in more:
            setattr(error, field, type(default)(more[field]))
    for note in data.texts("notes"):
        error.add_note(note)
    return error
