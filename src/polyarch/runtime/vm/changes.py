"""What was changed in a machine: the tree of an overlay's upper directory, read through the agent.

The whole tree is asked for level by level, many files with one program, as each talk takes as long as a hundred
calls. Contents come last, as they are written to their places.

No flag of open is used that has another number on another architecture (O_DIRECTORY, O_NOFOLLOW): nothing of the
step runs any more, so what has been looked at stays as it is.

Source: statx(2), getdents64(2), listxattr(2).
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Iterator, Sequence

from polyarch.errors import NoRuntime
from polyarch.record import frozen, mutable
from polyarch.runtime.vm.machine import Machine
from polyarch.runtime.vm.program import Address, Label, Operand, Program, Word

__all__ = ["Change", "read_changes", "read_contents"]

_AT_FDCWD, _NOFOLLOW = -100, 0x100
_STATX_BYTES = 256
_MODIFIED = 112
_DEVICE = 128
_BASIC = 0x7FF
"""What statx is asked for and has to know: all of STATX_BASIC_STATS."""
_ENTRY = struct.Struct("<QqHB")
_AT_ONCE = 256
_BUFFER = 1 << 20
_WORD = struct.Struct("<q")
_MOST_FRAME = 1 << 30


@mutable
class Change:
    """A file of the tree: its path below the top (empty for that itself), and all that is known of it.

    `xattrs` are without those of overlayfs itself, of which `opaque` is what a layer keeps.
    """

    path: bytes
    mode: int = 0
    uid: int = 0
    gid: int = 0
    links: int = 1
    inode: int = 0
    size: int = 0
    modified_ns: int = 0
    device: int = 0
    target: bytes = b""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    opaque: bool = False

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)


@frozen
class _Reader:
    """Asks for parts of the tree below `top`."""

    machine: Machine
    top: bytes

    def place(self, path: bytes) -> bytes:
        """Return where a path is in the machine."""
        return self.top + b"/" + path if path else self.top

    def frame(self, path: bytes) -> bytes:
        """Return the next answer that has its length in front; a negative one is an error with `path`."""
        (length,) = _WORD.unpack(self.machine.receive(_WORD.size))
        if length < 0:
            why = os.strerror(-length) if length > -4096 else f"error {length}"
            raise NoRuntime(f"the virtual machine can't read {os.fsdecode(path)}: {why}")
        if length > _MOST_FRAME:
            raise NoRuntime("the virtual machine answers what can't be")
        return self.machine.receive(length) if length > 0 else b""

    def ask(self, add: Callable[[Program], None]) -> None:
        """Send a program to which `add` has added what is asked."""
        program = self.machine.agent.new_program()
        add(program)
        self.machine.send(self.machine.agent.end(program))

    def send_frame(self, program: Program, where: Operand, length: Word) -> None:
        """Add: answer with a length and, if it isn't negative, as many bytes."""
        agent = self.machine.agent
        agent.send(program, length.address, _WORD.size)
        with program.unless_negative(length):
            agent.send(program, where, length)

    # --- directories ---

    def names(self, directory: bytes) -> list[bytes]:
        """Return the names in a directory."""

        def add(program: Program) -> None:
            buffer = program.data(bytes(65536))
            flags = os.O_RDONLY | os.O_CLOEXEC
            opened = program.call(
                "openat", _AT_FDCWD, program.text(self.place(directory)), flags, 0
            )
            again, more, done = program.label(), Label(), Label()
            count = program.call("getdents64", opened, buffer, 65536)
            self.send_frame(program, buffer, count)
            program.branch_less(0, count, more, done)
            program.place(more)
            program.jump(again)
            program.place(done)
            program.call("close", opened)

        self.ask(add)
        found: list[bytes] = []
        while frame := self.frame(directory):
            found += _names(frame)
        return sorted(found)

    # --- what is known of files ---

    def look_at(self, changes: Sequence[Change]) -> None:
        """Fill in what is known of files, but for contents."""
        for start in range(0, len(changes), _AT_ONCE):
            some = changes[start : start + _AT_ONCE]
            listed = self._statuses(some)
            links = [each for each in some if stat.S_ISLNK(each.mode)]
            for each, target in zip(links, self._targets(links), strict=True):
                each.target = target
            having = [each for each, size in zip(some, listed, strict=True) if size > 0]
            for each in having:
                self._read_xattrs(each)

    def _statuses(self, some: Sequence[Change]) -> list[int]:
        """Fill in types, owners and the like; return how long the lists of extended attributes are."""
        agent = self.machine.agent
        size = len(some) * (_STATX_BYTES + _WORD.size)

        def add(program: Program) -> None:
            answer = program.data(bytes(size))
            for number, each in enumerate(some):
                path = program.text(self.place(each.path))
                at = Address(answer.offset + _STATX_BYTES * number)
                program.call("statx", _AT_FDCWD, path, _NOFOLLOW, _BASIC, at)
                length = Word(answer.offset + _STATX_BYTES * len(some) + _WORD.size * number)
                program.call("llistxattr", path, 0, 0, result=length)
            agent.send(program, answer, size)

        self.ask(add)
        answer = self.machine.receive(size)
        for number, each in enumerate(some):
            _fill_in(each, answer[_STATX_BYTES * number : _STATX_BYTES * (number + 1)])
        return [length for (length,) in _WORD.iter_unpack(answer[_STATX_BYTES * len(some) :])]

    def _targets(self, links: Sequence[Change]) -> Iterator[bytes]:
        def add(program: Program) -> None:
            buffer = program.data(bytes(4096))
            for each in links:
                path = program.text(self.place(each.path))
                length = program.call("readlinkat", _AT_FDCWD, path, buffer, 4096)
                self.send_frame(program, buffer, length)

        if links:
            self.ask(add)
        for each in links:
            yield self.frame(each.path)

    def _read_xattrs(self, change: Change) -> None:
        path = self.place(change.path)

        def add_list(program: Program) -> None:
            buffer = program.data(bytes(65536))
            length = program.call("llistxattr", program.text(path), buffer, 65536)
            self.send_frame(program, buffer, length)

        def add_values(program: Program) -> None:
            buffer = program.data(bytes(65536))
            for name in names:
                length = program.call(
                    "lgetxattr", program.text(path), program.text(name), buffer, 65536
                )
                self.send_frame(program, buffer, length)

        self.ask(add_list)
        names = [name for name in self.frame(path).split(b"\0") if name]
        self.ask(add_values)
        values = [(name, self.frame(path)) for name in names]
        change.opaque = (b"trusted.overlay.opaque", b"y") in values
        change.xattrs = tuple(
            each for each in values if not each[0].startswith(b"trusted.overlay.")
        )


def _names(frame: bytes) -> Iterator[bytes]:
    """Read the names in what getdents64 gave. Raises NoRuntime for one that no directory has."""
    offset = 0
    while offset + 19 <= len(frame):
        length = _ENTRY.unpack_from(frame, offset)[2]
        name = frame[offset + 19 : offset + length].partition(b"\0")[0]
        if length < 20 or not name or b"/" in name:
            raise NoRuntime("the virtual machine tells of files with names that can't be")
        offset += length
        if name not in {b".", b".."}:
            yield name


def _fill_in(change: Change, status: bytes) -> None:
    (known,) = struct.unpack_from("<I", status)
    if known & _BASIC != _BASIC:
        raise NoRuntime(f"the virtual machine can't read {os.fsdecode(change.path)}")
    fields = struct.unpack_from("<IIQIIIHxxQQ", status)
    change.links, change.uid, change.gid, change.mode = fields[3:7]
    change.inode, change.size = fields[7:9]
    seconds, nanoseconds = struct.unpack_from("<qI", status, _MODIFIED)
    change.modified_ns = seconds * 10**9 + nanoseconds
    change.device = os.makedev(*struct.unpack_from("<II", status, _DEVICE))


def read_changes(machine: Machine, top: str) -> list[Change]:
    """Return all files below `top`, which is the first, each directory before what is in it.

    Raises NoRuntime.
    """
    reader = _Reader(machine=machine, top=top.encode())
    level = [Change(path=b"")]
    found: list[Change] = []
    while level:
        reader.look_at(level)
        found += level
        level = [
            Change(path=each.path + b"/" + name if each.path else name)
            for each in level
            if each.is_directory
            for name in reader.names(each.path)
        ]
    return found


def read_contents(
    machine: Machine,
    top: str,
    files: Sequence[Change],
    write: Callable[[Change, Iterator[bytes]], None],
) -> None:
    """Hand over what is in files, piece by piece, to `write`, which takes all of each. Raises NoRuntime."""
    reader = _Reader(machine=machine, top=top.encode())
    for start in range(0, len(files), _AT_ONCE):
        some = files[start : start + _AT_ONCE]
        reader.ask(lambda program, some=some: _add_contents(reader, program, some))  # type: ignore[misc]
        for each in some:
            write(each, _pieces(reader, each.path))


def _pieces(reader: _Reader, path: bytes) -> Iterator[bytes]:
    while piece := reader.frame(path):
        yield piece


def _add_contents(reader: _Reader, program: Program, files: Sequence[Change]) -> None:
    """Add a routine that answers with a file, in frames up to an empty one, and its calls."""
    path, back = program.word(), program.word()
    begin, entry, more, done = (Label() for _ in range(4))
    # Not sent along: the agent has memory behind what is sent.
    buffer = Address(reader.machine.agent.room, absolute=True)
    program.jump(begin)
    program.place(entry)
    flags = os.O_RDONLY | os.O_CLOEXEC
    opened = program.call("openat", _AT_FDCWD, path, flags, 0)
    again = program.label()
    count = program.call("read", opened, buffer, _BUFFER)
    reader.send_frame(program, buffer, count)
    program.branch_less(0, count, more, done)
    program.place(more)
    program.jump(again)
    program.place(done)
    program.call("close", opened)
    program.jump(back)
    program.place(begin)
    for each in files:
        after = Label()
        program.set(path, program.text(reader.place(each.path)))
        program.set(back, after)
        program.jump(entry)
        program.place(after)
