"""Go's toolchains in two roots of one base image -> the tools that may run natively: ring (c).

`go` itself stays emulated. It finds out what it works for, as it always does: from the program that it is, from the
environment, from the user's settings and from go.env; and it tells its tools, by GOARCH, GOARM and all the others, so that a tool
that was built for another machine does the same. They are what takes the time. A tool that nobody has told
would work for the machine it was built for: one without GOARCH is given to the emulator.

Left out: what shows or serves (doc, pprof, trace, objdump), what builds Go (dist), and what hardly takes time.

Source: `main` of cmd/go, which sets `cfg.CmdEnv`; “go help environment”; `internal/buildcfg`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from polyarch import inroot
from polyarch.errors import InputError, MachineError
from polyarch.platforms import Platform
from polyarch.record import frozen

__all__ = ["GoTool", "check_toolchain", "find_tools"]

_NATIVE = "amd64"
_PLACES = ("/usr/local/go", "/usr/lib/go", "/usr/lib/golang")
_PARENT, _VERSIONED = "/usr/lib", "go-*"
_TOOLS = ("asm", "cgo", "compile", "cover", "link", "pack", "vet")
_VERSION_LIMIT = 4096


@frozen
class GoTool:
    """A tool of a toolchain: its path in the foreign root and in the native one, without links.

    `toolchain` is the directory of the toolchain, the same in both.
    """

    path: str
    native: str
    toolchain: str
    needs_goarch: bool = True


def find_tools(root: Path, platform: Platform) -> Iterator[GoTool]:
    """Yield the tools of all toolchains of a foreign root, in the order of their directories."""
    for toolchain in sorted(set(_toolchains(root))):
        tools = f"{toolchain}/pkg/tool/linux_"
        for name in _TOOLS:
            if path := _file(root, f"{tools}{platform.architecture}/{name}"):
                native = f"{tools}{_NATIVE}/{name}"
                yield GoTool(path=path, native=native, toolchain=toolchain)
        if path := _file(root, f"{toolchain}/bin/gofmt"):
            yield GoTool(path=path, native=path, toolchain=toolchain, needs_goarch=False)


def _toolchains(root: Path) -> Iterator[str]:
    parent = inroot.resolve(root, _PARENT)
    found = [f"/{each.relative_to(root)}" for each in parent.glob(_VERSIONED)]
    for place in (*_PLACES, *found):
        if _file(root, f"{place}/VERSION"):
            yield f"/{inroot.resolve(root, place).relative_to(root)}"


def _file(root: Path, path: str) -> str:
    """Return the path of a regular file of a root with links resolved, "" if there is none."""
    place = inroot.resolve(root, path)
    return f"/{place.relative_to(root)}" if place.is_file() else ""


def check_toolchain(foreign: Path, native: Path, toolchain: str) -> bytes:
    """Check that two roots have the same release of Go at a path; return its version.

    `go` knows what a tool makes by the tool's version if that is a release, else by its build ID, which other
    machines' tools have another one of. Raises MachineError, InputError, OSError.
    """
    ours, theirs = (_version(each, toolchain) for each in (native, foreign))
    if ours != theirs:
        raise MachineError(
            f"Go is {ours.decode(errors='replace')} in the native image, "
            f"and {theirs.decode(errors='replace')}"
        )
    if not ours.startswith(b"go1."):
        raise MachineError(f"{toolchain} isn't a release of Go")
    return ours


def _version(root: Path, toolchain: str) -> bytes:
    path = f"{toolchain}/VERSION"
    lines = inroot.read_small(path, _VERSION_LIMIT, "version", root=root).splitlines()
    if not lines:
        raise InputError(f"{path} is empty")
    return lines[0].strip()
