"""Packages of Node.js, as npm lists them: those in `node_modules`, and in theirs.

What packages carry in other directories, for their tests for example, npm doesn't see, and isn't listed. Source: npm's
documentation of folders and package.json.
"""

from __future__ import annotations

from collections.abc import Iterator

from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.release import Release
from polyarch.attest.sbom.tree import File, Tree
from polyarch.golang.json import read_json

__all__ = ["find_packages", "wants"]

_MODULES = "node_modules"
_MANIFEST = "package.json"
_LIMIT = 4 << 20


def wants(file: File) -> bool:
    """Tell whether a file is the manifest of an installed package, or a link to the directory of one."""
    if file.is_link:
        return _is_package(file.path.split("/"))
    return file.name == _MANIFEST and _is_package(file.path.split("/")[:-1])


def _is_package(parts: list[str]) -> bool:
    """Tell whether a path is that of a package in `node_modules`, or of one in one, and so on."""
    if _MODULES not in parts:
        return False
    rest = parts[parts.index(_MODULES) :]
    while rest:
        if rest[0] != _MODULES:
            return False
        rest = rest[1:]
        # pnpm keeps each package in a directory of its own, with the node_modules that it sees.
        if len(rest) > 2 and rest[0] == ".pnpm":
            rest = rest[2:]
            continue
        width = 2 if rest and rest[0].startswith("@") else 1
        if len(rest) < width or rest[0].startswith("."):
            return False
        rest = rest[width:]
    return True


def find_packages(tree: Tree, file: File, _release: Release) -> Iterator[Package]:
    """Give the package that the manifest is of."""
    path = f"{file.path}/{_MANIFEST}" if file.is_link else file.path
    try:
        document = read_json(tree.read(path, _LIMIT))
    except ValueError:
        return
    if not isinstance(document, dict):
        return
    name, version = document.get("name"), document.get("version")
    if isinstance(name, str) and isinstance(version, str) and name and version:
        scope, _, bare = name.rpartition("/")
        yield Package(
            type="npm",
            namespace=scope,
            name=bare,
            version=version,
            license=_license(document),
            supplier=_person(document.get("author")),
            path=path,
        )


def _license(document: dict[str, object]) -> str:
    found = document.get("license", document.get("licenses"))
    listed = found if isinstance(found, list) else [found]
    names = [each.get("type") if isinstance(each, dict) else each for each in listed]
    return " OR ".join(each for each in names if isinstance(each, str))


def _person(value: object) -> str:
    found = value.get("name") if isinstance(value, dict) else value
    return found if isinstance(found, str) else ""
