"""How a build emulates: what `--emulation`, the variable and builders' settings may say."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.text.nearest import suggestion

__all__ = [
    "EMULATION_VARIABLE",
    "RINGS_VARIABLE",
    "EmulationMode",
    "Ring",
    "read_emulation",
    "read_rings",
]

EMULATION_VARIABLE = "POLYARCH_EMULATION"
RINGS_VARIABLE = "POLYARCH_TWINS"


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


class Ring(StrEnum):
    """Which kind of programs may run natively."""

    SHELL = "a"
    """What shell scripts start."""
    PACKAGES = "b"
    """What package managers start."""
    GO = "c"
    """Go's compilers."""


def read_rings(environ: Mapping[str, str]) -> frozenset[Ring]:
    """Return the rings that the variable names, with commas between them, all without one. Raises InputError."""
    text = environ.get(RINGS_VARIABLE)
    if text is None:
        return frozenset(Ring)
    try:
        return frozenset(Ring(each.strip()) for each in text.split(",") if each.strip())
    except ValueError:
        raise InputError(
            f"{RINGS_VARIABLE}: {quote(text)} isn't a list of kinds of native programs",
            hint="a (shells and their tools), b (package managers), c (Go), some of them: a,c; or nothing",
        ) from None


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
