"""What mirrors said before their registry was asked."""

from __future__ import annotations

from collections.abc import Sequence

from polyarch.errors import RegistryError
from polyarch.record import frozen

__all__ = ["Trial", "with_trials"]


@frozen
class Trial:
    """Why a mirror didn't answer, and whether it may the next time."""

    text: str
    may_pass: bool


def with_trials(error: RegistryError, tried: Sequence[Trial]) -> RegistryError:
    """Return the error of a registry with those of its mirrors; where it is out of reach, they are all there is."""
    return type(error)(
        "; ".join((str(error), *(each.text for each in tried))),
        hint=error.hint,
        status=error.status,
        codes=error.codes,
        temporary=error.temporary or any(each.may_pass for each in tried),
        passing=error.passing,
        wait=error.wait,
    )
