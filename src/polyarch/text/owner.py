"""Owners as `--chown` and USER write them: `USER[:GROUP]`, each a number or a name."""

from __future__ import annotations

from polyarch.pattern import pattern

__all__ = ["has_names", "owner_number"]

_NUMBER = pattern(r"([+-]?)0*([0-9]{1,10})")
_LIMIT = 1 << 31
_NOBODY_IN_PARTICULAR = -1


def owner_number(name: str) -> int | None:
    """Return the id that a user or a group stands for by itself; None for a name that must be looked up.

    As BuildKit has it: `root` is 0 in every image, nothing at all is 0, and a number is a signed one of
    32 bits, of which the negative ones wrap; what is larger is taken for a name. -1 leaves the owner as
    it is with chown(2), and the owner of what was just made is 0.
    """
    if name in ("", "root"):
        return 0
    match = _NUMBER.fullmatch(name)
    number = int(match[1] + match[2]) if match is not None else _LIMIT
    if not -_LIMIT <= number < _LIMIT:
        return None
    return 0 if number == _NOBODY_IN_PARTICULAR else number % (1 << 32)


def has_names(owner: str) -> bool:
    """Tell if a database of users or groups is needed to understand an owner."""
    user, _, group = owner.partition(":")
    return owner_number(user) is None or owner_number(group) is None
