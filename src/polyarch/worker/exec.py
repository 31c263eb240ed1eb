"""Exec ops: a process over a writable tree, natively or through an emulator.

What the process sees beside the tree: the mounts of its RUN, the scripts made from here-documents, and
`/etc/hosts` and `/etc/resolv.conf` of the step. None of it gets into the layer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.emulation.probe import RunsHow
from polyarch.errors import MachineError, StepFailed
from polyarch.graph.op import SCRIPT_DIRECTORY, ExecOp
from polyarch.graph.vertex import Vertex
from polyarch.platforms import Platform
from polyarch.progress import Sink, StatusEvent
from polyarch.record import field, frozen, replace
from polyarch.runtime.base import Ended, Runtime
from polyarch.runtime.foreign import Emulation, ForeignSteps
from polyarch.runtime.step import Bind, Mount, Network, Security, Step
from polyarch.snapshot.snapshotter import SnapshotID, Snapshotter
from polyarch.worker.mounts import StepMounts
from polyarch.worker.remote import RemoteSources
from polyarch.worker.stepform import Process, make_step, network_mounts, network_of
from polyarch.worker.steplog import StepLog
from polyarch.worker.surrounded import Around
from polyarch.worker.work import Attempt, Left, Place, Work

if TYPE_CHECKING:
    from polyarch.cdi.devices import Devices
    from polyarch.runtime.vm.runtime import VirtualMachines
    from polyarch.worker.emulated.steps import EmulatedSteps

__all__ = ["StepRunner"]


@frozen
class StepRunner:
    """Runs exec ops.

    `temporary` names fresh files of this process, for bundles; `devices` finds those of this machine that a
    step may be given; `resolv_conf` gives the content of the step's `/etc/resolv.conf` for its network;
    `emulated` says how steps run that are emulated; `note_emulation` is told by what they are; one in which
    nothing moves for `hang_seconds` hangs (0: none does). `machines` are the virtual ones, which all steps run in
    if `in_machines` says so. Offline, no step has a network. `authorities` are files of CAs
    that steps trust beside those of their images;
    `is_proxied` says that steps reach nothing but a proxy of ours, which tells `remote` what they fetched. `left` is told
    what steps that fail have left, if somebody wants to know.
    """

    snapshotter: Snapshotter
    runtime: Runtime
    foreign: ForeignSteps
    mounts: StepMounts
    remote: RemoteSources
    sink: Sink
    temporary: Callable[[], Path]
    devices: Callable[[], Devices]
    resolv_conf: Callable[[Network], str]
    emulated: Callable[[], EmulatedSteps]
    note_emulation: Callable[[Platform, Emulation], None]
    hang_seconds: float
    machines: Callable[[], VirtualMachines]
    in_machines: bool = False
    is_offline: bool = False
    authorities: tuple[Path, ...] = ()
    is_proxied: bool = False
    left: Left | None = None
    foreseen: set[str] = field(default_factory=set)
    """The vertices of which it is told why their programs can't be started."""

    def run(self, work: Work) -> SnapshotID:
        """Run the process over the stack and return the snapshot of what it changed.

        Raises StepFailed, NoEmulator, InputError.
        """
        if self.in_machines:
            with self.attempt_in_machine(work) as done:
                return done.keep()
        emulation = self.foreign.prepare(work.op.platform)
        if emulation.how is RunsHow.EMULATOR:
            self._tell(work.vertex, emulation)
            return self.emulated().run(work, self)
        if emulation.emulator:
            self._tell(work.vertex, emulation)
        with self.attempt(work, emulation) as done:
            return done.keep()

    def attempt_in_machine(self, work: Work) -> AbstractContextManager[Attempt]:
        """Run the step in a virtual machine. Raises as `attempt`, and MachineError if there is no machine."""
        if self.is_proxied:
            raise MachineError(
                "steps in virtual machines can't have a proxy network yet",
                hint="leave out --proxy-network or --emulation=vm",
            )
        runtime = self.machines().runtime(work.op.platform)
        self._remark(work.vertex, runtime.describe())
        return replace(self, runtime=runtime).attempt(work, Emulation())

    def lacks_machine(self, platform: Platform) -> str:
        """Say why no step for `platform` can run in a virtual machine; "" if one may."""
        return self.machines().lacking(platform)

    @contextmanager
    def attempt(
        self, work: Work, emulation: Emulation, twins: Path | None = None
    ) -> Iterator[Attempt]:
        """Run the step; nothing of it is left when the block ends, unless it was kept.

        `twins` is the directory of the sets of native twins that the emulation knows. Raises InputError,
        Cancelled.
        """
        if emulation.emulator:
            self.note_emulation(work.op.platform, emulation)
        with self.place(work) as place:
            draft, directory, mounted = place.draft, place.directory, place.mounted
            self._foresee(work, draft.root, mounted.mounts)
            log = self.log(work.vertex)
            with self.around(work, place, log) as around:
                step = around.on(self.step(work.op, place, emulation))
                step = replace(step, twins=twins) if twins is not None else step
                started = time.monotonic()
                ended, trouble = self._watched(step, directory, log, work, emulation)
                seconds = time.monotonic() - started
            work.cancel.check()
            yield Attempt(
                work=work,
                draft=draft,
                written=mounted.written,
                left=self.left,
                ended=ended,
                seconds=seconds,
                failure=lambda: self._failure(work, place, ended, log),
                trouble=trouble,
            )

    @contextmanager
    def place(self, work: Work) -> Iterator[Place]:
        """Make ready where a step runs; nothing of it is left when the block ends, unless it was kept.

        Raises InputError, Cancelled.
        """
        with ExitStack() as resources:
            directory = self.temporary()
            directory.mkdir()
            draft = resources.enter_context(self.snapshotter.prepare(work.stack.snapshots))
            mounted = resources.enter_context(
                self.mounts.ready(work.vertex, work.sources, work.reading, directory, work.cancel)
            )
            mounted.mounts[:0] = self._files(work.op, directory)
            yield Place(draft=draft, directory=directory, mounted=mounted)

    def _foresee(self, work: Work, root: Path, mounts: Sequence[Mount]) -> None:
        """Tell what will keep the step's program from being started, once."""
        # Nothing of it is needed where nothing runs.
        from polyarch.worker.foresight import foresee  # noqa: PLC0415

        op = work.op
        trouble = foresee(
            op,
            root,
            mounts,
            lambda architecture: self.foreign.may_run(architecture, op.platform),
        )
        if trouble is not None and work.vertex.digest not in self.foreseen:
            self.foreseen.add(work.vertex.digest)
            self._remark(work.vertex, str(trouble))

    def _watched(
        self, step: Step, directory: Path, log: StepLog, work: Work, emulation: Emulation
    ) -> tuple[Ended, str]:
        """Run the step; return how it ended, and what its emulator did wrong."""
        if not emulation.emulator:
            try:
                ended = self.runtime.run(
                    step, directory=directory, on_output=log.write, cancel=work.cancel
                )
            finally:
                log.end()
            return ended, ""
        # Native steps can do without.
        from polyarch.worker.emulated.watched import run_watched  # noqa: PLC0415

        return run_watched(
            self.runtime, step, directory, log, cancel=work.cancel, seconds=self.hang_seconds
        )

    def _failure(self, work: Work, place: Place, ended: Ended, log: StepLog) -> StepFailed:
        from polyarch.worker.failed import failure  # noqa: PLC0415 few steps fail

        return failure(work, place, ended, log, is_offline=self.is_offline)

    def forget_caches(self, work: Work) -> None:
        """Empty the caches that a step may have written to, as far as nobody else uses them."""
        self.mounts.forget_caches(work.vertex, work.sources)

    def log(self, vertex: Vertex) -> StepLog:
        """Return where a step's output goes."""
        secrets = self.mounts.secrets
        secrets.teach()
        return StepLog(vertex, self.sink, secrets.masker)

    def _tell(self, vertex: Vertex, emulation: Emulation) -> None:
        self._remark(vertex, f"emulated by {os.path.basename(emulation.emulator)}")

    def _remark(self, vertex: Vertex, text: str) -> None:
        # The step's name stays as it is, which is in the image's history.
        now = time.time()
        self.sink(
            StatusEvent(step=vertex.digest, id=text, started=now, completed=now, is_remark=True)
        )

    def step(self, op: ExecOp, place: Place, emulation: Emulation) -> Step:
        """Return the step that an op means in a place. Raises InputError."""
        root, mounted = place.draft.root, place.mounted
        process = Process(
            argv=op.argv,
            user=op.user,
            cwd=op.cwd,
            env={**_environment(op, mounted.defaults), **mounted.env},
            hostname=op.hostname,
            network=self._network(op),
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

    @contextmanager
    def around(self, work: Work, place: Place, log: StepLog) -> Iterator[Around]:
        """Give the step what this machine's network wants it to have. Raises InputError, MachineError."""
        if not self.authorities and not self.is_proxied:
            yield Around()
            return
        # Few networks have any of their own.
        from polyarch.worker.around import surroundings  # noqa: PLC0415

        is_proxied = self.is_proxied and self._network(work.op) != Network.NONE

        def tell(text: str) -> None:
            log.write(2, text.encode())
            log.end()

        with surroundings(
            self.authorities,
            (place.draft.root, place.directory),
            _environment(work.op, {}),
            proxy=(self.remote.environ, tell) if is_proxied else None,
        ) as around:
            place.mounted.mounts += around.mounts
            place.mounted.defaults |= around.defaults
            place.mounted.env |= around.variables
            yield around
        self.remote.pins.update(around.fetched())

    def _network(self, op: ExecOp) -> str:
        return Network.NONE if self.is_offline else op.network

    def _files(self, op: ExecOp, directory: Path) -> list[Mount]:
        """Write the files that every step gets, and the step's scripts, and mount them."""
        mounts = network_mounts(
            directory,
            op.hostname,
            resolv_conf=self.resolv_conf(network_of(self._network(op))),
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


def _environment(op: ExecOp, defaults: Mapping[str, str]) -> dict[str, str]:
    # Values and order are BuildKit's: proxies of the command line stand above ENV, and what only mounts
    # bring comes behind what the Dockerfile says.
    env = dict(entry.partition("=")[::2] for entry in op.env)
    for name, value in defaults.items():
        env.setdefault(name, value)
    return env | dict(entry.partition("=")[::2] for entry in op.proxy_env)
