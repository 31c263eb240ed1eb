"""The error of a step that failed, with what can be told of why it did. Loaded when one does: few do."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from polyarch.emulation.program import Trouble, find_trouble, find_trouble_in_output
from polyarch.errors import StepFailed
from polyarch.graph.op import ExecOp
from polyarch.namespaces.subids import id_hint
from polyarch.runtime.base import Ended
from polyarch.store.trouble import FREE_SPACE, is_full
from polyarch.worker.foresight import path_of, where_programs_are
from polyarch.worker.steplog import StepLog
from polyarch.worker.work import Place, Work

__all__ = ["failure"]

_FULL_BYTES = 1 << 20
_SIGNALLED = 128


def failure(
    work: Work, place: Place, ended: Ended, log: StepLog, *, is_offline: bool
) -> StepFailed:
    """Make the error of a step that failed in a place."""
    op, said = work.op, log.tail()
    trouble = _trouble(op, place.draft.root, ended, said)
    return StepFailed(
        f'process "{" ".join(op.argv)}" did not complete successfully: exit code: {ended.status}',
        hint=str(trouble or "")
        or _advice(ended, op)
        or _no_devices(ended, log)
        or _full_disk(place.directory)
        or (id_hint(said) if ended.had_one_id else "")
        or ("steps have no network, as the build is offline (--offline)" if is_offline else ""),
        place=work.vertex.location,
        status=ended.status,
        tail=said,
    )


def _trouble(op: ExecOp, root: Path, ended: Ended, said: Sequence[str]) -> Trouble | None:
    """Return what the file of a program tells of why it couldn't be started."""
    where = where_programs_are(op, root)
    if ended.refused:
        return find_trouble(op.argv[0], where)
    return find_trouble_in_output(said, where)


def _advice(ended: Ended, op: ExecOp) -> str:
    if ended.out_of_memory:
        return "the kernel killed the step for want of memory"
    if ended.refused:
        shell = f"the image has no {op.argv[0]} to run it with: "
        is_shell = op.argv[0].endswith("sh") and op.argv[1:2] == ("-c",)
        lacks = is_shell and ended.refused.endswith("no such file or directory")
        return (
            f'{shell}use the exec form, RUN ["PROGRAM", ...], or SHELL' if lacks else ended.refused
        )
    if ended.status == 127:
        return f"a program wasn't found; PATH of the step: {path_of(op)}"
    if ended.status > _SIGNALLED:
        return _signal_advice(ended.status - _SIGNALLED)
    return ""


def _signal_advice(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return ""  # programs may end with such a status by themselves
    if number == signal.SIGKILL:
        return (
            f"{name} ended it; if nobody sent that, the machine may be short of memory (see dmesg)"
        )
    return f"{name} ended it"


def _no_devices(ended: Ended, log: StepLog) -> str:
    """Say what the step's own words may come from, if it couldn't have nodes of devices."""
    spoken = any(word in line for line in log.tail() for word in ("mknod", "nodev"))
    if not (ended.no_devices and spoken):
        return ""
    return f"nodes of devices can't be made and opened in this step: {ended.no_devices}"


def _full_disk(scratch: Path) -> str:
    """Say so if the file system is full: the step's program may have told less, or nothing."""
    if not is_full(scratch, _FULL_BYTES):
        return ""
    return f"the disk of {scratch.parent} is full: {FREE_SPACE}"
