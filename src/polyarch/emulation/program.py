"""Why a program of a root file system can't be started: what it is made for, and what it lacks.

The kernel has two answers for many reasons: `exec format error`, and `no such file or directory` about a file
that is there. Here the file is read as the kernel reads it: ELF's header with the loader that it names, or
the line `#!` with the interpreter of a script. All paths are looked up inside the root.

Source: Linux, fs/binfmt_elf.c and fs/binfmt_script.c; execve(2).
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from polyarch.emulation.elf import ELF_MAGIC, ElfHeader, read_elf
from polyarch.emulation.probe import architecture_of
from polyarch.errors import InputError, MachineError
from polyarch.inroot import open_regular, resolve
from polyarch.pattern import pattern
from polyarch.platforms import Platform
from polyarch.record import frozen

__all__ = ["Surroundings", "Trouble", "find_trouble", "find_trouble_in_output"]

_LINE = 256
"""Bytes of a script's first line that the kernel reads."""
_MOST_SCRIPTS = 5
"""Scripts that are interpreters of one another; the kernel has about as many."""
_SHELLS = ("/bin/bash", "/bin/sh", "/bin/ash", "/bin/dash")
_GLIBC = pattern(r".*/ld(?:-linux[\w-]*|64)\.so\.\d\Z")
_MUSL = pattern(r".*/ld-musl-[\w-]+\.so\.1\Z")
_COMPLAINT = pattern(
    r".*(?:not found|[Ee]xec format error|cannot execute|No such file or directory|[Ss]yntax error"
    r"|required file|Could not open|word unexpected)"
)
_WORD = pattern(r"[^\s:'\"`()]+")
_MOST_WORDS = 64


@frozen
class Trouble:
    """What keeps a program from being started, and what to do about it.

    `file` is what the kernel doesn't find, or can't run unless something here runs programs for `architecture`. Both are
    "" where it may find a way all the same.
    """

    text: str
    hint: str
    file: str = ""
    architecture: str = ""

    def __str__(self) -> str:
        """Say both."""
        return f"{self.text}: {self.hint}"


@frozen
class Surroundings:
    """Where programs are looked for: the root, the platform that it is for, the working directory, and PATH."""

    root: Path
    platform: Platform
    cwd: str = "/"
    path: str = ""


def find_trouble(program: str, where: Surroundings) -> Trouble | None:
    """Return why `program` can't be started, as far as its file tells; None if it isn't there, or all is well.

    A name without a slash is looked for on PATH.
    """
    for candidate in _candidates(program, where):
        file = _read(candidate, where.root)
        if file is not None:
            return _trouble(candidate, file, where, _MOST_SCRIPTS)
    return None


def _find_program_trouble(word: str, where: Surroundings) -> Trouble | None:
    """Return what is wrong with a program or script; of other files nothing is known to be wrong."""
    for candidate in _candidates(word, where):
        file = _read(candidate, where.root)
        if file is not None and file.is_executable:
            is_program = file.header is not None or file.start.startswith(b"#!")
            return _trouble(candidate, file, where, _MOST_SCRIPTS) if is_program else None
    return None


def find_trouble_in_output(lines: Sequence[str], where: Surroundings) -> Trouble | None:
    """Return why a program can't be started that shells, or QEMU, have complained of in `lines`.

    Shells that are told `exec format error` take the program for a script: what they then complain of is its syntax.
    """
    seen = set()
    for line in reversed(lines):
        if _COMPLAINT.match(line) is None:
            continue
        for word in _WORD.findall(line)[:_MOST_WORDS]:
            if word in seen:
                continue
            seen.add(word)
            trouble = _find_program_trouble(word, where) or _loader_trouble(word, line, where)
            if trouble is not None:
                return trouble
    return None


def _candidates(program: str, where: Surroundings) -> Iterator[str]:
    if "\0" in program or not program:
        return
    if "/" in program:
        yield posixpath.join(where.cwd, program)
        return
    for directory in where.path.split(":"):
        yield posixpath.join(where.cwd, directory, program)


@frozen
class _File:
    """How a file begins; `header` is None for what is no ELF file, or a damaged one."""

    start: bytes
    header: ElfHeader | None
    is_executable: bool


def _read(path: str, root: Path) -> _File | None:
    """Read how a file begins; None if it can't be read."""
    try:
        with open(open_regular(path, root=root), "rb") as file:
            start, header = file.read(_LINE), None
            mode = os.fstat(file.fileno()).st_mode
            if start.startswith(ELF_MAGIC):
                file.seek(0)
                with suppress(MachineError):
                    header = read_elf(file, path)
    except (OSError, InputError):
        return None
    return _File(start=start, header=header, is_executable=bool(mode & 0o111))


def _trouble(path: str, file: _File, where: Surroundings, depth: int) -> Trouble | None:
    if file.header is not None:
        return _elf_trouble(path, file.header, where)
    if file.start.startswith(b"#!"):
        return _script_trouble(path, file.start, where, depth)
    if file.start.startswith(ELF_MAGIC):
        return Trouble(text=f"{path} is a damaged program", hint="copy or build it once more")
    return _other_trouble(path, file.start)


def _elf_trouble(path: str, header: ElfHeader, where: Surroundings) -> Trouble | None:
    architecture = architecture_of(header.bits, header.machine, little=header.little_endian)
    wanted = where.platform.architecture
    if architecture != wanted and (architecture, wanted) not in _RUN_BY:
        made_for = f"linux/{architecture}" if architecture else f"machine {header.machine} of ELF"
        return Trouble(
            text=f"{path} is a program for {made_for}, and this is {where.platform}",
            hint="take the one for this platform (the build arguments TARGETARCH and TARGETVARIANT name "
            f"it), or run it in a stage FROM --platform={made_for if architecture else '...'}",
            file=path,
            architecture=architecture,
        )
    if header.interpreter and not _exists(header.interpreter, where.root):
        return _no_loader(path, header.interpreter, where.root)
    return None


_RUN_BY = frozenset({("386", "amd64"), ("arm", "arm64")})
"""Whose programs CPUs, and builds for them, run as well."""


def _no_loader(path: str, loader: str, root: Path) -> Trouble:
    text = f"{path} needs the loader {loader}, which isn't there"
    if _GLIBC.match(loader) and _has(root, _MUSL):
        return Trouble(
            text=text,
            hint="it is made for glibc, and this image has musl: link it statically (Go: CGO_ENABLED=0), build it in "
            "a stage of the same distribution, or take a base image with glibc",
            file=loader,
        )
    if _MUSL.match(loader) and _has(root, _GLIBC):
        return Trouble(
            text=text,
            hint="it is made for musl, and this image has glibc: link it statically, or build it in a stage of "
            "the same distribution",
            file=loader,
        )
    return Trouble(
        text=text,
        hint="link it statically (Go: CGO_ENABLED=0), or take a base image with the libraries that it "
        "was built with",
        file=loader,
    )


def _has(root: Path, loader: re.Pattern[str]) -> bool:
    """Tell whether a root has a loader of a kind."""
    for directory in ("lib", "lib64", "usr/lib"):
        try:
            names = os.listdir(resolve(root, directory))
        except (OSError, InputError):
            continue
        if any(loader.match(f"/{directory}/{name}") for name in names):
            return True
    return False


def _script_trouble(path: str, start: bytes, where: Surroundings, depth: int) -> Trouble | None:
    line = start[2:].partition(b"\n")[0]
    words = os.fsdecode(line).strip(" \t").split(None, 1)
    interpreter = words[0] if words else ""
    if line.endswith(b"\r"):
        shown = interpreter.rstrip("\r")
        return Trouble(
            text=f"{path} has Windows line endings: the kernel looks for {shown} with a carriage return "
            "at its end",
            hint="save it with Unix line endings (git: *.sh text eol=lf in .gitattributes), or RUN sed "
            "-i 's/\\r$//' on it",
            file=path,
        )
    if not interpreter.startswith("/"):
        return Trouble(
            text=f"the first line of {path} names no interpreter by its whole path",
            hint="let it begin with #!/bin/sh or the like",
        )
    found = _read(interpreter, where.root)
    if found is None:
        others = [each for each in _SHELLS if _exists(each, where.root)]
        hint = f"the image has {', '.join(others)}" if others else "the image has no shell either"
        return Trouble(
            text=f"{path} is a script for {interpreter}, which isn't there",
            hint=f"install it, or name another one in the script's first line ({hint})",
            file=interpreter,
        )
    return _trouble(interpreter, found, where, depth - 1) if depth else None


def _other_trouble(path: str, start: bytes) -> Trouble:
    if not start:
        return Trouble(text=f"{path} is empty", hint="copy or build it once more")
    if start.startswith(b"version https://git-lfs"):
        return Trouble(
            text=f"{path} is a pointer of Git LFS, not the program",
            hint="fetch it before the build: git lfs pull",
        )
    return Trouble(
        text=f"{path} is neither a program nor a script with a first line #!",
        hint="let a script begin with #!/bin/sh or the like, or start it by its interpreter",
    )


def _loader_trouble(word: str, line: str, where: Surroundings) -> Trouble | None:
    """Understand QEMU's complaint, which names the loader and not the program."""
    is_loader = _GLIBC.match(word) or _MUSL.match(word)
    if "Could not open" in line and is_loader and not _exists(word, where.root):
        return _no_loader("a program of this step", word, where.root)
    return None


def _exists(path: str, root: Path) -> bool:
    try:
        return os.path.lexists(resolve(root, path))
    except InputError:
        return False
