r"""binfmt_misc: which interpreter the kernel starts for which program; the handlers for QEMU.

A handler says how the programs of an architecture begin (20 bytes, compared under a mask) and is
registered by writing a line `:<name>:M:0:<magic>:<mask>:<interpreter>:<flags>` to `register` in a mount
of binfmt_misc. Flags: `F` opens the interpreter at once, so that it works in any root; `C` takes the
credentials from the program, so that setuid works; `P` keeps argv[0]; `O` hands the program over open.

Source: Documentation/admin-guide/binfmt-misc.rst of Linux, fs/binfmt_misc.c; the table is what
tonistiigi/binfmt registers.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from polyarch.errors import InputError, MachineError
from polyarch.record import frozen

__all__ = [
    "BINFMT_DIRECTORY",
    "HANDLERS",
    "BinfmtMount",
    "Entry",
    "Handler",
    "get_handler",
    "parse_entry",
    "status",
]

BINFMT_DIRECTORY = "/proc/sys/fs/binfmt_misc"

_NO_ENTRIES = frozenset({"register", "status", "WSLInterop"})


def _escape(data: bytes) -> str:
    """Write bytes as the register file wants them: all escaped, but the readable letters of ELF."""
    return "".join(f"\\x{byte:02x}" for byte in data).replace("\\x45\\x4c\\x46", "ELF")


@frozen
class Handler:
    """How the kernel knows the programs of an architecture, and the QEMU program that runs them."""

    architecture: str
    qemu: str
    """QEMU's name of the architecture: the program is called `qemu-<this>`."""
    magic: bytes
    mask: bytes

    @property
    def entry(self) -> str:
        """The name under which the handler is registered."""
        return f"qemu-{self.qemu}"

    def as_entry(self, interpreter: str, flags: str) -> Entry:
        """Return the entry that starts `interpreter` for such programs."""
        return Entry(
            name=self.entry,
            interpreter=interpreter,
            flags=flags,
            magic=self.magic,
            mask=self.mask,
        )


def _handler(architecture: str, qemu: str, magic: str, mask: str) -> Handler:
    return Handler(
        architecture=architecture,
        qemu=qemu,
        magic=bytes.fromhex("7f454c46" + magic),
        mask=bytes.fromhex(mask),
    )


_OSABI = "ffffffff ffffff00 ffffffff ffffffff "
_X86 = "ffffffff fffefe00 ffffffff ffffffff "
_ABI_VERSION = "ffffffff ffffff00 00ffffff ffffffff "

HANDLERS: tuple[Handler, ...] = (
    _handler("amd64", "x86_64", "02010100 00000000 00000000 02003e00", _X86 + "feffffff"),
    _handler("386", "i386", "01010100 00000000 00000000 02000300", _X86 + "feffffff"),
    _handler("arm64", "aarch64", "02010100 00000000 00000000 0200b700", _OSABI + "feffffff"),
    _handler("arm", "arm", "01010100 00000000 00000000 02002800", _OSABI + "feffffff"),
    _handler("s390x", "s390x", "02020100 00000000 00000000 00020016", _OSABI + "fffeffff"),
    _handler("ppc64le", "ppc64le", "02010100 00000000 00000000 02001500", _OSABI + "feffff00"),
    _handler("riscv64", "riscv64", "02010100 00000000 00000000 0200f300", _OSABI + "feffffff"),
    _handler(
        "mips64le", "mips64el", "02010100 00000000 00000000 02000800", _ABI_VERSION + "feffffff"
    ),
    _handler("mips64", "mips64", "02020100 00000000 00000000 00020008", _ABI_VERSION + "fffeffff"),
    _handler(
        "loong64",
        "loongarch64",
        "02010100 00000000 00000000 02000201",
        "ffffffff fffffffc 00ffffff ffffffff feffffff",
    ),
)
"""One per architecture that can be emulated; 64-bit before 32-bit where both exist."""


def get_handler(architecture: str) -> Handler:
    """Return the handler of a Go architecture name; raises InputError if there is none."""
    for handler in HANDLERS:
        if handler.architecture == architecture:
            return handler
    raise InputError(f"unsupported architecture: {architecture}")


@frozen
class Entry:
    """What is registered: for files with this magic, or else with this extension, an interpreter."""

    name: str
    interpreter: str
    flags: str
    enabled: bool = True
    magic: bytes = b""
    mask: bytes = b""
    offset: int = 0
    extension: str = ""

    @property
    def register_line(self) -> bytes:
        """What to write to `register` for this entry to be there."""
        what = (
            f"E::{self.extension}:"
            if self.extension
            else f"M:{self.offset}:{_escape(self.magic)}:{_escape(self.mask)}"
        )
        return os.fsencode(f":{self.name}:{what}:{self.interpreter}:{self.flags}")

    def matches(self, header: bytes) -> bool:
        """Tell whether the kernel takes this entry for a file that begins with `header`."""
        part = header[self.offset : self.offset + len(self.magic)]
        masks = self.mask or b"\xff" * len(self.magic)
        return len(self.magic) == len(part) > 0 and all(
            (have ^ want) & mask == 0
            for have, want, mask in zip(part, self.magic, masks, strict=True)
        )

    @property
    def works_in_any_root(self) -> bool:
        """Whether the interpreter was opened when it was registered."""
        return self.enabled and "F" in self.flags


def parse_entry(name: str, text: str) -> Entry:
    """Read what the kernel shows in the file of an entry. Raises MachineError if that is unknown."""
    lines = text.splitlines()
    fields = dict(line.partition(" ")[::2] for line in lines[1:])
    try:
        return Entry(
            name=name,
            enabled=lines[0] == "enabled",
            interpreter=fields["interpreter"],
            flags=fields.get("flags:", ""),
            magic=bytes.fromhex(fields.get("magic", "")),
            mask=bytes.fromhex(fields.get("mask", "")),
            offset=int(fields.get("offset", "0")),
            extension=fields.get("extension", "").removeprefix("."),
        )
    except (IndexError, KeyError, ValueError) as error:
        raise MachineError(f"binfmt_misc entry {name} is in an unknown form: {text!r}") from error


class BinfmtMount:
    """A mounted binfmt_misc, by its path (or that of an open descriptor in /proc/self/fd)."""

    def __init__(self, path: str = BINFMT_DIRECTORY) -> None:
        self.path = path

    @property
    def mounted(self) -> bool:
        """Whether there is one."""
        return os.path.exists(os.path.join(self.path, "status"))

    def names(self) -> tuple[str, ...]:
        """Return the names of all entries, sorted; none if it isn't mounted."""
        try:
            return tuple(sorted(set(os.listdir(self.path)) - _NO_ENTRIES))
        except OSError:
            return ()

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, sorted by name; one that vanishes meanwhile is left out."""
        found = []
        for name in self.names():
            try:
                with open(os.path.join(self.path, name), encoding="utf-8") as file:
                    found.append(parse_entry(name, file.read()))
            except OSError:
                continue
        return tuple(found)

    def register(self, entry: Entry) -> None:
        """Register an entry. Raises MachineError if the kernel refuses it or its name is taken."""
        self.register_line(entry.name, entry.register_line)

    def register_line(self, name: str, line: bytes) -> None:
        """Register the entry called `name` by its line; raises as `register` does."""
        if name in self.names():
            raise MachineError(f"{name} already registered")
        register = os.path.join(self.path, "register")
        try:
            fd = os.open(register, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, line)
            finally:
                os.close(fd)
        except OSError as error:
            interpreter = os.fsdecode(line.split(b":")[-2])
            raise MachineError(
                f'cannot register "{interpreter}" to {register}: {error.strerror}'
            ) from error

    def remove(self, name: str) -> None:
        """Take an entry away. Raises MachineError if there is none, or the kernel refuses."""
        if name not in self.names():
            raise MachineError(f"{name} not found")
        try:
            with open(os.path.join(self.path, name), "wb", buffering=0) as file:
                file.write(b"-1")
        except OSError as error:
            raise MachineError(f"cannot remove {name}: {error.strerror}") from error

    def find(self, pattern: str) -> tuple[str, ...]:
        """Return the entries that `pattern` names: an architecture, an entry, or a glob of entries."""
        with contextlib.suppress(InputError):
            pattern = get_handler(pattern).entry
        return tuple(
            name
            for name in self.names()
            if fnmatchcase(name, pattern) or name.endswith(f"-{pattern}")
        )


def status(supported: Sequence[str], entries: Iterable[Entry]) -> dict[str, object]:
    """Return what `tonistiigi/binfmt` prints: platforms that run here, and enabled entries."""
    emulators = [entry.name for entry in entries if entry.enabled]
    return {"supported": list(supported), "emulators": emulators or None}
