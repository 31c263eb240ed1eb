"""Packages of Rust that a `Cargo.lock` in the result names. Source: the Cargo book."""

from __future__ import annotations

from collections.abc import Iterator

from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.release import Release
from polyarch.attest.sbom.tree import File, Tree
from polyarch.errors import InputError
from polyarch.paths import read_toml

__all__ = ["find_packages", "wants"]


def wants(file: File) -> bool:
    """Tell whether a file is a lock file."""
    return file.name == "Cargo.lock" and not file.is_link


def find_packages(tree: Tree, file: File, _release: Release) -> Iterator[Package]:
    """Give the packages that are locked."""
    try:
        document = read_toml(tree.text(file.path))
    except (InputError, ValueError):
        return
    packages = document.get("package")
    for each in packages if isinstance(packages, list) else ():
        name, version = (
            (each.get("name"), each.get("version")) if isinstance(each, dict) else (0, 0)
        )
        if isinstance(name, str) and isinstance(version, str):
            yield Package(type="cargo", name=name, version=version, path=file.path)
