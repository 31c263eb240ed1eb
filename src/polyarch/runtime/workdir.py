"""Where a step's working directory lies, for runtimes that look it up by themselves.

Older ones go there while they still have directories of the machine open, and follow links of `/proc` to them
(CVE-2024-21626). So the path is resolved here, through the root and the mounts of the step, and refused if
it enters `/proc`; what is handed over has no links left in it.
"""

from __future__ import annotations

import os
import stat

from polyarch.errors import InputError
from polyarch.inroot import follow_links
from polyarch.record import replace
from polyarch.runtime.base import Refused
from polyarch.runtime.step import Bind, Mount, Step

__all__ = ["with_plain_directory"]

_MAX_LINKS = 40
_LINKS = {"/dev/fd": "/proc/self/fd"}


def with_plain_directory(step: Step) -> Step:
    """Return `step` with a working directory on the way to which there are no links.

    Raises Refused for one that can't be entered safely, and for a mount that links lead to /proc.
    """
    mounts: dict[str, Mount] = {}
    for mount in step.mounts:
        target = _resolve(step, mounts, mount.target)
        if target == "/proc":
            raise Refused(f"{mount.target} can't be mounted on: that is the place of /proc")
        mounts[target] = mount
    directory = _resolve(step, mounts, step.cwd, may_enter_proc=False)
    for target, mount in mounts.items():
        if directory.startswith(f"{target}/") and isinstance(mount, Bind) and not mount.read_only:
            raise Refused(
                f"the working directory {step.cwd} can't be entered: others may change what is below "
                f"{target} meanwhile, which only POLYARCH_RUNTIME=sandbox copes with"
            )
    return replace(step, cwd=directory)


def _resolve(
    step: Step, mounts: dict[str, Mount], path: str, *, may_enter_proc: bool = True
) -> str:
    """Follow all links in a path of the step, as far as it is there; never those of /proc."""

    def find_link(names: list[str]) -> str | None:
        here = "/" + "/".join(names)
        if not here.startswith("/proc/"):
            return _find_link(step, mounts, here)
        if not may_enter_proc:
            raise Refused(
                f"the working directory {path} can't be entered: it may not lead through links of /proc"
            )
        return None

    try:
        return "/" + "/".join(follow_links(path, find_link, most=_MAX_LINKS))
    except InputError as error:
        raise Refused(str(error)) from error


def _find_link(step: Step, mounts: dict[str, Mount], path: str) -> str | None:
    """Return what a path of the step, whose directory has no links in it, is a link to."""
    if path in _LINKS:
        return _LINKS[path]
    covering = [each for each in mounts if f"{path}/".startswith(f"{each}/")]
    source = step.rootfs
    if covering:
        target = max(covering, key=len)
        mount = mounts[target]
        if not isinstance(mount, Bind) or path == target:
            return None
        source, path = mount.source, path.removeprefix(target)
    try:
        real = f"{source}{path}"
        return os.readlink(real) if stat.S_ISLNK(os.lstat(real).st_mode) else None
    except OSError:
        return None
