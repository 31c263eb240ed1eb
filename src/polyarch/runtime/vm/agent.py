"""The program that runs in a machine as its init: some hundred bytes that carry out system calls for us.

Neither a shell nor a compiler of the machine's architecture can be counted on, and what an image has of them is
not to be trusted. So the machine is driven from here: programs (see `program`) come through a port of
virtio-serial, with their length in front, and are run; what they have to say goes back through the same port. Two
more ports take the output of steps, which processes beside the init, the pumps, read from pipes.

    control port ──▶ length, program ──▶ run ──▶ answers ──▶ control port
    a step's standard output, standard error ──pipe──▶ pump ──▶ ports of their own

All lies at fixed addresses: the agent's code, then the resident program (this module's), then what comes in. What
differs from machine to machine, the loading of modules, is at the end of the resident program, so that the rest is
where it is in all of them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from polyarch.record import frozen
from polyarch.runtime.vm.architecture import Architecture
from polyarch.runtime.vm.program import Address, Label, Operand, Program, Word

__all__ = ["AGENT_READY", "PORTS", "Agent", "Pump"]

PORTS = ("/dev/vport0p1", "/dev/vport0p2", "/dev/vport0p3")
"""Those of control, standard output and standard error in a machine."""
AGENT_READY = b"polyarch"
"""What the agent says first."""

_CODE, _RESIDENT, _UPLOADED = 0x10000000, 0x10010000, 0x10200000
_MEMORY = 96 << 20
"""Bytes from the resident program on; the kernel gives pages as they are used."""
_RESIDENT_DATA = _RESIDENT + 0x40000
_ROOM = _RESIDENT + (64 << 20)
_PUMPED = 65536
_PAGE = 0x10000
_CLONE_VM, _CLONE_FS, _CLONE_FILES, _SIGCHLD = 0x100, 0x200, 0x400, 17
_WAIT_NS = 2_000_000
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")


@frozen
class Pump:
    """A process that hands on what comes from `source`; `total` counts the bytes."""

    source: Word
    total: Word
    entry: int


@frozen
class _Routine:
    """A routine: `left` bytes from `at` on are moved, then it goes on at `back`."""

    at: Word
    left: Word
    back: Word
    entry: int | Label

    def add_to(self, program: Program, where: Operand, size: Operand) -> None:
        """Add to a program: move `size` bytes at `where`."""
        after = Label()
        program.set(self.at, where)
        program.set(self.left, size)
        program.set(self.back, after)
        program.jump(self.entry)
        program.place(after)


class Agent:
    """The agent of a machine, and the ways to use it from programs.

    `modules` are the paths of kernel modules, each before those that need it; a machine has a file system with
    devices at /dev unless it `is_init`.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        ports: Sequence[str] = PORTS,
        modules: Sequence[str] = (),
        is_init: bool = True,
    ) -> None:
        self.architecture = architecture
        # Programs use what is in it by its address, which must not depend on the modules.
        self._resident = Program(architecture, _RESIDENT, _RESIDENT_DATA)
        self._buffers = _UPLOADED
        self._control = self._resident.word()
        self._main = Label()
        self._lost = Label()
        begin = Label()
        self._resident.jump(begin)
        send, receive = self._transfer("write"), self._transfer("read")
        pumps = [self._pump() for _ in range(2)]
        ready = self._resident.label()
        self._serve(send, receive)
        self._resident.place(self._lost)
        self._resident.call("exit", 1)
        self._resident.place(begin)
        if is_init:
            self._prepare(modules)
        self._open_ports(ports, [port for _, port, _, _ in pumps])
        self._resident.jump(ready)
        self._image = self._resident.assemble()
        self.pumps = tuple(
            Pump(
                source=self._absolute(source),
                total=self._absolute(total),
                entry=self._resident.where(entry),
            )
            for source, _, total, entry in pumps
        )
        self._outside = _Routine(
            at=self._absolute(send.at),
            left=self._absolute(send.left),
            back=self._absolute(send.back),
            entry=self._resident.where(send.entry) if isinstance(send.entry, Label) else send.entry,
        )

    def _absolute(self, word: Word) -> Word:
        return Word(self._resident.where(word), absolute=True)

    # --- the resident program ---

    def _transfer(self, call: str) -> _Routine:
        """Add a routine that moves bytes through the control port until none is left."""
        program = self._resident
        at, left, back = program.word(), program.word(), program.word()
        entry, more, some = program.label(), Label(), Label()
        program.branch_less(0, left, more, back)
        program.place(more)
        count = program.call(call, self._control, at, left)
        program.branch_less(0, count, some, self._lost)
        program.place(some)
        program.add(at, count, to=at)
        program.add(left, 0, count, to=left)
        program.jump(entry)
        return _Routine(at=at, left=left, back=back, entry=entry)

    def _pump(self) -> tuple[Word, Word, Word, Label]:
        """Add a pump; return its source, its port, its count and its entry."""
        program = self._resident
        source, port, total = program.word(), program.word(), program.word()
        self._buffers -= _PUMPED
        buffer = Address(self._buffers, absolute=True)
        at, left = program.word(), program.word()
        entry, some, write, more, wrote, end = program.label(), *(Label() for _ in range(5))
        count = program.call("read", source, buffer, _PUMPED)
        program.branch_less(0, count, some, end)
        program.place(some)
        program.set(at, buffer)
        program.set(left, count)
        program.add(total, count, to=total)
        program.place(write)
        program.branch_less(0, left, more, entry)
        program.place(more)
        written = program.call("write", port, at, left)
        program.branch_less(0, written, wrote, end)
        program.place(wrote)
        program.add(at, written, to=at)
        program.add(left, 0, written, to=left)
        program.jump(write)
        program.place(end)
        program.call("exit", 0)
        return source, port, total, entry

    def _prepare(self, modules: Sequence[str]) -> None:
        """Load modules and make devices appear. What fails shows later, by what is missing."""
        program = self._resident
        none = program.text("")
        for module in modules:
            opened = program.call("openat", -100, program.text(module), os.O_RDONLY | os.O_CLOEXEC)
            program.call("finit_module", opened, none, 0)
            program.call("close", opened)
        kind = program.text("devtmpfs")
        program.call("mount", kind, program.text("/dev"), kind, 0, 0)

    def _open_ports(self, ports: Sequence[str], outputs: Sequence[Word]) -> None:
        """Open each port once it is there: the kernel makes them when it gets to it."""
        program = self._resident
        pause = program.data(struct.pack("<QQ", 0, _WAIT_NS))
        for path, word in zip(ports, (self._control, *outputs), strict=True):
            name = program.text(path)
            again, wait, done = program.label(), Label(), Label()
            program.call(
                "openat", -100, name, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY, 0, result=word
            )
            program.branch_less(word, 0, wait, done)
            program.place(wait)
            program.call("nanosleep", pause, 0)
            program.jump(again)
            program.place(done)

    def _serve(self, send: _Routine, receive: _Routine) -> None:
        """Add: say that the agent is there; then take programs and run them, for ever."""
        program = self._resident
        length = program.word()
        send.add_to(program, program.data(AGENT_READY), len(AGENT_READY))
        program.place(self._main)
        receive.add_to(program, length.address, 8)
        receive.add_to(program, _UPLOADED, length)
        program.jump(_UPLOADED)

    # --- for programs ---

    @property
    def room(self) -> int:
        """Where programs have memory that isn't sent along: 16 MiB and more."""
        return _ROOM

    def new_program(self) -> Program:
        """Return a program to be sent; it ends with `end`."""
        return Program(self.architecture, _UPLOADED)

    def send(self, program: Program, where: Operand, size: Operand) -> None:
        """Add: answer with some bytes."""
        self._outside.add_to(program, where, size)

    def start_pump(self, program: Program, number: int, source: Operand) -> Word:
        """Add: start a pump (0: standard output, 1: standard error); return the variable with its process."""
        pump = self.pumps[number]
        program.set(pump.source, source)
        program.set(pump.total, 0)
        flags = _CLONE_VM | _CLONE_FS | _CLONE_FILES | _SIGCHLD
        started = program.call("clone", flags, 0, 0, 0, 0)
        theirs, ours = Label(), Label()
        program.branch_less(started, 1, theirs, ours)
        program.place(theirs)
        program.branch_less(started, 0, ours, pump.entry)
        program.place(ours)
        return started

    def end(self, program: Program) -> bytes:
        """Add the end of a program, and return all of it as it is sent."""
        program.jump(self._resident.where(self._main))
        content = program.assemble()
        return struct.pack("<Q", len(content)) + content

    # --- the file ---

    def elf(self) -> bytes:
        """Return the agent as a static program: two segments, its code and the memory of all programs."""
        code = bytes.fromhex(self.architecture.code)
        table = _HEADER.size
        start = table + 2 * _SEGMENT.size
        ident = b"\x7fELF\x02\x01\x01" + bytes(9)
        header = _HEADER.pack(
            ident,
            *(2, self.architecture.machine, 1, _CODE + start, table, 0, self.architecture.flags),
            *(_HEADER.size, _SEGMENT.size, 2, 0, 0, 0),
        )
        whole = start + len(code)
        segments = _SEGMENT.pack(1, 5, 0, _CODE, _CODE, whole, whole, _PAGE)
        segments += _SEGMENT.pack(
            *(1, 6, _PAGE, _RESIDENT, _RESIDENT, len(self._image), _MEMORY, _PAGE)
        )
        return (header + segments + code).ljust(_PAGE, b"\0") + self._image
