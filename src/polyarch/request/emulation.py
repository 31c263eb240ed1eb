"""How a build emulates: what `--emulation`, the variable and builders' settings may say."""

from __future__ import annotations

from enum import StrEnum

from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.text.nearest import suggestion

__all__ = ["EMULATION_VARIABLE", "EmulationMode", "read_emulation"]

EMULATION_VARIABLE = "POLYARCH_EMULATION"
_MACHINE = "vm"


class EmulationMode(StrEnum):
    """What of an emulated step runs natively."""

    AUTO = "auto"
    """Programs that have a native twin, as long as the result is the same."""
    STRICT = "strict"
    """Nothing."""
    VERIFY = "verify"
    """Steps run both ways, and their results are compared."""


def read_emulation(text: str, origin: str) -> EmulationMode:
    """Return the mode that `text` names; `origin` is where it stands, for errors. Raises InputError."""
    if text == _MACHINE:
        raise InputError(
            f"{origin}: steps in a virtual machine aren't there yet",
            hint="auto, strict and verify emulate programs one by one",
        )
    try:
        return EmulationMode(text)
    except ValueError:
        near = suggestion(text, tuple(EmulationMode))
        raise InputError(
            f"{origin}: there is no emulation {quote(text)}{near}",
            hint="auto, strict or verify",
        ) from None
