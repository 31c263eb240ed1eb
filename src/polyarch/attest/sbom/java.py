"""Packages of Java: archives, and those in them. Source: the JAR file specification, Maven's archiver."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import IO

from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.release import Release
from polyarch.attest.sbom.tree import File, Tree
from polyarch.pattern import pattern
from polyarch.progress import check_cancelled

__all__ = ["find_packages", "wants"]

_ENDINGS = (".jar", ".war", ".ear", ".jpi", ".hpi")
_MANIFEST = "META-INF/MANIFEST.MF"
_DEPTH = 3
_MOST_MEMBERS = 100_000
_SMALL = 1 << 20
_NESTED = 128 << 20
"""Bytes of an archive within one: it is read into memory."""
_NAMED = pattern(r"(.+?)-(\d[\w.+-]*)")


def wants(file: File) -> bool:
    """Tell whether a file is an archive of Java's."""
    return file.name.endswith(_ENDINGS) and not file.is_link


def find_packages(tree: Tree, file: File, _release: Release) -> Iterator[Package]:
    """Give the packages in an archive."""
    with tree.opened(file.path) as opened:
        found = list(_archive(opened, file.path, 0)) if opened is not None else []
    yield from found


def _archive(stream: IO[bytes], path: str, depth: int) -> Iterator[Package]:
    check_cancelled()
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()[:_MOST_MEMBERS]
            yield from _own(archive, members, path)
            for member in members:
                if depth < _DEPTH and member.filename.endswith(_ENDINGS):
                    inner = _read(archive, member, _NESTED)
                    if inner:
                        name = f"{path}!{member.filename}"
                        yield from _archive(io.BytesIO(inner), name, depth + 1)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):
        return  # damaged, or of a kind that Java doesn't read either


def _own(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], path: str) -> Iterator[Package]:
    """Give what an archive says that it holds; else what it is called."""
    found = False
    for member in members:
        name = member.filename
        if name.startswith("META-INF/maven/") and name.endswith("/pom.properties"):
            fields = _properties(_read(archive, member, _SMALL), "=")
            package = _package(
                fields.get("groupId", ""),
                fields.get("artifactId", ""),
                fields.get("version", ""),
                path,
            )
            if package is not None:
                found = True
                yield package
    if not found:
        manifest = next((each for each in members if each.filename == _MANIFEST), None)
        fields = _properties(_read(archive, manifest, _SMALL), ":") if manifest else {}
        package = _by_manifest(fields, path)
        if package is not None:
            yield package


def _by_manifest(fields: dict[str, str], path: str) -> Package | None:
    stem = path.rpartition("/")[2].rpartition("!")[2].rpartition("/")[2].rpartition(".")[0]
    match = _NAMED.fullmatch(stem)
    name, version = (match[1], match[2]) if match else (stem, "")
    told = fields.get("Implementation-Version") or fields.get("Bundle-Version", "")
    group = fields.get("Implementation-Vendor-Id", "")
    return _package(group, name, version or told, path)


def _package(group: str, name: str, version: str, path: str) -> Package | None:
    if not name or not version:
        return None
    return Package(type="maven", namespace=group, name=name, version=version, path=path)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    """Return a member, nothing for a larger one, whatever size it says that it has."""
    if member.file_size > limit:
        return b""
    with archive.open(member) as stream:
        data = stream.read(limit + 1)
    return data if len(data) <= limit else b""


def _properties(data: bytes, separator: str) -> dict[str, str]:
    fields = {}
    for line in data.decode("utf-8", "replace").splitlines():
        name, found, value = line.partition(separator)
        if found and not line.startswith("#"):
            fields[name.strip()] = value.strip()
    return fields
