"""What this machine runs, as commands show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch import __version__
from polyarch.builders.values import BuilderNode
from polyarch.emulation.facts import Facts
from polyarch.emulation.probe import Runnable, runnable
from polyarch.paths import state_folder
from polyarch.platforms import Platform
from polyarch.record import frozen

__all__ = ["VERSION", "LocalView", "in_order", "local_platforms"]

VERSION = f"v{__version__}"
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
    return in_order(runnable(Facts(state_folder(environ)), environ))


def in_order(found: Sequence[Runnable]) -> tuple[Platform, ...]:
    """Return platforms, the native one first, in the order in which BuildKit advertises them."""
    native = found[0].architecture if found else ""
    ordered = sorted(found, key=lambda each: _place(each, native))
    return tuple(
        Platform(os=each.os, architecture=each.architecture, variant=each.variant)
        for each in ordered
    )


def _place(each: Runnable, native: str) -> int:
    if each.architecture == native:
        return -1
    return _ORDER.index(each.architecture) if each.architecture in _ORDER else len(_ORDER)


@frozen
class LocalView:
    """A node of this machine, as `polyarch.node.node.Node` wants it."""

    node: BuilderNode
    environ: Mapping[str, str]

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name

    @property
    def configured(self) -> tuple[Platform, ...]:
        """The platforms that the user set it up for."""
        return self.node.platforms

    def platforms(self) -> tuple[Platform, ...]:
        """What this machine runs."""
        return local_platforms(self.environ)
