"""Dockerfiles of our own, each with all that the image must be, or the error: tests/golden/README.md."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.images.contents import CONTEXT, describe
from tests.support.machine.engines import ROOT
from tests.support.machine.programs import Ended, Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

DIRECTORY = Path(__file__).parents[1] / "golden" / "images"
_MIRROR = '[registry."docker.io"]\nmirrors = ["{host}"]\n'
_INDEX = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory, registry: RealRegistry) -> Person:
    """Someone whose `busybox` is that of the tests' registry."""
    who = person(ROOT, tmp_path_factory.mktemp("golden"))
    settings = who.home / ".config/polyarch/registries.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(_MIRROR.format(host=registry.host))
    return who


@pytest.fixture(scope="session")
def base_layers(registry: RealRegistry) -> frozenset[str]:
    """The diff IDs of the base image's layers."""
    found: list[str] = []
    for entry in _document(registry, "manifests/latest")["manifests"]:
        manifest = _document(registry, f"manifests/{entry['digest']}")
        config = _document(registry, f"blobs/{manifest['config']['digest']}")
        found += config["rootfs"]["diff_ids"]
    return frozenset(found)


def _document(registry: RealRegistry, path: str) -> dict[str, Any]:
    url = f"http://{registry.host}/v2/library/busybox/{path}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": _INDEX})) as answer:
        return dict(json.load(answer))


@pytest.mark.parametrize("name", sorted(path.name for path in DIRECTORY.iterdir()))
def test_build_gives_what_is_expected(
    name: str, builder: Person, base_layers: frozenset[str], registry: RealRegistry
) -> None:
    expected = json.loads((DIRECTORY / name / "expected.json").read_text())
    assert expected["rule"]

    ended = _build(name, builder)

    found: dict[str, object]
    if ended.status == 0:
        found = {"images": describe(builder.work / name / "image.tar", base_layers)}
    else:
        complaint = ended.complaint().replace(str(builder.work / name), "WORK")
        found = {"error": complaint.replace(registry.host, "REGISTRY").splitlines()}
    found = {"rule": expected["rule"], **found}
    if os.environ.get("GOLDEN") == "write":
        text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
        (DIRECTORY / name / "expected.json").write_text(text)
    assert found == expected


def _build(name: str, builder: Person) -> Ended:
    """Build a copy of a case's directory, from within it."""
    work = builder.work / name
    shutil.copytree(DIRECTORY / name, work, symlinks=True)
    (work / "context").mkdir(exist_ok=True)
    _prepare(work)
    flags = work / "flags"
    words = shlex.split(flags.read_text(), comments=True) if flags.exists() else []
    if "-f" not in words:
        words = ["-f", "Dockerfile", *words]
    if "-o" not in words:
        words = ["-o", "type=oci,dest=image.tar", *words]
    command = builder.command("build", "--no-cache", *words, "context")
    return builder.run_other("env", "-C", str(work), *command)


def _prepare(work: Path) -> None:
    """Give files the modes and times that git doesn't keep; a script `prepare` in the directory does more."""
    for path in (work, *work.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    if (work / "prepare").exists():
        subprocess.run(["sh", "-eu", "../prepare"], cwd=work / "context", check=True)
    for path in sorted(work.rglob("*"), reverse=True):
        os.utime(path, (CONTEXT, CONTEXT), follow_symlinks=False)
