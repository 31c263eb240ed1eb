"""Lists of software beside what the package managers say of the same files: all of that, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.scan import scan
from tests.support.callers.node import node_package

_STATUS = Path("/var/lib/dpkg/status")
_MODULES = Path("/usr/lib/python3/dist-packages")


def told(*words: str, cwd: Path | None = None) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, cwd=cwd).stdout


def listed(root: Path, kind: str) -> list[str]:
    """Return the packages of a kind; npm's have their scopes before their names."""
    found = (each for each in scan(root).packages if each.type == kind)
    return sorted(f"{_scope(each)}{each.name} {each.version}" for each in found)


def _scope(package: Package) -> str:
    return f"{package.namespace}/" if package.type == "npm" and package.namespace else ""


def copied(source: Path, target: Path, names: Sequence[str]) -> None:
    """Copy the files of a tree that have one of these names."""
    for path in source.rglob("*"):
        if path.name in names and path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)


@pytest.mark.skipif(not _STATUS.exists(), reason="a machine without dpkg")
def test_all_that_dpkg_lists(tmp_path: Path) -> None:
    for path in (_STATUS, Path("/usr/lib/os-release")):
        place = tmp_path / path.relative_to("/")
        place.parent.mkdir(parents=True)
        shutil.copy(path, place)

    lines = told(
        "dpkg-query",
        f"--admindir={tmp_path}/var/lib/dpkg",
        "--show",
        "--showformat=${db:Status-Status} ${Package} ${Version}\n",
    ).splitlines()

    installed = [each.partition(" ")[2] for each in lines if each.startswith("installed ")]
    assert len(installed) > 100
    assert listed(tmp_path, "deb") == sorted(installed)


def _python_places() -> Iterator[tuple[str, Path]]:
    own = next(each for each in map(Path, sys.path) if each.name == "site-packages")
    yield f"usr/lib/{own.parent.name}/site-packages", own
    if _MODULES.exists():
        yield "usr/lib/python3/dist-packages", _MODULES


@pytest.mark.parametrize(("below", "place"), list(_python_places()))
def test_all_that_pip_lists(tmp_path: Path, below: str, place: Path) -> None:
    copied(place, tmp_path / below, ("METADATA", "PKG-INFO", "RECORD", "top_level.txt"))
    # What distutils installed is a file beside the modules.
    for each in place.glob("*.egg-info"):
        if each.is_file():
            shutil.copy(each, tmp_path / below)

    words = ("-m", "pip", "list", "--format=json", "--disable-pip-version-check", "--path")
    found = json.loads(told(sys.executable, *words, str(tmp_path / below)))

    assert len(found) > 5
    # Package URLs have names in one form.
    names = {each["name"]: re.sub(r"[-_.]+", "-", each["name"]).lower() for each in found}
    expected = sorted(f"{names[each['name']]} {each['version']}" for each in found)
    assert listed(tmp_path, "pypi") == expected


def test_all_that_npm_lists(tmp_path: Path) -> None:
    installed = node_package("@docker/actions-toolkit", "0.101.0")
    copied(installed / "node_modules", tmp_path / "app/node_modules", ("package.json",))
    shutil.copy(installed / "package.json", tmp_path / "app/package.json")

    tree = json.loads(told("npm", "ls", "--all", "--long", "--json", cwd=tmp_path / "app"))

    found: set[str] = set()
    todo = [tree]
    while todo:
        for each in todo.pop().get("dependencies", {}).values():
            if "version" in each:
                # The key is what others call it, which may be an alias.
                found.add(f"{each['name']} {each['version']}")
                todo.append(each)
    assert len(found) > 100
    assert sorted(set(listed(tmp_path, "npm"))) == sorted(found)
