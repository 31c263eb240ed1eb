"""Overlay mounts: the one place where snapshots meet the mount system calls.

Mounts are made wherever the calling process is. It has entered a private mount namespace before, so
they vanish with it, however it ends.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from polyarch import syscalls
from polyarch.record import frozen

__all__ = ["OverlayMode", "mount_overlay", "unmount"]

_CLASSIC_LIMIT = 4095  # the option string of mount(2) is a page


@frozen
class OverlayMode:
    """What this kernel's overlayfs takes."""

    userxattr: bool = True
    """Keep marks in `user.overlay.*`: the only ones that a user namespace may set."""
    volatile: bool = True
    """Sync nothing: a draft that outlives a crash is thrown away anyway."""
    new_api: bool = True
    """Give lower layers one by one (`lowerdir+`, Linux 6.8), so that there may be any number."""
    refers: bool = False
    """Show files with the content of others, in data-only layers (with `userxattr` since Linux 6.16)."""


def mount_overlay(
    lowers: Sequence[Path],
    target: Path,
    mode: OverlayMode,
    *,
    upper: Path | None = None,
    work: Path | None = None,
    data: Sequence[Path] = (),
) -> None:
    """Mount `lowers`, topmost first, below `upper` at `target`; read-only without `upper`.

    Without `upper` there must be two lowers at least. Files of the last one may have their content in
    one of `data`, directories that aren't shown; only the new API takes these. Raises OSError.
    """
    options: list[tuple[str, str]] = []
    if upper is not None:
        options += [("upperdir", str(upper)), ("workdir", str(work))]
    # Upper directories become layers elsewhere: nothing in them may refer to this stack. The default
    # of xino, redirect_dir and metacopy depends on how the kernel was built.
    options += [("index", "off"), ("xino", "off")]
    # With userxattr both are off already, and there are kernels that refuse to have them named.
    if not mode.userxattr:
        options += [("redirect_dir", "off"), ("metacopy", "off")]
    flags = ["userxattr"] if mode.userxattr else []
    if mode.volatile and upper is not None:
        flags.append("volatile")
    if mode.new_api:
        layers = [("lowerdir+", str(lower)) for lower in lowers]
        layers += [("datadir+", str(each)) for each in data]
        _mount_new(layers, target, options, flags)
    else:
        _mount_classic([str(lower) for lower in lowers], target, options, flags)


def _mount_new(
    layers: Sequence[tuple[str, str]],
    target: Path,
    options: Sequence[tuple[str, str]],
    flags: Sequence[str],
) -> None:
    context = syscalls.fsopen("overlay")
    try:
        syscalls.fsconfig_string(context, "source", "polyarch")
        for key, value in (*layers, *options):
            syscalls.fsconfig_string(context, key, value)
        for flag in flags:
            syscalls.fsconfig_flag(context, flag)
        syscalls.fsconfig_create(context)
        # Without an upper directory overlayfs is read-only in any case; the attribute makes mountinfo say so.
        read_only = not any(key == "upperdir" for key, _ in options)
        mounted = syscalls.fsmount(context, syscalls.MOUNT_ATTR_RDONLY if read_only else 0)
    finally:
        os.close(context)
    try:
        syscalls.move_mount(mounted, str(target))
    finally:
        os.close(mounted)


def _mount_classic(
    lowers: Sequence[str], target: Path, options: Sequence[tuple[str, str]], flags: Sequence[str]
) -> None:
    escaped = ":".join(_escaped(lower).replace(":", "\\:") for lower in lowers)
    texts = [f"lowerdir={escaped}", *(f"{key}={_escaped(value)}" for key, value in options), *flags]
    data = ",".join(texts)
    # mount(2) copies a page of options and cuts the rest off without a word.
    if len(os.fsencode(data)) > _CLASSIC_LIMIT:
        raise OSError(errno.E2BIG, "this kernel takes no stack of so many layers")
    read_only = not any(key == "upperdir" for key, _ in options)
    syscalls.mount("polyarch", str(target), "overlay", syscalls.MS_RDONLY if read_only else 0, data)


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(",", "\\,")


def unmount(target: Path) -> None:
    """Unmount `target`; if something still uses it, it goes when that ends. Raises OSError."""
    try:
        syscalls.umount2(str(target), 0)
    except OSError as error:
        # A process that a step left behind may still be in there, or a scanner of the machine.
        if error.errno != errno.EBUSY:
            raise
        syscalls.umount2(str(target), syscalls.MNT_DETACH)
