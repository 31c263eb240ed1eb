"""Names of targets and groups."""

from __future__ import annotations

from polyarch.errors import BakeFileError
from polyarch.golang.strconv import quote
from polyarch.pattern import pattern
from polyarch.text.glob import BadPattern, check_syntax
from polyarch.text.wildcard import compile_name

__all__ = ["check_name", "matches", "sanitized"]

_CHARACTERS = "[a-zA-Z0-9_-]+"
_NAME = pattern(rf"{_CHARACTERS}\Z")


def check_name(name: str) -> None:
    """Raise BakeFileError unless a target may have this name."""
    if _NAME.match(name) is None:
        raise BakeFileError(f"only {quote(_CHARACTERS)} are allowed")


def sanitized(name: str) -> str:
    """Return the name of a target that stands for a service of Compose, whose name may have dots."""
    return name.replace(".", "_")


def matches(wanted: str, name: str) -> bool:
    """Tell whether a name fits a pattern of Go's `path.Match`. Raises ValueError for a bad pattern."""
    try:
        check_syntax(wanted)
    except BadPattern as error:
        raise ValueError(str(error)) from None
    return compile_name(wanted).fullmatch(name) is not None
