"""Images of the local store, from a build to an archive and back; what pins what, and what goes by age."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from polyarch.store.trees import tree_size
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]


def test_what_is_kept_travels_and_what_was_pushed_goes(
    root: Person, registry: RealRegistry
) -> None:
    base, pushed = f"{registry.host}/library/busybox", f"{registry.host}/pushed/app:1"
    root.write("Dockerfile", f'FROM {base}\nLABEL stage=test\nRUN echo made > /made\nCMD ["sh"]\n')
    root.run("build", "-t", "kept:1", ".").check()
    root.run("build", "-t", pushed, "--push", ".").check()

    root.run("save", "-o", "kept.tar", "kept:1", pushed).check()
    verified = root.run("verify", "--format=json", "kept:1").check().out
    at_registry = root.run("verify", "--pull", pushed).check().out
    why = root.run("du", "--why", "--format=json").check().out
    table = root.run("du", "--why").check().out
    pruned = root.run("image", "prune", "--force", "--filter=label=stage=test").check().out
    left = root.run("images", "--format=json").check().out
    root.run("rmi", "--all").check()
    root.run("prune", "--all", "--force").check()
    empty = root.run("du").check().out
    loaded = root.run("load", "-i", "kept.tar").check().out
    made = root.run("run", "--rm", "kept:1", "cat", "/made").check().out

    assert (json.loads(verified)["verified"], json.loads(verified)["layers"]) == (True, 2)
    assert f"Place:     {registry.host}/pushed/app\n" in at_registry
    reasons = [reason for line in why.splitlines() for reason in json.loads(line)["Why"]]
    assert "the image docker.io/library/kept:1 has this layer" in reasons
    assert any("stands on it" in reason for reason in reasons)
    assert "KEPT IMAGE" in table
    assert pruned.splitlines()[:2] == ["Deleted Images:", f"untagged: {pushed}"]
    assert pruned.splitlines()[-1].startswith("Total reclaimed space: ")
    assert [json.loads(line)["Name"] for line in left.splitlines()] == ["kept"]
    assert empty.split() == ["ID", "RECLAIMABLE", "SIZE", "LAST", "ACCESSED", "DESCRIPTION",
                             "Reclaimable:", "0B", "Total:", "0B"]  # fmt: skip
    assert loaded == f"Loaded image: kept:1\nLoaded image: {pushed}\n"
    assert made == "made\n"


def test_a_damaged_image_is_told_of(root: Person, registry: RealRegistry) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    root.run("build", "-o", "type=oci,tar=false,dest=image", ".").check()
    blobs = root.work / "image/blobs/sha256"
    layer = max(blobs.iterdir(), key=lambda path: path.read_bytes()[:2] == b"\x1f\x8b")
    layer.chmod(0o600)
    layer.write_bytes(layer.read_bytes()[:-1])
    ended = root.run("verify", "oci-layout://image")

    assert ended.status == 1
    assert f"WRONG:     sha256:{layer.name}: " in ended.out
    assert "ERROR: oci-layout://image isn't what it claims to be: " in ended.err


def spoil(path: Path) -> None:
    """Change a byte of a file, as a disk may."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_what_the_disk_has_spoilt_is_told_and_comes_anew(
    root: Person, registry: RealRegistry
) -> None:
    base = f"{registry.host}/library/busybox"
    root.write("Dockerfile", f"FROM {base}\nRUN echo one > /one\n")
    root.run("build", "-t", "app", ".").check()
    root.run("save", "-o", "sound.tar", "app").check()
    blobs = root.root / "blobs/sha256"
    largest = max(blobs.iterdir(), key=lambda path: path.stat().st_size)
    spoil(largest)
    told = root.run("verify", "app")
    saved = root.run("save", "-o", "healed.tar", "app")
    spoil(largest)
    root.run("prune", "--all", "--force").check()
    built = root.run("build", "-t", "again", "--no-cache", ".")
    spoil(largest)
    root.run("doctor", "--repair").check()

    assert f"WRONG:     sha256:{largest.name}: " in told.out
    assert "hint: 'polyarch doctor --repair' removes what is damaged in the store" in told.err
    assert (saved.status, built.status) == (0, 0), saved.err + built.err
    assert (root.work / "healed.tar").read_bytes() == (root.work / "sound.tar").read_bytes()
    assert not largest.exists()
    assert root.run("verify", "again").status == 0
    assert "Platforms: linux/amd64" in root.run("verify", "oci-layout://healed.tar").check().out


def test_an_archive_that_is_damaged(root: Person, registry: RealRegistry) -> None:
    root.write("Dockerfile", f"FROM {registry.host}/library/busybox\n")
    root.run("build", "-o", "type=oci,dest=app.tar", ".").check()
    spoil(root.work / "app.tar")
    told = root.run("verify", "oci-layout://app.tar")

    assert told.status == 1
    assert "have the digest sha256:" in told.err
    assert list((root.root / "tmp").iterdir()) == []


def test_the_disk_gets_back_what_a_removed_image_alone_had(root: Person) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY noise /\n")
    (root.work / "noise").write_bytes(os.urandom(1 << 20))
    root.run("build", "-t", "app", ".").check()
    root.run("prune", "--all", "--force").check()
    before = tree_size(root.root / "blobs")
    root.run("rmi", "app").check()

    assert before - tree_size(root.root / "blobs") > 1 << 20
