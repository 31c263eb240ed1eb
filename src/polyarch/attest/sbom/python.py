"""Packages of Python, as pip lists them: metadata in directories that Python looks for modules in.

What other packages carry inside, as setuptools does, pip doesn't see, and isn't listed. Source: the specifications
"Recording installed projects" and "Core metadata" of the Python Packaging Authority.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.release import Release
from polyarch.attest.sbom.tree import File, Tree
from polyarch.pattern import pattern

__all__ = ["find_packages", "wants"]

_DIRECTORIES = ("site-packages", "dist-packages")
_SEPARATORS = pattern(r"[-_.]+")
_FIELDS = frozenset({"Name", "Version", "License", "License-Expression", "Author", "Author-email"})


def wants(file: File) -> bool:
    """Tell whether a file is the metadata of an installed package."""
    parts = file.path.split("/")
    if file.is_link or len(parts) < 2:
        return False
    if parts[-1].endswith(".egg-info"):
        return parts[-2] in _DIRECTORIES and not parts[-1].startswith("~")
    if len(parts) < 3 or parts[-2].startswith("~") or parts[-3] not in _DIRECTORIES:
        return False
    return (parts[-1] == "METADATA" and parts[-2].endswith(".dist-info")) or (
        parts[-1] == "PKG-INFO" and parts[-2].endswith(".egg-info")
    )


def find_packages(tree: Tree, file: File, _release: Release) -> Iterator[Package]:
    """Give the package that the metadata is of."""
    fields = _fields(tree.text(file.path))
    name, version = fields.get("Name", ""), fields.get("Version", "")
    if name and version:
        yield Package(
            type="pypi",
            name=re.sub(_SEPARATORS.pattern, "-", name).lower(),
            version=version,
            license=fields.get("License-Expression") or fields.get("License", ""),
            supplier=fields.get("Author") or fields.get("Author-email", ""),
            path=file.path,
        )


def _fields(text: str) -> dict[str, str]:
    """Return the fields at the head of metadata; the description, behind an empty line, is text."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        if not line:
            break
        name, colon, value = line.partition(":")
        if colon and name in _FIELDS:
            fields.setdefault(name, value.strip())
    return fields
