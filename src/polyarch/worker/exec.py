"""Exec ops: a process over a writable tree, natively or through an emulator.

What the process sees beside the tree: the mounts of its RUN, the scripts made from here-documents, and
`/etc/hosts` and `/etc/resolv.conf` of the step. None of it gets into the layer.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.errors import StepFailed
from polyarch.graph.op import SCRIPT_DIRECTORY, ExecOp
from polyarch.graph.vertex import Vertex
from polyarch.namespaces.subids import id_hint
from polyarch.progress import CancelToken, Sink, StatusEvent
from polyarch.record import frozen, replace
from polyarch.runtime.base import Ended, Runtime
from polyarch.runtime.foreign import Emulation, ForeignSteps
from polyarch.runtime.step import Bind, Mount, Network, Security, Step
from polyarch.snapshot.snapshotter import SnapshotID, Snapshotter
from polyarch.snapshot.stack import LayerStack, new_snapshot
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.trouble import FREE_SPACE, is_full
from polyarch.worker.mounts import MountedStep, Reading, StepMounts
from polyarch.worker.stepform import Process, make_step, network_mounts, network_of
from polyarch.worker.steplog import StepLog
from polyarch.worker.tree import SourceTree

if TYPE_CHECKING:
    from polyarch.cdi.devices import Devices

__all__ = ["StepRunner"]

_FULL_BYTES = 1 << 20
_SIGNALLED = 128


@frozen
class StepRunner:
    """Runs exec ops.

    `temporary` names fresh files of this process, for bundles; `devices` finds those of this machine that a
    step may be given; `resolv_conf` gives the content of the step's `/etc/resolv.conf` for its network.
    """

    snapshotter: Snapshotter
    runtime: Runtime
    foreign: ForeignSteps
    mounts: StepMounts
    sink: Sink
    temporary: Callable[[], Path]
    devices: Callable[[], Devices]
    resolv_conf: Callable[[Network], str]

    def run(
        self,
        vertex: Vertex,
        stack: LayerStack,
        sources: Sequence[LayerStack | SourceTree],
        reading: Reading,
        cancel: CancelToken,
    ) -> SnapshotID:
        """Run the process over `stack` and return the snapshot of what it changed.

        `sources[i]` is the vertex's input i. Raises StepFailed, NoEmulator, InputError.
        """
        op = vertex.op
        assert isinstance(op, ExecOp)
        emulation = self._emulation(op, vertex)
        with ExitStack() as resources:
            directory = self.temporary()
            directory.mkdir()
            draft = resources.enter_context(self.snapshotter.prepare(stack.snapshots))
            mounted = resources.enter_context(
                self.mounts.ready(vertex, sources, reading, directory, cancel)
            )
            mounted.mounts[:0] = self._files(op, directory)
            step = self._step(op, draft.root, emulation, mounted)
            log = self._log(vertex)
            try:
                ended = self.runtime.run(
                    step, directory=directory, on_output=log.write, cancel=cancel
                )
            finally:
                log.end()
            cancel.check()
            if ended.status != 0:
                raise _failure(vertex, op, ended, log, directory)
            snapshot = new_snapshot()
            # Described as BuildKit does: a history without an entry for the layer quotes it.
            shown = f"mount / from exec {' '.join(op.argv)}"
            draft.commit(
                snapshot, SnapshotRecord(id=snapshot, parents=stack.snapshots, description=shown)
            )
        return snapshot

    def _log(self, vertex: Vertex) -> StepLog:
        secrets = self.mounts.secrets
        secrets.teach()
        return StepLog(vertex, self.sink, secrets.masker)

    def _emulation(self, op: ExecOp, vertex: Vertex) -> Emulation:
        emulation = self.foreign.prepare(op.platform)
        if emulation.emulator:
            # The step's name stays as it is, which is in the image's history.
            now = time.time()
            mark = f"emulated by {os.path.basename(emulation.emulator)}"
            self.sink(
                StatusEvent(step=vertex.digest, id=mark, started=now, completed=now, is_remark=True)
            )
        return emulation

    def _step(self, op: ExecOp, root: Path, emulation: Emulation, mounted: MountedStep) -> Step:
        # What comes later stands above: proxies of the command line above ENV, as with BuildKit.
        env = dict(entry.partition("=")[::2] for entry in (*op.env, *op.proxy_env))
        process = Process(
            argv=op.argv,
            user=op.user,
            cwd=op.cwd,
            env={**mounted.defaults, **env, **mounted.env},
            hostname=op.hostname,
            network=op.network,
        )
        step = replace(
            make_step(process, root, mounted.mounts, user_namespace=emulation.user_namespace),
            security=Security(op.security),
            ulimits=op.ulimits,
            shm_size=op.shm_size,
            cgroup_parent=op.cgroup_parent,
            resources=op.resources,
        )
        if op.devices:
            from polyarch.worker.devices import with_devices  # noqa: PLC0415 few steps have any

            step = with_devices(step, op.devices, self.devices())
        return step

    def _files(self, op: ExecOp, directory: Path) -> list[Mount]:
        """Write the files that every step gets, and the step's scripts, and mount them."""
        mounts = network_mounts(
            directory,
            op.hostname,
            resolv_conf=self.resolv_conf(network_of(op.network)),
            extra_hosts=op.extra_hosts,
            read_only=True,
        )
        if op.scripts:
            scripts = directory / "scripts"
            scripts.mkdir()
            scripts.chmod(0o755)
            for name, content in op.scripts:
                (scripts / name).write_text(content, encoding="utf-8", errors="surrogateescape")
                (scripts / name).chmod(0o755)
            mounts.append(Bind(source=str(scripts), target=SCRIPT_DIRECTORY, read_only=True))
        return mounts


def _failure(vertex: Vertex, op: ExecOp, ended: Ended, log: StepLog, scratch: Path) -> StepFailed:
    """Make the error of a step that failed; `scratch` is on the file system that it wrote to."""
    command = " ".join(op.argv)
    return StepFailed(
        f'process "{command}" did not complete successfully: exit code: {ended.status}',
        hint=_advice(ended, op)
        or _no_devices(ended, log)
        or _full_disk(scratch)
        or (id_hint(log.tail()) if ended.had_one_id else ""),
        place=vertex.location,
        status=ended.status,
        tail=log.tail(),
    )


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
        return f"a program wasn't found; PATH of the step: {_path(op)}"
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


def _path(op: ExecOp) -> str:
    return next((entry[5:] for entry in op.env if entry.startswith("PATH=")), "(none)")
