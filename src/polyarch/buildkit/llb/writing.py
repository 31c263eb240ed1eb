"""Messages of ops, as far as all kinds of them have them in common."""

from __future__ import annotations

from polyarch.platforms import Platform
from polyarch.record import frozen
from polyarch.wire import field, present_number

__all__ = [
    "NOTHING",
    "Made",
    "Output",
    "Written",
    "moment",
    "owner_bytes",
    "platform_bytes",
]

NOTHING = -1
"""Stands for an input that is an empty tree, and for an output that nobody gets."""
_NANO = 1_000_000_000


@frozen
class Output:
    """What an op has made: one of its outputs."""

    op: str
    number: int = 0

    def to_bytes(self) -> bytes:
        """Return it as an input of another op."""
        return field(1, field(1, self.op) + field(2, self.number))


Made = Output | None
"""What a vertex has become: None is an empty tree, which is no op."""


@frozen
class Written:
    """An op of a kind, by the number of its field, with its inputs and what a daemon must be able to do for it."""

    kind: int
    message: bytes
    inputs: tuple[Output, ...] = ()
    needs: frozenset[str] = frozenset()


def platform_bytes(platform: Platform) -> bytes:
    """Return a platform."""
    return (
        field(1, platform.architecture)
        + field(2, platform.os)
        + field(3, platform.variant)
        + field(4, platform.os_version)
    )


def owner_bytes(owner: str, base: int) -> bytes:
    """Return an owner that is as in `--chown`; names are looked up in the input number `base`."""
    user, _, group = owner.partition(":")
    return b"".join(
        field(number, _user(each, base)) for number, each in ((1, user), (2, group)) if each
    )


def _user(text: str, base: int) -> bytes:
    if text.isdecimal():
        return present_number(2, int(text))
    return field(1, field(1, text) + field(2, base))


def moment(seconds: int | None) -> int:
    """Return a time in nanoseconds since the epoch, -1 for that of the work."""
    return -1 if seconds is None else seconds * _NANO
