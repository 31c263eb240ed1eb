"""The platforms that this machine is said to build, in the order in which BuildKit says so of a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.emulation.facts import Facts
from polyarch.emulation.probe import Runnable, runnable
from polyarch.paths import state_directory
from polyarch.platforms import Platform

__all__ = ["in_order", "local_platforms"]

# The order in which BuildKit advertises what it can run; the native one always comes first.
_ORDER = (
    "amd64",
    "arm64",
    "riscv64",
    "ppc64",
    "ppc64le",
    "s390x",
    "386",
    "mips64le",
    "mips64",
    "loong64",
    "arm",
)


def local_platforms(environ: Mapping[str, str]) -> tuple[Platform, ...]:
    """Return the platforms that can be built here: natively, by the kernel, or by an emulator."""
    return in_order(runnable(Facts(state_directory(environ)), environ))


def in_order(found: Sequence[Runnable]) -> tuple[Platform, ...]:
    """Return platforms, the native one first, in the order in which BuildKit advertises them."""
    native = found[0].architecture if found else ""
    ordered = sorted(found, key=lambda each: _place(each, native))
    return tuple(each.platform for each in ordered)


def _place(each: Runnable, native: str) -> int:
    if each.architecture == native:
        return -1
    return _ORDER.index(each.architecture) if each.architecture in _ORDER else len(_ORDER)
