"""Packages of Alpine and its like: apk's database of what is installed. Source: apk(5), "installed" format."""

from __future__ import annotations

from collections.abc import Iterator

from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.release import Release
from polyarch.attest.sbom.tree import File, Tree

__all__ = ["find_packages", "wants"]

_PLACES = frozenset({"lib/apk/db/installed", "usr/lib/apk/db/installed"})


def wants(file: File) -> bool:
    """Tell whether a file is the database."""
    return file.path in _PLACES


def find_packages(tree: Tree, file: File, release: Release) -> Iterator[Package]:
    """Give the packages that are installed."""
    fields: dict[str, str] = {}
    for line in [*tree.text(file.path).splitlines(), ""]:
        if line:
            name, _, value = line.partition(":")
            # Behind the package's own fields come its files, some of whose fields have the same letters.
            if "F" not in fields:
                fields.setdefault(name, value)
            continue
        if fields.get("P") and fields.get("V"):
            origin = fields.get("o", "")
            yield Package(
                type="apk",
                namespace=release.id or "alpine",
                name=fields["P"],
                version=fields["V"],
                qualifiers=release.qualifiers(
                    arch=fields.get("A", ""), upstream=origin if origin != fields["P"] else ""
                ),
                license=fields.get("L", ""),
                supplier=fields.get("m", ""),
                path=file.path,
            )
        fields = {}
