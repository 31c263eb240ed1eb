"""Steps in virtual machines: one machine for each architecture, started for its first step, ended with the engine.

A machine has one step at a time; others for the same architecture wait for it. After a step nothing is left in
its machine: its processes have ended with the first of them, and what it was shown is unmounted. A machine that
didn't answer, or whose step was cancelled, is ended, and the next step gets a new one.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from polyarch import syscalls
from polyarch.emulation.probe import native_architecture
from polyarch.errors import InputError, MachineError, NamespaceForbidden, NoRuntime
from polyarch.namespaces.subids import MORE_IDS
from polyarch.platforms import Platform
from polyarch.progress import CancelToken
from polyarch.record import frozen, replace
from polyarch.request.talk import SILENCE, Talk
from polyarch.runtime.base import Ended, OnOutput, Refused, check_talk, refused_step
from polyarch.runtime.bundle import mount_points
from polyarch.runtime.configuration import Config
from polyarch.runtime.oci import oci_config
from polyarch.runtime.step import Bind, Host, Mount, Step
from polyarch.runtime.vm.apply import bring_changes
from polyarch.runtime.vm.architecture import Architecture, machine_architecture
from polyarch.runtime.vm.batch import Batch
from polyarch.runtime.vm.kernel import KERNEL_VARIABLE, find_source, make_bootable
from polyarch.runtime.vm.machine import Machine, Size, has_kvm
from polyarch.runtime.vm.steps import ANSWER_BYTES, Answer, Shared, StepPrograms, upper_of
from polyarch.runtime.vm.surroundings import NAME_SERVER, prepare_machine

__all__ = ["VirtualMachines", "VmRuntime"]

_NARROW = frozenset({"386", "arm"})
_CHUNK = 65536
_MEMORY_VARIABLE, _CPUS_VARIABLE = "POLYARCH_VM_MEMORY", "POLYARCH_VM_CPUS"
_MOST_MEMORY, _LEAST_MEMORY, _MOST_CPUS = 4096, 512, 8
_RESOLV_CONF = "/etc/resolv.conf"
_HOST = Host(rootless=False)
"""A step in a machine has real root's surroundings, whoever started it."""


class VirtualMachines:
    """The machines of an engine; thread-safe.

    `place` is where kernels are kept that were made ready, `temporary` names fresh directories of this process.
    """

    def __init__(
        self, *, place: Path, temporary: Callable[[], Path], environ: Mapping[str, str]
    ) -> None:
        self._place = place
        self._temporary = temporary
        self._environ = environ
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}

    def close(self) -> None:
        """End all machines."""
        for slot in self._slots.values():
            slot.close()

    def runtime(self, platform: Platform) -> VmRuntime:
        """Return what runs steps for `platform`. Raises NoRuntime if there are no such machines."""
        architecture = machine_architecture(platform.architecture)
        with self._lock:
            if architecture.name not in self._slots:
                self._slots[architecture.name] = _Slot(partial(self._start, architecture))
            slot = self._slots[architecture.name]
        return VmRuntime(slot, architecture, narrow=platform.architecture in _NARROW)

    def lacking(self, platform: Platform) -> str:
        """Say what is lacking for machines for `platform`; "" if one may start, as far as can be told without."""
        try:
            architecture = machine_architecture(platform.architecture)
            _check_owners()
            if shutil.which(architecture.program) is None:
                return f"{architecture.program} isn't installed ({architecture.package})"
            find_source(
                architecture, self._environ.get(KERNEL_VARIABLE, ""), native=native_architecture()
            )
        except (MachineError, InputError) as error:
            return f"{error} ({error.hint})" if error.hint else str(error)
        return ""

    def _start(self, architecture: Architecture, cancel: CancelToken) -> Machine:
        native = native_architecture()
        source = find_source(architecture, self._environ.get(KERNEL_VARIABLE, ""), native=native)
        bootable = make_bootable(architecture, source, self._place)
        place = self._temporary()
        place.mkdir(mode=0o700)
        start = partial(Machine, architecture, bootable, _size(self._environ), cancel=cancel)
        machine = None
        if has_kvm(architecture, native):
            # It may be there and get nowhere, in a machine that is a virtual one itself.
            with contextlib.suppress(NoRuntime):
                machine = start(kvm=True, place=place / "kvm")
        if machine is None:
            machine = start(kvm=False, place=place / "tcg")
        try:
            machine.do(prepare_machine(machine.agent))
        except BaseException:
            machine.close()
            raise
        return machine


class _Slot:
    """A place for a machine, and the lock for its use."""

    def __init__(self, start: Callable[[CancelToken], Machine]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._machine: Machine | None = None

    def close(self) -> None:
        """End the machine that is there."""
        machine, self._machine = self._machine, None
        if machine is not None:
            machine.close()

    @contextlib.contextmanager
    def machine(self, cancel: CancelToken) -> Iterator[Machine]:
        """Give the machine, started if need be, alone; it is ended if the block fails, or by `cancel`."""
        with self._lock:
            cancel.check()
            if self._machine is None or not self._machine.alive:
                self.close()
                self._machine = self._start(cancel)
            forget = cancel.on_cancel(self._machine.kill)
            try:
                yield self._machine
            except BaseException:
                self.close()
                cancel.check()
                raise
            finally:
                forget()


class VmRuntime:
    """Runs steps in the machine of a slot. `narrow` says that their programs are of 32 bits."""

    name = "vm"

    def __init__(self, slot: _Slot, architecture: Architecture, *, narrow: bool) -> None:
        self._slot = slot
        self._architecture = architecture
        self._narrow = narrow

    def describe(self) -> str:
        """Say in one line where steps run."""
        how = " with KVM" if has_kvm(self._architecture, native_architecture()) else ""
        return f"in a virtual machine by {self._architecture.program}{how}"

    def run(
        self,
        step: Step,
        *,
        directory: Path,
        on_output: OnOutput,
        cancel: CancelToken,
        talk: Talk = SILENCE,
    ) -> Ended:
        """See `Runtime.run`."""
        check_talk(talk, self.name)
        cancel.check()
        _check_owners()
        try:
            _check(step, talk)
            step = _with_name_server(step, directory)
            with mount_points(step), self._slot.machine(cancel) as machine:
                run = _Run(machine, step, narrow=self._narrow)
                ended = run.to_its_end(on_output)
            cancel.check()
        except Refused as error:
            return refused_step(str(error), on_output)
        return refused_step(ended.refused, on_output) if ended.refused else ended


def _check_owners() -> None:
    """Raise NamespaceForbidden where a single user id is mapped.

    Other owners are recorded beside the files there (`inroot`), which a machine knows nothing of.
    """
    if (
        sum(int(line.split()[2]) for line in Path("/proc/self/uid_map").read_text().splitlines())
        == 1
    ):
        raise NamespaceForbidden(
            "steps in virtual machines need more than one user id",
            hint=f"give your user subordinate ids; as root: {MORE_IDS} USER",
        )


def _check(step: Step, talk: Talk) -> None:
    """Raise Refused for what machines don't do."""
    unknown = {
        "a terminal or an input": talk.terminal is not None or talk.stdin is not None,
        "devices": bool(step.devices),
        "limits of a cgroup": step.needs_cgroup,
    }
    for what, is_wanted in unknown.items():
        if is_wanted:
            raise Refused(f"{what} can't be had in a virtual machine yet: use --emulation=auto")
    for mount in step.mounts:
        if isinstance(mount, Bind) and not (mount.read_only or os.path.isdir(mount.source)):
            is_socket = stat.S_ISSOCK(os.stat(mount.source).st_mode)
            what = (
                "a socket (--mount=type=ssh)" if is_socket else "a single file, to be written to,"
            )
            raise Refused(
                f"{mount.target}: {what} can't be mounted in a virtual machine yet: use --emulation=auto"
            )


def _size(environ: Mapping[str, str]) -> Size:
    """Return the size of machines: as told, else half of the memory, up to 4 GiB, and all CPUs, up to 8."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 21
    return Size(
        memory=_number(environ, _MEMORY_VARIABLE, _LEAST_MEMORY)
        or max(_LEAST_MEMORY, min(memory, _MOST_MEMORY)),
        cpus=_number(environ, _CPUS_VARIABLE, 1) or min(len(os.sched_getaffinity(0)), _MOST_CPUS),
    )


def _number(environ: Mapping[str, str], name: str, least: int) -> int:
    """Return the number that a variable holds, 0 if it holds none. Raises InputError."""
    text = environ.get(name, "")
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= 1 << 24):
        raise InputError(f"{name}={text}: a number from {least} on is wanted")
    return int(text)


def _with_name_server(step: Step, directory: Path) -> Step:
    """Return the step with a resolv.conf whose servers are the machine's: ours may not be reached from there."""
    for number, mount in enumerate(step.mounts):
        if isinstance(mount, Bind) and mount.target == _RESOLV_CONF:
            lines = Path(mount.source).read_text(errors="replace").splitlines()
            kept = [line for line in lines if not line.startswith("nameserver")]
            servers = [f"nameserver {NAME_SERVER}"] if len(kept) < len(lines) else []
            path = directory / "resolv.conf.machine"
            path.write_text("".join(f"{line}\n" for line in (*kept, *servers)))
            path.chmod(0o644)
            mounts = list(step.mounts)
            mounts[number] = replace(mount, source=str(path))
            return replace(step, mounts=tuple(mounts))
    return step


@frozen
class _Sharing:
    """What a machine is shown of ours, by names, and the mounts of the step by those."""

    shared: Mapping[str, Shared]
    sources: Mapping[str, str]
    mounts: tuple[Mount, ...]


@contextlib.contextmanager
def _shown(step: Step, share: Path) -> Iterator[_Sharing]:
    """Bind what the step may see below the directory that a machine is shown."""
    sources = {"root": (step.rootfs, True)}
    mounts: list[Mount] = []
    for number, mount in enumerate(step.mounts):
        if isinstance(mount, Bind):
            sources[f"m{number}"] = (mount.source, not mount.read_only)
            mounts.append(replace(mount, source=f"m{number}"))
        else:
            mounts.append(mount)
    shared: dict[str, Shared] = {}
    with contextlib.ExitStack() as undo:
        for name, (source, writable) in sources.items():
            status = os.stat(source)
            place = share / name
            if stat.S_ISDIR(status.st_mode):
                place.mkdir()
                undo.callback(place.rmdir)
            else:
                place.touch()
                undo.callback(place.unlink)
            flags = syscalls.MS_BIND | syscalls.MS_REC
            syscalls.mount(source, str(place), "", flags)
            undo.callback(syscalls.umount2, str(place), syscalls.MNT_DETACH)
            shared[name] = Shared(name=name, writable=writable, status=status)
        yield _Sharing(
            shared=shared,
            sources={name: source for name, (source, _) in sources.items()},
            mounts=tuple(mounts),
        )


class _Run:
    """One step in a machine."""

    def __init__(self, machine: Machine, step: Step, *, narrow: bool) -> None:
        self._machine = machine
        self._step = step
        self._narrow = narrow

    def to_its_end(self, on_output: OnOutput) -> Ended:
        """Run the step, and bring here what it has changed. Raises MachineError."""
        with _shown(self._step, self._machine.share) as sharing:
            config = _config(self._step, sharing.mounts)
            programs = StepPrograms(
                self._machine.agent, config, sharing.shared, narrow=self._narrow
            )
            self._machine.do(programs.prepare())
            batch, program = programs.run()
            self._machine.send(program)
            answer = _exchange(self._machine, on_output)
            ended = _ended(self._step, batch, answer)
            for name, shared in sharing.shared.items():
                # Caches keep what was there when a step failed; its own layer is thrown away.
                if shared.writable and (name != "root" or ended.status == 0):
                    bring_changes(self._machine, upper_of(name), sharing.sources[name])
            self._machine.do(programs.clean())
        return ended


def _config(step: Step, mounts: tuple[Mount, ...]) -> Config:
    return oci_config(replace(step, mounts=mounts, user_namespace=""), _HOST, seccomp=False)


def _exchange(machine: Machine, on_output: OnOutput) -> Answer:
    """Hand over a step's output until it has ended and all of it is here; return how it ended."""
    got = {1: 0, 2: 0}
    words = b""
    answer: Answer | None = None
    with selectors.DefaultSelector() as selector:
        for stream, channel in enumerate((machine.control, machine.stdout, machine.stderr)):
            selector.register(channel, selectors.EVENT_READ, stream)
        while answer is None or (got[1], got[2]) != answer.outputs:
            for key, _ in selector.select():
                data = os.read(key.fd, _CHUNK if key.data else ANSWER_BYTES - len(words))
                if not data:
                    raise NoRuntime("the virtual machine ended while a step ran in it")
                if key.data:
                    got[key.data] += len(data)
                    on_output(key.data, data)
                    continue
                words += data
                if len(words) == ANSWER_BYTES:
                    answer = Answer.parse(words)
                    selector.unregister(machine.control)
    return answer


def _ended(step: Step, batch: Batch, answer: Answer) -> Ended:
    if answer.told and answer.stage:
        why = batch.describe(answer.stage, answer.error)
        return Ended(status=1, refused=f"the step's surroundings can't be made: can't {why}")
    if answer.told:
        name = step.argv[0]
        if answer.error == -2 and "/" not in name:
            return Ended(status=1, refused=f'exec: "{name}": executable file not found in $PATH')
        return Ended(status=1, refused=f"exec {name}: {os.strerror(-answer.error).lower()}")
    status = os.waitstatus_to_exitcode(answer.status)
    return Ended(status=status if status >= 0 else 128 - status)
