"""Handlers for the whole machine: mounting binfmt_misc, registering emulators, taking them away.

What `tonistiigi/binfmt` does, for people who want it: our own builds have no need of it. Each name is
tried by itself; what became of it is told, and the others are still done.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from polyarch.emulation.binfmt import HANDLERS, BinfmtMount, get_handler
from polyarch.emulation.facts import Facts
from polyarch.emulation.probe import executed
from polyarch.emulation.qemu import find_emulator
from polyarch.errors import InputError, MachineError, PolyarchError
from polyarch.platforms import parse
from polyarch.record import frozen
from polyarch.syscalls import MNT_DETACH, mount, umount2

__all__ = ["Change", "install", "mounted", "uninstall"]

_ALL = "all"


@frozen
class Change:
    """What became of one name; `trouble` is empty if it went well."""

    name: str
    trouble: str = ""

    def __str__(self) -> str:
        """Say it as `tonistiigi/binfmt` does."""
        return f"{self.name} {self.trouble or 'OK'}"


@contextmanager
def mounted(path: str, *, keep: bool) -> Iterator[BinfmtMount]:
    """Give the binfmt_misc at `path`, mounting it if it isn't there.

    A mount of ours stays if `keep` (handlers go with the last mount of it, since Linux 6.7), else it is
    undone. Raises MachineError.
    """
    directory = BinfmtMount(path)
    if directory.mounted:
        yield directory
        return
    try:
        mount("binfmt_misc", path, "binfmt_misc")
    except OSError as error:
        raise MachineError(
            f"cannot mount binfmt_misc filesystem at {path}: {error.strerror}", hint=_hint(path)
        ) from error
    try:
        yield directory
    finally:
        if not keep:
            # Another process may look at it at this moment.
            umount2(path, MNT_DETACH)


def _hint(path: str) -> str:
    if not os.path.isdir(path):
        return "the kernel's module isn't loaded; as root: modprobe binfmt_misc"
    return "this needs root: run it with sudo (in a container: with --privileged)"


def install(
    names: Iterable[str],
    directory: BinfmtMount,
    facts: Facts,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Change]:
    """Register the emulators of architectures or platforms; `all` is every one that can be found."""
    for name in names:
        if name == _ALL:
            yield from (
                _install(each, directory, facts, environ) for each in _missing(facts, environ)
            )
        else:
            yield _install(name, directory, facts, environ)


def _missing(facts: Facts, environ: Mapping[str, str]) -> list[str]:
    """Return the architectures that don't run yet, and for which there is an emulator."""
    running = {each.architecture for each in executed(facts)}
    return [
        handler.architecture
        for handler in HANDLERS
        if handler.architecture not in running
        and find_emulator(handler.architecture, facts, environ) is not None
    ]


def _install(name: str, directory: BinfmtMount, facts: Facts, environ: Mapping[str, str]) -> Change:
    try:
        architecture = parse(name).architecture
        handler = get_handler(architecture)
    except InputError:
        return Change(name=name, trouble=f"unsupported architecture: {name}")
    emulator = find_emulator(architecture, facts, environ)
    if emulator is None:
        path = os.path.join(environ.get("QEMU_BINARY_PATH") or "/usr/bin", handler.entry)
        register = os.path.join(directory.path, "register")
        return Change(
            name=name,
            trouble=f'cannot register "{path}" to {register}: no static emulator was found',
        )
    try:
        directory.register(handler.as_entry(emulator.path, emulator.flags))
    except MachineError as error:
        return Change(name=name, trouble=str(error))
    return Change(name=name)


def uninstall(names: Iterable[str], directory: BinfmtMount) -> Iterator[Change]:
    """Take away the handlers that names stand for: an architecture, an entry, a pattern of entries."""
    for name in names:
        found = directory.find(name)
        if not found:
            yield Change(name=name, trouble="not found")
        for entry in found:
            try:
                directory.remove(entry)
            except PolyarchError as error:
                yield Change(name=entry, trouble=str(error))
            else:
                yield Change(name=name if len(found) == 1 else entry)
