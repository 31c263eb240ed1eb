"""What keeps a step's program from being started, told before anything is.

The program that the step starts is read, and the one that its shell starts first, if that is plain to see: those that
the kernel can't start are told with the way out. The step is started all the same: it ends as it would
have, with the status that BuildKit has for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from polyarch.emulation.program import Surroundings, Trouble, find_trouble
from polyarch.errors import InputError
from polyarch.graph.op import ExecOp
from polyarch.inroot import resolve
from polyarch.pattern import pattern
from polyarch.runtime.step import Mount

__all__ = ["foresee", "path_of", "where_programs_are"]

_FIRST = pattern(r"\s*([./][\w./+@-]*)(?=[\s;&|]|\Z)", re.ASCII)


def where_programs_are(op: ExecOp, root: Path) -> Surroundings:
    """Return where the programs of a step are looked for, whose root is `root`."""
    return Surroundings(root=root, platform=op.platform, cwd=op.cwd, path=path_of(op))


def path_of(op: ExecOp) -> str:
    """Return the PATH of a step."""
    return next((entry[5:] for entry in op.env if entry.startswith("PATH=")), "(none)")


def foresee(
    op: ExecOp, root: Path, mounts: Iterable[Mount], may_run: Callable[[str], bool]
) -> Trouble | None:
    """Return what is certain to keep a program of a step from being started, None if nothing is known.

    `may_run` tells of an architecture whether its programs run in the step. What lies in a mount isn't looked at.
    """
    if "QEMU_LD_PREFIX" in dict(entry.partition("=")[::2] for entry in op.env):
        return None  # loaders are somewhere else
    where = where_programs_are(op, root)
    covered = [_place(where.root, mount.target) for mount in mounts]
    for program in _programs(op):
        trouble = find_trouble(program, where)
        if trouble is None or not trouble.file:
            continue
        if trouble.architecture and may_run(trouble.architecture):
            continue
        if not _may_be_covered(_place(where.root, trouble.file), covered):
            return trouble
    return None


def _may_be_covered(place: Path | None, covered: Iterable[Path | None]) -> bool:
    """Whether a mount is, or may be, above a place; None is one that isn't known."""
    return any(place is None or each is None or place.is_relative_to(each) for each in covered)


def _programs(op: ExecOp) -> Iterable[str]:
    yield op.argv[0]
    if op.argv[0].endswith("sh") and op.argv[1:2] == ("-c",) and len(op.argv) > 2:
        first = _FIRST.match(op.argv[2])
        if first is not None:
            yield first[1]


def _place(root: Path, path: str) -> Path | None:
    """Return where a path of the root lies, None if it goes round in circles."""
    try:
        return resolve(root, path)
    except InputError:
        return None
