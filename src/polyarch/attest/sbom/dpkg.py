"""Packages of Debian and its like: dpkg's `status`, and the directory `status.d` of images without dpkg.

Source: dpkg(1), deb-control(5).
"""

from __future__ import annotations

from collections.abc import Iterator

from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.release import Release
from polyarch.attest.sbom.tree import File, Tree

__all__ = ["find_packages", "wants"]

_STATUS = "var/lib/dpkg/status"
_DIRECTORY = "var/lib/dpkg/status.d/"
_GONE = frozenset({"not-installed", "config-files"})


def wants(file: File) -> bool:
    """Tell whether a file may list packages."""
    return file.path == _STATUS or (
        file.path.startswith(_DIRECTORY) and not file.path.endswith(".md5sums")
    )


def find_packages(tree: Tree, file: File, release: Release) -> Iterator[Package]:
    """Give the packages that are listed and there."""
    for fields in _stanzas(tree.text(file.path)):
        name, version = fields.get("Package", ""), fields.get("Version", "")
        if not name or not version or fields.get("Status", "").rpartition(" ")[2] in _GONE:
            continue
        source, _, rest = fields.get("Source", "").partition(" ")
        upstream = source and f"{source}@{rest.strip('()')}" if rest else source
        yield Package(
            type="deb",
            namespace=release.id or "debian",
            name=name,
            version=version,
            qualifiers=release.qualifiers(
                arch=fields.get("Architecture", ""), upstream=upstream if source != name else ""
            ),
            supplier=fields.get("Maintainer", ""),
            path=file.path,
        )


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    """Give the paragraphs of a control file; of a field with several lines, the first."""
    fields: dict[str, str] = {}
    for line in [*text.splitlines(), ""]:
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif not line[0].isspace():
            name, _, value = line.partition(":")
            fields[name] = value.strip()
