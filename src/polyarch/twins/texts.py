"""The machine in a program's texts: what an x86-64 program says of it -> what the foreign one says in its place.

Found by comparing the two builds: a text of the native program that has the machine's name in it must have
exactly one counterpart among the whole texts of the foreign program, in which that name is the foreign
machine's. Where there is none, the program says something that can't be made right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from polyarch.emulation.extended import PT_INTERP, PT_LOAD, Extended
from polyarch.errors import MachineError
from polyarch.platforms import Platform
from polyarch.twins.elffile import ElfFile
from polyarch.twins.patch_arrays import find_copied

__all__ = ["foreign_texts"]

_NATIVE = re.compile(rb"x86[-_]64|amd64")
_PRINTABLE = re.compile(rb"[\n\t -~]*")
_LONGEST = 512
"""Bytes of a text before and after the machine's name; a longer one can't be replaced, and needn't be."""
_SYSTEM = b"linux-gnu"
_TRIPLET = re.compile(rb"(?<![ -~])([a-z0-9_]+)-[a-z]+-(linux-[a-z]+)(?=\0)")
_WORDS: tuple[tuple[bytes, bytes], ...] = (
    (rb"x86_64-(?:pc|unknown|alpine)-linux-(?:gnu|musl)", rb"[a-z0-9_]+-[a-z]+-linux-[a-z]+"),
    # perl's: on machines of 32 bits it says that its integers have 64.
    (rb"x86_64-linux-gnu-thread-multi", rb"[a-z0-9_]+-linux-[a-z]+-thread-multi(?:-64int)?"),
    (rb"x86_64-linux-gnu", rb"[a-z0-9_]+-linux-[a-z]+"),
)
_NAMES = {
    "arm64": ("aarch64", "arm64"),
    "arm": ("arm|armv[67]l|armhf", "armhf|armel"),
    "riscv64": ("riscv64", "riscv64"),
    "ppc64le": ("powerpc64le|ppc64le", "ppc64el"),
    "386": ("i[3-6]86", "i386"),
    "loong64": ("loongarch64|loong64", "loong64"),
}
"""What programs call a CPU, and what Debian does."""

_STATIC = frozenset(
    {
        b"x86_64",
        b"ld-linux-x86-64.so.2",
        b"../sysdeps/x86_64/dl-machine.h",
        b"lib/x86_64-linux-gnu",
        b"/lib/x86_64-linux-gnu/",
        b"/usr/lib/x86_64-linux-gnu/",
        b"/usr/lib/x86_64-linux-gnu/gconv",
        b"/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache",
    }
)
"""Texts of glibc in static programs, of what such a program hardly ever loads."""


def foreign_texts(native: ElfFile, foreign: ElfFile, platform: Platform) -> dict[bytes, bytes]:
    """Return what to put in the place of each text of `native` that names the machine.

    Raises MachineError for a text that has no counterpart.
    """
    ours = _without_constants(native, sorted(_texts(native)))
    if not ours and _SYSTEM + b"\0" not in native.data:
        return {}
    theirs = _loaded(foreign)
    triplet = _TRIPLET.search(theirs)
    texts = {}
    for text in ours:
        if text == b"x86_64" and triplet:
            texts[text] = triplet[1]
        elif native.interpreter or text not in _STATIC:
            texts[text] = _counterpart(text, theirs, platform)
    if triplet and _SYSTEM + b"\0" in _loaded(native):
        texts[_SYSTEM] = triplet[2]
    return {old: new for old, new in texts.items() if old != new}


def _without_constants(native: ElfFile, texts: list[bytes]) -> list[bytes]:
    """Leave out texts that are others and, before them, constants that happen to be printable."""
    known = set(texts)
    kept = []
    for text in texts:
        ends = [text[start:] for start in range(1, len(text)) if text[start:] in known]
        places = [native.data.find(text + b"\0") + len(text) - len(each) for each in ends]
        if not any(
            find_copied(Extended(native.data), place, len(each))
            for place, each in zip(places, ends, strict=True)
        ):
            kept.append(text)
    return kept


def _texts(native: ElfFile) -> Iterator[bytes]:
    data = native.data
    # What lies before the loader's path needn't be NUL: new linkers put the build ID there.
    apart = [native.names]
    apart += [(each.offset, each.offset + each.size) for each in native.of_kind(PT_INTERP)]
    for segment in native.of_kind(PT_LOAD):
        for each in _NATIVE.finditer(data, segment.offset, segment.offset + segment.size):
            before = _printable(data[max(0, each.start() - _LONGEST) : each.start()][::-1])[::-1]
            after = _printable(data[each.end() : each.end() + _LONGEST])
            text = before + each[0] + after
            is_whole = data.startswith(b"\0", each.end() + len(after))
            is_apart = any(start <= each.start() < end for start, end in apart)
            if is_whole and not is_apart and text != native.interpreter.encode():
                yield text


def _printable(data: bytes) -> bytes:
    """Return what `data` begins with of a text."""
    found = _PRINTABLE.match(data)
    return found[0] if found else b""


def _loaded(file: ElfFile) -> bytes:
    return b"".join(
        file.data[each.offset : each.offset + each.size] for each in file.of_kind(PT_LOAD)
    )


def _counterpart(text: bytes, theirs: bytes, platform: Platform) -> bytes:
    cpu, debian = (each.encode() for each in _NAMES.get(platform.architecture, ("", "")))
    words = (*_WORDS, (rb"x86[-_]64", b"(?:" + cpu + b")"), (rb"amd64", b"(?:" + debian + b")"))
    names = re.compile(b"|".join(b"(" + native + b")" for native, _ in words))
    pattern, start = b"", 0
    for each in names.finditer(text):
        pattern += re.escape(text[start : each.start()]) + words[(each.lastindex or 1) - 1][1]
        start = each.end()
    pattern += re.escape(text[start:])
    found = set(re.findall(rb"(?<![\n\t -~])" + pattern + rb"(?=\0)", theirs))
    if not found and b"\0" + text + b"\0" in theirs:
        return text  # it's about that machine wherever it runs: a package for it, say
    if len(found) != 1:
        raise MachineError(f"it names the machine: {text.decode()!r}")
    return bytes(found.pop())
