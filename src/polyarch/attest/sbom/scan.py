"""A root file system -> the packages in it, by one walk over its files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from polyarch.attest.sbom import apk, cargo, dpkg, java, node, programs, python, rpm
from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.release import Release, read_release
from polyarch.attest.sbom.tree import File, Tree
from polyarch.record import frozen

__all__ = ["Cataloguer", "Scan", "distinct", "is_wanted", "packages_of", "scan"]


class Cataloguer(Protocol):
    """What knows one kind of package; each of the modules is one."""

    def wants(self, file: File, /) -> bool:
        """Tell whether a file may say of packages that they are there."""

    def find_packages(self, tree: Tree, file: File, release: Release, /) -> Iterator[Package]:
        """Give the packages that it says are there."""


_CATALOGUERS: tuple[Cataloguer, ...] = (dpkg, apk, rpm, python, node, programs, java, cargo)


@frozen
class Scan:
    """What is in a root: packages, sorted and each once, and the distribution that it is of."""

    packages: tuple[Package, ...]
    release: Release = Release()


def scan(root: Path) -> Scan:
    """Find the packages in a root file system, of which nothing is run. Raises Cancelled."""
    tree = Tree(root=root)
    release = read_release(tree)
    found = (each for file in tree.files() for each in packages_of(tree, file, release))
    return Scan(packages=distinct(found), release=release)


def is_wanted(file: File) -> bool:
    """Tell whether a file may say of packages that they are there."""
    return any(cataloguer.wants(file) for cataloguer in _CATALOGUERS)


def packages_of(tree: Tree, file: File, release: Release) -> Iterator[Package]:
    """Give the packages that a file says are there."""
    for cataloguer in _CATALOGUERS:
        if cataloguer.wants(file):
            yield from cataloguer.find_packages(tree, file, release)


def distinct(packages: Iterable[Package]) -> tuple[Package, ...]:
    """Return packages sorted, and each once, as it was found first."""
    found: dict[tuple[str, ...], Package] = {}
    for package in packages:
        found.setdefault(package.key, package)
    return tuple(found[key] for key in sorted(found))
