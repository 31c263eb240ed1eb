"""The `--flags` of an instruction against those that it knows."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from polyarch.errors import DockerfileError
from polyarch.record import frozen
from polyarch.text.nearest import suggestion

__all__ = ["FlagKind", "Flags", "parse_flags"]


class FlagKind(Enum):
    """What a flag takes."""

    BOOL = auto()
    """Nothing, `true` or `false`."""
    TEXT = auto()
    """A value, once."""
    TEXTS = auto()
    """Values, each with a flag of its own."""


@frozen
class Flags:
    """The flags that were given."""

    values: Mapping[str, tuple[str, ...]]

    def text(self, name: str, default: str = "") -> str:
        """The value of a flag, `default` if it wasn't given."""
        return self.values.get(name, (default,))[0]

    def texts(self, name: str) -> tuple[str, ...]:
        """All values of a flag, in order."""
        return self.values.get(name, ())

    def find_bool(self, name: str) -> bool | None:
        """The value of a BOOL flag; None if it wasn't given."""
        values = self.values.get(name)
        return None if values is None else values[0] == "true"


def parse_flags(flags: tuple[str, ...], known: Mapping[str, FlagKind]) -> Flags:
    """Check flags, which begin with two dashes, against those known.

    Raises DockerfileError, without a place, for an unknown flag, one given twice, a missing value and a
    truth value that is none.
    """
    values: dict[str, tuple[str, ...]] = {}
    for flag in flags:
        if flag == "--":
            break
        dashed, equals, value = flag.partition("=")
        name = dashed.removeprefix("--")
        kind = known.get(name)
        if kind is None:
            hint = suggestion(name, sorted(known))
            raise DockerfileError(f"unknown flag: {dashed}{hint}")
        if name in values and kind is not FlagKind.TEXTS:
            raise DockerfileError(f"duplicate flag specified: {dashed}")
        if kind is FlagKind.BOOL:
            value = _bool(dashed, value, has_value=bool(equals))
        elif not equals:
            raise DockerfileError(f"missing a value on flag: {dashed}")
        values[name] = (*values.get(name, ()), value)
    return Flags(values=values)


def _bool(flag: str, value: str, *, has_value: bool) -> str:
    if not has_value:
        return "true"
    if not value:
        raise DockerfileError(f"missing a value on flag: {flag}")
    if value.lower() not in {"true", "false"}:
        raise DockerfileError(f"expecting boolean value for flag {flag}, not: {value}")
    return value.lower()
