"""A step in a machine: its mounts, its first process, its end, as programs for the agent.

A step sees what it sees in a sandbox: the same OCI configuration goes in. What is different is that nothing of
this machine's kernel is reached: there is no filter of system calls, and the devices that the step has been
lent are the machine's. Writable trees are overlays in the machine: below is what is shared with it, read-only, above
what is in memory and is brought here after the step.

    /share/NAME      trees and files of ours, by 9p
    /step/NAME/      upper and work directories of writable ones
    /root, /tree/N   what is put together of both
"""

from __future__ import annotations

import os
import stat
import struct
import time
from collections.abc import Mapping

from polyarch import syscalls
from polyarch.record import frozen
from polyarch.runtime.configuration import DEV_LINKS, Config, MountPoint
from polyarch.runtime.vm.agent import Agent
from polyarch.runtime.vm.batch import Batch, make_way
from polyarch.runtime.vm.becoming import drop_privileges, enter_directory, execute, set_limits
from polyarch.runtime.vm.machine import SHARE_TAG
from polyarch.runtime.vm.program import Label, Program, Word
from polyarch.runtime.vm.surroundings import raise_loopback

__all__ = ["ANSWER_BYTES", "Answer", "Shared", "StepPrograms", "upper_of"]

_AT_FDCWD = -100
_CLOEXEC = os.O_CLOEXEC
_SIGCHLD = 17
_WALL = 0x40000000
_CLONE = syscalls.OPEN_TREE_CLONE | _CLOEXEC
_EMPTY_FROM = 4
_EMPTY_PATH = 0x1000
_MS_SHIFTED = {"strictatime": 1 << 24, "ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8}
_ATTRIBUTES = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8}
_NO_DATA = frozenset({"rw", "bind", "rbind", *_MS_SHIFTED})
_NAMESPACES = (
    syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWCGROUP
)
_SYSTEM = ("/proc", "/dev", "/sys")
_NODES = ("null", "zero", "full", "random", "urandom", "tty")
_SHARE_OPTIONS = "trans=virtio,version=9p2000.L,msize=512000,cache=loose"
_PER_LINUX32 = 8
_ANSWER = struct.Struct("<6q")
ANSWER_BYTES = _ANSWER.size
"""Of an `Answer`."""


@frozen
class Answer:
    """How a step's first process ended: six words in a machine.

    `stage` and `error` say what refused it if something was `told` (as many bytes); stage 0 is the start of the
    program itself. `status` is that of wait4. `outputs` are the bytes of standard output and standard error.
    """

    stage: int
    error: int
    told: int
    status: int
    outputs: tuple[int, int]

    @classmethod
    def parse(cls, words: bytes) -> Answer:
        """Read it from `ANSWER_BYTES` bytes."""
        stage, error, told, status, *outputs = _ANSWER.unpack(words)
        return cls(
            stage=stage,
            error=error,
            told=told,
            status=status & 0xFFFFFFFF,
            outputs=(outputs[0], outputs[1]),
        )


@frozen
class Shared:
    """Something of ours that a machine is shown: `name` in the share, written to in an overlay if `writable`.

    `status` is that of its top.
    """

    name: str
    writable: bool
    status: os.stat_result

    @property
    def place(self) -> str:
        """Where the step's mounts find it in the machine."""
        if not self.writable:
            return f"/share/{self.name}"
        return "/root" if self.name == "root" else f"/tree-{self.name}"


def upper_of(name: str) -> str:
    """Return where a machine has what was changed of a writable tree."""
    return f"/step/{name}/upper"


class StepPrograms:
    """The programs of one step.

    `config` is its OCI configuration, in which the sources of binds are names of `shared`; the root is
    called "root". `narrow` says that its programs are of 32 bits.
    """

    def __init__(
        self, agent: Agent, config: Config, shared: Mapping[str, Shared], *, narrow: bool
    ) -> None:
        self._agent = agent
        self._config = config
        self._shared = shared
        self._narrow = narrow

    # --- before ---

    def prepare(self) -> Batch:
        """Return the calls that put the trees together."""
        batch = Batch(self._agent)
        text = batch.program.text
        now = time.time_ns()
        moment = batch.program.data(struct.pack("<QQ", now // 10**9, now % 10**9))
        batch.program.call("clock_settime", 0, moment)
        memory, kind = text("tmpfs"), text("9p")
        batch.do(
            "mount", memory, text("/step"), memory, 0, text("mode=700,size=95%"), to="make room"
        )
        options = text(_SHARE_OPTIONS)
        batch.do(
            *("mount", text(SHARE_TAG), text("/share"), kind, syscalls.MS_RDONLY, options),
            to="mount what is shared with it",
        )
        for each in self._shared.values():
            if each.writable:
                self._put_together(batch, each)
        return batch

    @staticmethod
    def _put_together(batch: Batch, tree: Shared) -> None:
        """Mount a writable tree; its top looks as it does here."""
        text, what = batch.program.text, f"mount {tree.name}"
        upper, status = upper_of(tree.name), tree.status
        work = f"/step/{tree.name}/work"
        for path in (f"/step/{tree.name}", upper, work):
            batch.do("mkdirat", _AT_FDCWD, text(path), 0o755, to=what)
        if tree.place != "/root":
            batch.program.call("mkdirat", _AT_FDCWD, text(tree.place), 0o755)
        top = text(upper)
        batch.do("fchownat", _AT_FDCWD, top, status.st_uid, status.st_gid, 0, to=what)
        batch.do("fchmodat", _AT_FDCWD, top, stat.S_IMODE(status.st_mode), to=what)
        times = (status.st_atime_ns, status.st_mtime_ns)
        moments = struct.pack("<4Q", *(part for each in times for part in divmod(each, 10**9)))
        batch.do("utimensat", _AT_FDCWD, top, batch.program.data(moments), 0, to=what)
        kind = text("overlay")
        options = f"lowerdir=/share/{tree.name},upperdir={upper},workdir={work}"
        options += ",index=off,xino=off,redirect_dir=off,metacopy=off"
        flags = syscalls.MS_NODEV
        batch.do("mount", kind, text(tree.place), kind, flags, text(options), to=what)

    # --- the step ---

    def run(self) -> tuple[Batch, bytes]:
        """Return the calls of the step's first process, for what they are called, and the program that runs it.

        The program answers, once all has ended, with an `Answer`.
        """
        batch = Batch(self._agent)
        program = batch.program
        told, outputs = self._pipe(program), (self._pipe(program), self._pipe(program))
        flags = _NAMESPACES | _SIGCHLD
        if any(each["type"] == "network" for each in self._config["linux"]["namespaces"]):
            flags |= syscalls.CLONE_NEWNET
        child, parent = Label(), Label()
        step = program.call("clone", flags, 0, 0, 0, 0)
        program.branch_less(step, 1, child, parent)
        program.place(child)
        self._become(batch, [writer for _, writer in outputs])
        program.place(batch.failed)
        program.call("write", told[1], batch.stage.address, 16)
        program.call("exit", 1)
        program.place(parent)
        pumps = [
            self._agent.start_pump(program, number, reader)
            for number, (reader, _) in enumerate(outputs)
        ]
        _close(program, told[1], *(writer for _, writer in outputs))
        answer = program.data(bytes(ANSWER_BYTES))
        words = [Word(answer.offset + 8 * number) for number in range(6)]
        program.call("read", told[0], answer, 16, result=words[2])
        status = program.data(bytes(8))
        program.call("wait4", step, status, _WALL, 0)
        for pump in pumps:
            program.call("wait4", pump, 0, _WALL, 0)
        program.set(words[3], Word(status.offset))
        for word, each in zip(words[4:], self._agent.pumps, strict=True):
            program.set(word, each.total)
        _close(program, told[0], *(reader for reader, _ in outputs))
        self._agent.send(program, answer, ANSWER_BYTES)
        return batch, self._agent.end(program)

    @staticmethod
    def _pipe(program: Program) -> tuple[Word, Word]:
        """Add a pipe; return the variables with its two ends, which are 32 bits each: more is ignored."""
        ends = program.data(bytes(16))
        program.call("pipe2", ends, _CLOEXEC)
        return Word(ends.offset), Word(ends.offset + 4)

    def _become(self, batch: Batch, outputs: list[Word]) -> None:
        """Add what makes the new process the step's; the last calls are of its program."""
        program, process = batch.program, self._config["process"]
        program.call("setsid")
        for number, writer in enumerate(outputs, start=1):
            batch.do("dup3", writer, number, 0, to="have outputs")
            program.call("fchown", number, process["user"]["uid"], -1)
        name = self._config["hostname"].encode()
        batch.do("sethostname", program.data(name), len(name), to="have a name")
        raise_loopback(program)
        self._enter_root(batch)
        null = batch.do(
            "openat", _AT_FDCWD, program.text("/dev/null"), os.O_RDONLY, 0, to="have an input"
        )
        batch.do("dup3", null, 0, 0, to="have an input")
        program.call("close", null)
        enter_directory(batch, process["cwd"])
        set_limits(batch, process["rlimits"])
        program.call("umask", process["user"].get("umask", 0o022))
        if self._narrow:
            program.call("personality", _PER_LINUX32)
        drop_privileges(batch, process)
        execute(batch, process)

    # --- mounts ---

    def _enter_root(self, batch: Batch) -> None:
        """Add the mounts of the configuration, in its order, with the root entered first.

        What is bound from outside is taken along as descriptors: its target may be below any link of the image,
        and is looked up with the image as the root.
        """
        program = batch.program
        text = program.text
        flags = syscalls.MS_REC | syscalls.MS_PRIVATE
        batch.do("mount", 0, text("/"), 0, flags, 0, to="be alone with its mounts")
        taken = {
            mount["destination"]: self._take(batch, mount)
            for mount in self._config["mounts"]
            if mount["type"] == "bind"
        }
        nodes = self._take_nodes(batch)
        here = text(".")
        batch.do("chdir", text("/root"), to="enter the root")
        batch.do("pivot_root", here, here, to="enter the root")
        batch.do("umount2", here, syscalls.MNT_DETACH, to="leave the machine's root")
        batch.do("chdir", text("/"), to="enter the root")
        system = [
            each for each in self._config["mounts"] if each["destination"].startswith(_SYSTEM)
        ]
        for mount in system:
            self._mount(batch, mount, taken)
            if mount["destination"] == "/dev" and mount["type"] == "tmpfs":
                self._fill_dev(batch, nodes)
        self._freeze(batch)
        self._hide(batch)
        for mount in self._config["mounts"]:
            if mount not in system:
                self._mount(batch, mount, taken)

    @staticmethod
    def _take_nodes(batch: Batch) -> dict[str, Word]:
        """Add: open the machine's devices that each step has, to be mounted later."""
        text = batch.program.text
        return {
            name: batch.do(
                "open_tree", _AT_FDCWD, text(f"/dev/{name}"), _CLONE, to=f"have /dev/{name}"
            )
            for name in _NODES
        }

    def _take(self, batch: Batch, mount: MountPoint) -> Word:
        """Add: open something shared, to be mounted later."""
        program, what = batch.program, f"mount {mount['destination']}"
        shared = self._shared[mount["source"]]
        flags = _CLONE | syscalls.AT_RECURSIVE
        tree = batch.do("open_tree", _AT_FDCWD, program.text(shared.place), flags, to=what)
        wanted = sum(
            {_ATTRIBUTES[each] for each in (*mount["options"], "nodev") if each in _ATTRIBUTES}
        )
        attributes = program.data(struct.pack("<4Q", wanted, 0, 0, 0))
        batch.do("mount_setattr", tree, program.text(""), _EMPTY_PATH, attributes, 32, to=what)
        return tree

    def _mount(self, batch: Batch, mount: MountPoint, taken: Mapping[str, Word]) -> None:
        program, target = batch.program, mount["destination"]
        what, path = f"mount {target}", program.text(target)
        source = next(
            (each for each in self._shared.values() if each.name == mount["source"]), None
        )
        is_file = source is not None and not stat.S_ISDIR(source.status.st_mode)
        # What is missing is below another mount: a cache, say, or /dev.
        make_way(program, target, is_file=is_file)
        if target in taken:
            empty = program.text("")
            batch.do("move_mount", taken[target], empty, _AT_FDCWD, path, _EMPTY_FROM, to=what)
        else:
            self._mount_new(batch, mount)

    @staticmethod
    def _mount_new(batch: Batch, mount: MountPoint) -> None:
        """Add: mount what is nothing of ours."""
        program, target = batch.program, mount["destination"]
        what, path = f"mount {target}", program.text(target)
        kind = "cgroup2" if mount["type"] == "cgroup" else mount["type"]
        options = mount["options"]
        flags = sum({_MS_SHIFTED[each] for each in options if each in _MS_SHIFTED})
        if kind == "tmpfs" and target != "/dev":
            flags |= syscalls.MS_NODEV
        data = ",".join(each for each in options if each not in _NO_DATA)
        arguments = (program.text(kind), path, program.text(kind), flags, program.text(data))
        if kind == "mqueue":
            program.call("mount", *arguments)  # not every kernel has it
        else:
            batch.do("mount", *arguments, to=what)

    def _fill_dev(self, batch: Batch, nodes: Mapping[str, Word]) -> None:
        """Add the devices, each of which is a mount of its own, and make all others open nothing."""
        program = batch.program
        empty = program.text("")
        for name, tree in nodes.items():
            what, path = f"have /dev/{name}", program.text(f"/dev/{name}")
            make_way(program, f"/dev/{name}", is_file=True)
            batch.do("move_mount", tree, empty, _AT_FDCWD, path, _EMPTY_FROM, to=what)
        for name, to in {**DEV_LINKS, "core": "/proc/kcore"}.items():
            program.call("symlinkat", program.text(to), _AT_FDCWD, program.text(f"/dev/{name}"))
        flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_NODEV | syscalls.MS_NOSUID
        none = program.text("")
        batch.do("mount", none, program.text("/dev"), none, flags, 0, to="close other devices")

    def _freeze(self, batch: Batch) -> None:
        """Add: make paths of the system read-only, as far as they are there."""
        program, none = batch.program, batch.program.text("")
        flags = syscalls.MS_BIND | syscalls.MS_REC
        again = syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY | 2 | 4 | 8
        for path in self._config["linux"]["readonlyPaths"]:
            place = program.text(path)
            with program.unless_negative(program.call("mount", place, place, none, flags, 0)):
                batch.do("mount", none, place, none, again, 0, to=f"make {path} read-only")

    def _hide(self, batch: Batch) -> None:
        """Add: put nothing in the place of paths of the system: of a file the one, of a directory the other."""
        program = batch.program
        null, memory = program.text("/dev/null"), program.text("tmpfs")
        for path in self._config["linux"]["maskedPaths"]:
            place = program.text(path)
            program.call("mount", null, place, program.text(""), syscalls.MS_BIND, 0)
            program.call("mount", memory, place, memory, 1 | 2 | 4 | 8, program.text("size=4k"))

    # --- after ---

    def clean(self) -> Batch:
        """Return the calls that take everything down again."""
        batch = Batch(self._agent)
        text = batch.program.text
        for each in self._shared.values():
            if each.writable:
                batch.do("umount2", text(each.place), 0, to=f"unmount {each.place}")
        for path in ("/share", "/step"):
            batch.do("umount2", text(path), 0, to=f"unmount {path}")
        return batch


def _close(program: Program, *ends: Word) -> None:
    for end in ends:
        program.call("close", end)
