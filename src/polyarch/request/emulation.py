"""How a build emulates: what `--emulation`, the variable and builders' settings may say."""

from __future__ import annotations

from enum import StrEnum

from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.text.nearest import suggestion

__all__ = ["EMULATION_VARIABLE", "EmulationMode", "read_emulation"]

EMULATION_VARIABLE = "POLYARCH_EMULATION"


class EmulationMode(StrEnum):
    """What of an emulated step runs natively."""

    AUTO = "auto"
    """Programs that have a native twin, as long as the result is the same."""
    STRICT = "strict"
    """Nothing."""
    VERIFY = "verify"
    """Steps run both ways, and their results are compared."""
    MACHINE = "vm"
    """No program is emulated on its own: every step runs in a virtual machine of its architecture."""


def read_emulation(text: str, origin: str) -> EmulationMode:
    """Return the mode that `text` names; `origin` is where it stands, for errors. Raises InputError."""
    try:
        return EmulationMode(text)
    except ValueError:
        near = suggestion(text, tuple(EmulationMode))
        raise InputError(
            f"{origin}: there is no emulation {quote(text)}{near}",
            hint="auto, strict, verify or vm",
        ) from None
