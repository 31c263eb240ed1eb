"""Sets of native twins: two roots of one base image -> the programs that a foreign step runs natively.

A set is a directory whose name is its number. All sets of a store lie side by side, in the directory that
a step sees at `MOUNTED`:

    MOUNTED/7/root/usr/bin/tar   the twins, in a tree like the root's
              l/ld               the loader
              lib/               libraries, by the names that programs are linked to
              x/                 what twins load by themselves: perl's modules
              c                  glibc's cache of them; etc/ld-musl-x86_64.path for musl
              given-up           what a twin opens that can't do as the foreign program would
              qemu               the emulator, for what is no twin's after all
              twins.json         what `load_set` reads

Source: docs/twins.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from polyarch import inroot
from polyarch.errors import InputError, MachineError, StoreError
from polyarch.platforms import Platform, from_words
from polyarch.record import asdict, field, frozen
from polyarch.twins.libm import can_round_once, rounded_otherwise
from polyarch.twins.libraries import NativeLibraries, read_elf_in, service_modules
from polyarch.twins.loadercache import loader_cache
from polyarch.twins.machines import find_machine
from polyarch.twins.pairs import Pair, Roots, find_pairs
from polyarch.twins.patch import (
    Changes,
    Surroundings,
    patch_libc,
    patch_library,
    patch_loader,
    patch_module,
    patch_program,
)
from polyarch.twins.patch_entry import ID_SIZE, Known
from polyarch.twins.places import (
    CACHE,
    EMULATOR,
    GIVEN_UP,
    LIBRARIES,
    LOADER,
    MODULES,
    MOUNTED,
    MUSL_PATH,
    TREE,
)
from polyarch.twins.rings import SIBLING_PRIORITY, is_python

__all__ = ["FORMAT", "NoTwins", "Twin", "TwinSet", "load_set", "make_set"]

_DOCUMENT = "twins.json"
# Every user of a step has its libraries here.
_FOR_ALL = 0o755
_LIBC = "libc.so.6"
FORMAT = 8
"""Raised whenever sets are made otherwise, so that old ones aren't used."""
_HEADER = 256
"""As many bytes of a program the kernel compares at most."""
_LARGEST_NUMBER = 99999
"""The longest that fits in the place of glibc's path of its cache."""
_DOUBLES = frozenset({"arm"})
"""Where `long double` is `double`."""
_PRELOAD = "/etc/ld.so.preload"
_LOCALES = ("/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8")
_LOCALE_LIMIT = 16 << 20


@frozen
class Twin:
    """A foreign program that has a native twin.

    `path` is absolute in the root, without links; `header` are the bytes by which the kernel knows the foreign
    program, `digest` is that of its whole file (hexadecimal SHA-256), and `ring` says which kind of program it
    is ("a", "b", "c"). The kernel starts `starts`, which is another one where headers are alike.
    """

    path: str
    header: bytes
    digest: str
    ring: str
    starts: str


@frozen
class TwinSet:
    """The twins of one foreign root, ready to be registered: those below `directory`/root."""

    number: int
    directory: Path
    platform: Platform
    twins: tuple[Twin, ...]
    refused: dict[str, str] = field(default_factory=dict, compare=False)
    """Why vetted programs of the root have no twin, by their paths."""


@frozen
class NoTwins:
    """There is no set for a pair of roots."""

    reason: str


def make_set(
    foreign: Path, native: Path, platform: Platform, directory: Path, number: int
) -> TwinSet | NoTwins:
    """Make the twins of the programs of `foreign`, a root of `platform`, from `native`, the host's variant of it.

    `directory` is where the set is going to be, the directory of all sets with the number as the last name; it
    is written aside and renamed, so it is there as a whole or not at all. Both roots are read inside of them
    only, whatever links say. Raises StoreError if `directory` can't be written.
    """
    machine = find_machine(platform)
    if machine is None:
        return NoTwins(reason=f"there are no native twins for {platform}")
    if not 0 <= number <= _LARGEST_NUMBER:
        return NoTwins(reason=f"there are too many sets of native twins: {number}")
    try:
        made = _Set(Roots.of(foreign, native, platform), machine, number)
        made.collect()
    except (MachineError, InputError, OSError) as error:
        return NoTwins(reason=str(error))
    if not made.twins:
        why = "".join(f"; {path}: {reason}" for path, reason in list(made.refused.items())[:1])
        return NoTwins(reason=f"no program of the image has a native twin{why}")
    aside = directory.with_name(f".{directory.name}.{os.urandom(6).hex()}")
    try:
        made.write(aside)
        aside.rename(directory)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        there = load_set(directory)
        if there is None:
            raise StoreError(f"{directory} can't be written: {error.strerror}") from error
        return there  # somebody else has made it meanwhile
    return TwinSet(
        number=number,
        directory=directory,
        platform=platform,
        twins=tuple(made.twins),
        refused=made.refused,
    )


class _Set:
    """What is going to be in a set: files by their names in it."""

    def __init__(self, roots: Roots, machine: str, number: int) -> None:
        self.twins: list[Twin] = []
        self.refused: dict[str, str] = {}
        self._roots = roots
        self._number = number
        self._files: dict[str, bytes] = {}
        self._rounds_once = can_round_once()
        self._top = f"{MOUNTED}/{number}"
        self._around = Surroundings(
            loader=f"{self._top}/{LOADER}",
            cache=f"{self._top}/{CACHE}",
            emulator=f"{self._top}/{EMULATOR}",
            given_up=f"{self._top}/{GIVEN_UP}",
            machine=machine,
        )

    def collect(self) -> None:
        """Choose and make the files. Raises MachineError if they can't be made right, InputError, OSError."""
        _check_roots(self._roots)
        pairs, self.refused = find_pairs(self._roots)
        for group in _by_header(pairs):
            self._add_programs(group)
        taken = {each.path for each in self.twins}
        self._add_libraries([pair for pair in pairs if pair.path in taken])

    def _add_programs(self, group: Sequence[Pair]) -> None:
        """Make the twins of programs that the kernel can't tell apart."""
        first, *others = sorted(group, key=_priority)
        known = [_known(first)]
        try:
            made = {}
            for each in others:
                if _known(each) == known[0]:
                    continue  # the same program under another name
                if not _known(each).content:
                    raise MachineError(f"{each.path} can't be told from {first.path}")
                place = f"{TREE}{each.path}"
                made[place] = self._patched(each, [_known(each)])
                known.append(_known(each, f"{self._top}/{place}"))
            made[f"{TREE}{first.path}"] = self._patched(first, known)
        except MachineError as error:
            self.refused |= {each.path: str(error) for each in group}
            return
        self._files |= made
        self.twins += [_twin(each, first) for each in (first, *others)]

    def _patched(self, pair: Pair, known: Sequence[Known]) -> bytes:
        modules = f"{self._top}/{MODULES}" if pair.modules else ""
        changes = Changes(
            texts=pair.texts,
            modules=modules,
            are_counted=bool(modules),
            asks_machine=pair.tool is None,
            has_doubles=self._roots.platform.architecture in _DOUBLES,
            is_python=is_python(pair.path),
            refused=self._refused(pair),
        )
        return patch_program(pair.native, known, self._around, changes)

    def _refused(self, pair: Pair) -> tuple[str, ...]:
        architecture, is_glibc = self._roots.platform.architecture, _LIBC in pair.libraries
        return rounded_otherwise(architecture, is_glibc=is_glibc, once=self._rounds_once)

    def _add_libraries(self, pairs: Sequence[Pair]) -> None:
        """Add the loader, what the programs are linked to, and what glibc loads for them. Raises MachineError."""
        loaders = {pair.native.interpreter for pair in pairs} - {""}
        if not loaders:
            return
        if len(loaders) > 1:
            raise MachineError(f"programs have different loaders: {', '.join(sorted(loaders))}")
        natives = NativeLibraries(self._roots.native)
        libraries = {name: each for pair in pairs for name, each in pair.libraries.items()}
        if _LIBC in libraries:
            libraries |= natives.closure(service_modules(self._roots.foreign))
        loader = read_elf_in(self._roots.native, loaders.pop())
        for pair in pairs:
            refused = self._refused(pair)
            for path, module in pair.modules.items():
                self._files[f"{MODULES}{path}"] = patch_module(module, self._around, refused)
        self._files[LOADER] = patch_loader(loader.data, self._around)
        places = {}
        for name, library in libraries.items():
            self._roots.check_version(library.path)
            if library.file.data == loader.data:
                continue  # musl's is the libc, and glibc's is there before any library
            is_libc = name == _LIBC
            data = library.file.data
            patched = library.twin or (
                patch_libc(data, self._around) if is_libc else patch_library(data)
            )
            self._files[f"{LIBRARIES}/{name}"] = patched
            places[name] = f"{self._top}/{LIBRARIES}/{name}"
        self._files[CACHE] = loader_cache(places)
        self._files[MUSL_PATH] = f"{self._top}/{LIBRARIES}\n".encode()

    def write(self, directory: Path) -> None:
        """Write everything to a new directory. Raises OSError."""
        for name, data in self._files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o755)
        (directory / GIVEN_UP).touch(mode=_FOR_ALL)
        document = {
            "format": FORMAT,
            "platform": _words(self._roots.platform),
            "refused": self.refused,
            "twins": [asdict(each) | {"header": each.header.hex()} for each in self.twins],
        }
        (directory / _DOCUMENT).write_text(json.dumps(document, indent=1))
        for place, _, _ in os.walk(directory):
            os.chmod(place, _FOR_ALL)


def _check_roots(roots: Roots) -> None:
    """Check what concerns all programs of a root. Raises MachineError, InputError, OSError."""
    if roots.foreign_packages.kind != roots.native_packages.kind:
        raise MachineError("the native image has another kind of packages")
    with suppress(FileNotFoundError, NotADirectoryError):
        os.close(inroot.open_regular(_PRELOAD, root=roots.foreign))
        raise MachineError(f"{_PRELOAD} of the image names libraries for every program")
    for directory in _LOCALES:
        if _locale(roots.foreign, directory) != _locale(roots.native, directory):
            raise MachineError(f"{directory} is another one in the native image")


def _locale(root: Path, directory: str) -> bytes | None:
    with suppress(OSError):
        path = f"{directory}/LC_CTYPE"
        return inroot.read_small(path, _LOCALE_LIMIT, "locale", root=root)
    return None


def _by_header(pairs: Iterable[Pair]) -> list[list[Pair]]:
    groups: dict[bytes, list[Pair]] = {}
    for each in pairs:
        groups.setdefault(each.foreign.data[:_HEADER], []).append(each)
    return list(groups.values())


def _priority(pair: Pair) -> tuple[int, str]:
    name = os.path.basename(pair.path)
    known = SIBLING_PRIORITY
    return (known.index(name) if name in known else len(known)), pair.path


def _known(pair: Pair, path: str = "") -> Known:
    offset, content = pair.foreign.build_id
    return Known(
        size=len(pair.foreign.data),
        offset=offset,
        content=content[:ID_SIZE],
        path=path,
        needs_goarch=pair.tool is not None and pair.tool.needs_goarch,
        scripts=pair.scripts,
        unless=pair.unless,
    )


def _twin(pair: Pair, first: Pair) -> Twin:
    return Twin(
        path=pair.path,
        header=pair.foreign.data[:_HEADER],
        digest=hashlib.sha256(pair.foreign.data).hexdigest(),
        ring=pair.ring,
        starts=first.path,
    )


def _words(platform: Platform) -> list[str]:
    return [platform.os, platform.architecture, platform.variant]


def load_set(directory: Path) -> TwinSet | None:
    """Return the set that was made at `directory`; None if there is none, or one of another version of us."""
    try:
        document = json.loads((directory / _DOCUMENT).read_bytes())
        if document["format"] != FORMAT:
            return None

        return TwinSet(
            number=int(directory.name),
            directory=directory,
            platform=from_words(*document["platform"]),
            twins=tuple(
                Twin(**{**each, "header": bytes.fromhex(each["header"])})
                for each in document["twins"]
            ),
            refused=document["refused"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
