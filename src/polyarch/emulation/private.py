"""Handlers of our own, in a user namespace: nothing outside sees them or is changed.

Since Linux 6.7 a mount of binfmt_misc belongs to the user namespace that made it, and programs are
looked up in the nearest namespace that has one. So a private one hides all outer handlers: those that
still should work must be registered again. Handlers last as long as their mount, which is attached
nowhere: an open descriptor holds it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence

from polyarch import syscalls
from polyarch.emulation.binfmt import BinfmtMount, Entry
from polyarch.emulation.facts import Facts
from polyarch.emulation.qemu import Emulator
from polyarch.errors import InternalError, MachineError, NamespaceForbidden

__all__ = ["allows_private", "entries_to_register", "register_more", "register_private"]


def entries_to_register(emulators: Iterable[Emulator], outer: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries for `emulators`, and behind them the outer ones that they don't replace."""
    ours = tuple(each.handler.as_entry(each.path, each.flags) for each in emulators)
    replaced = {entry.magic for entry in ours}
    names = {entry.name for entry in ours}
    kept = (
        entry
        for entry in outer
        if entry.enabled and entry.name not in names and entry.magic not in replaced | {b""}
    )
    # The kernel asks the entry that was registered last first.
    return (*kept, *ours)


def allows_private(facts: Facts) -> bool:
    """Tell whether the engine's user namespace can have handlers of its own: by making one, in a child.

    To be called without threads, unless it is known already. That it can't isn't kept: a setting may
    change that.
    """
    return facts.get(f"private handlers {os.geteuid()}", _try_private, keep=bool)


def _try_private() -> bool:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _enter_namespaces()
            register_private(())
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _enter_namespaces() -> None:
    """Become root of a user namespace with the one id that every caller may map."""
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
    maps = (("uid_map", f"0 {uid} 1"), ("setgroups", "deny"), ("gid_map", f"0 {gid} 1"))
    for name, text in maps:
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def register_private(lines: Iterable[tuple[str, bytes]]) -> int:
    """Register entries (name, register line) for the caller's user namespace.

    Returns the descriptor that holds them. The namespace must not be the initial one, and must own
    the caller's mount namespace. An outer entry whose interpreter can't be opened here is left out. Raises NamespaceForbidden if
    the kernel has no private handlers, MachineError if it refuses one that is for QEMU.
    """
    if syscalls.in_initial_user_namespace():
        raise InternalError("private handlers would be registered for the whole machine")
    try:
        context = syscalls.fsopen("binfmt_misc")
        try:
            syscalls.fsconfig_create(context)
            mounted = syscalls.fsmount(context)
        finally:
            os.close(context)
    except OSError as error:
        raise NamespaceForbidden(
            f"this kernel ({os.uname().release}) refuses a private binfmt_misc: {error.strerror}",
            hint="private emulation needs Linux 6.7 or newer; on older ones register emulators for "
            "the whole machine, as root: polyarch binfmt install all",
        ) from error
    try:
        _register(BinfmtMount(f"/proc/self/fd/{mounted}"), lines)
    except MachineError:
        os.close(mounted)
        raise
    return mounted


def register_more(mounted: int, lines: Iterable[tuple[str, bytes]]) -> None:
    """Register further entries in what `register_private` returned. Raises MachineError."""
    _register(BinfmtMount(f"/proc/self/fd/{mounted}"), lines)


def _register(directory: BinfmtMount, lines: Iterable[tuple[str, bytes]]) -> None:
    for name, line in lines:
        # Others' interpreters may lie where we can't see them.
        with contextlib.suppress(*(() if name.startswith("qemu-") else (MachineError,))):
            *_, interpreter, flags = os.fsdecode(line).split(":")
            is_opened = "F" in flags and os.path.exists(interpreter)
            with _read_only(interpreter) if is_opened else contextlib.nullcontext():
                directory.register_line(name, line)


@contextlib.contextmanager
def _read_only(program: str) -> Iterator[None]:
    """Cover a program by a read-only mount of itself for the time of the block.

    What the kernel opens meanwhile stays so. To a step its emulator is `/proc/PID/exe`, and root of the step
    is the machine's root, or the user, to whom the file belongs: they would change its mode, its owner, or,
    once nothing runs by it, its content (the class of CVE-2019-5736). Raises MachineError.
    """
    try:
        tree = syscalls.open_tree(program)
        try:
            syscalls.mount_setattr(
                "", syscalls.AT_EMPTY_PATH, dir_fd=tree, attr_set=syscalls.MOUNT_ATTR_RDONLY
            )
            syscalls.move_mount(tree, program)
        finally:
            os.close(tree)
    except OSError as error:
        raise MachineError(
            f"{program} can't be kept from being changed by steps: {error.strerror}"
        ) from error
    try:
        yield
    finally:
        syscalls.umount2(program, syscalls.MNT_DETACH)
