"""Packages that programs were linked from: Go's build information, and that of `cargo auditable`.

Source: Go's `debug/buildinfo`; the documentation of cargo-auditable.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from polyarch.attest.sbom.elf import Sections, read_sections
from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.release import Release
from polyarch.attest.sbom.tree import File, Tree
from polyarch.golang.json import read_json

__all__ = ["find_packages", "wants"]

_SMALLEST = 512
_GO, _CARGO = ".go.buildinfo", ".dep-v0"
_MAGIC = b"\xff Go buildinf:"
_LIMIT = 8 << 20
_INLINE = 2
_GUARD = 16
"""Bytes before and behind the list of modules by which the linker finds it."""
_HEAD = 32


def wants(file: File) -> bool:
    """Tell whether a file may be a program."""
    return file.is_program and file.size >= _SMALLEST


def find_packages(tree: Tree, file: File, _release: Release) -> Iterator[Package]:
    """Give the packages that a program says that it was linked from."""
    with tree.opened(file.path) as opened:
        sections = read_sections(opened) if opened is not None else None
        if sections is None:
            return
        found = [*_go(sections, file.path), *_cargo(sections, file.path)]
    yield from found


def _go(sections: Sections, path: str) -> Iterator[Package]:
    data = sections.read(_GO, _LIMIT)
    # Before Go 1.18 there are pointers in the place of texts: nothing that is built still is so.
    if not data.startswith(_MAGIC) or len(data) <= _HEAD or not data[15] & _INLINE:
        return
    version, rest = _text(data[_HEAD:])
    listed, _ = _text(rest)
    if version.startswith(b"go"):
        number = version.decode("ascii", "replace").removeprefix("go").partition(" ")[0]
        yield Package(type="golang", name="stdlib", version=number, path=path)
    last: tuple[str, str] | None = None
    for line in listed[_GUARD:-_GUARD].decode("utf-8", "replace").splitlines():
        kind, *words = line.split("\t")
        if kind in {"dep", "mod", "=>"} and len(words) >= 2:
            if kind != "=>" and last is not None:
                yield _module(*last, path)
            last = words[0], words[1]
    if last is not None:
        yield _module(*last, path)


def _text(data: bytes) -> tuple[bytes, bytes]:
    """Cut off a text that its length stands before, as a varint."""
    length = shift = 0
    for at, byte in enumerate(data[:10]):
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return data[at + 1 : at + 1 + length], data[at + 1 + length :]
    return b"", b""


def _module(name: str, version: str, path: str) -> Package:
    namespace, _, bare = name.rpartition("/")
    return Package(type="golang", namespace=namespace, name=bare, version=version, path=path)


def _cargo(sections: Sections, path: str) -> Iterator[Package]:
    data = sections.read(_CARGO, _LIMIT)
    if not data:
        return
    try:
        document = read_json(zlib.decompressobj().decompress(data, _LIMIT))
    except (zlib.error, ValueError):
        return
    packages = document.get("packages") if isinstance(document, dict) else None
    for each in packages if isinstance(packages, list) else ():
        if isinstance(each, dict) and each.get("kind", "runtime") == "runtime":
            name, version = each.get("name"), each.get("version")
            if isinstance(name, str) and isinstance(version, str):
                yield Package(type="cargo", name=name, version=version, path=path)
