"""Parts of an image that are built by themselves and joined; and podman of every user, which gets the whole."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from tests.support.machine.peers import Podman
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

DOCKERFILE = "FROM scratch\nARG TARGETARCH\nCOPY file /for-$TARGETARCH/\n"
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
TWO = "linux/amd64,linux/arm64"


def _prepare(who: Person) -> Person:
    who.write("Dockerfile", DOCKERFILE)
    who.write("file", "content\n")
    return replace(who, environ=EPOCH)


def test_parts_become_what_one_build_makes(root: Person, registry: RealRegistry) -> None:
    who = _prepare(root)
    name = f"{registry.host}/parts/app"
    whole = who.run("build", "-q", f"--platform={TWO}", "-t", f"{name}:whole", "--push", ".")
    who.run("build", "--shard=linux/amd64", "-o", "amd64", ".").check()
    who.run("build", "--shard=linux/arm64", "-o", "arm64.tar", ".").check()
    told = ("--metadata-file=told", "-t", f"{name}:v1", "--push")
    who.run("build", "--shard=linux/arm64", *told, ".").check()
    pushed = json.loads((who.work / "told").read_text())["containerimage.digest"]

    # A join that was killed.
    (who.work / ".polyarch-join-left/blobs").mkdir(parents=True)

    by_files = who.run("join", "amd64", "arm64.tar", "-t", f"{name}:v1", "--push").check().out
    by_digest = who.run("join", "amd64", f"{name}@{pushed}", "-o", "joined.tar").check().out

    assert by_files == by_digest == whole.check().out
    assert not list(who.work.glob(".polyarch-join-*"))
    raw = ("inspect", "--raw", "--tls-verify=false", f"docker://{name}:v1")
    listed = json.loads(who.run_other("skopeo", *raw).check().out)["manifests"]
    assert [each["platform"]["architecture"] for each in listed] == ["amd64", "arm64"]
    tags = who.run_other("skopeo", "list-tags", "--tls-verify=false", f"docker://{name}").check()
    assert json.loads(tags.out)["Tags"] == ["v1", "whole"]
    shown = who.run_other("skopeo", "inspect", "oci-archive:joined.tar").check().out
    assert json.loads(shown)["Digest"] == by_files.strip()


def test_what_a_part_can_not_be(root: Person) -> None:
    who = _prepare(root)

    nowhere = who.run("build", "--shard=linux/amd64", ".")
    both = who.run("build", "--shard=linux/amd64", "--platform=linux/arm64", "-o", "x", ".")

    assert "a shard has to go somewhere that polyarch join can find it" in nowhere.err
    assert "--shard and --platform cannot be used together" in both.err


def test_podman_of_every_user_gets_a_manifest_list(who: Person) -> None:
    _prepare(who)
    podman = Podman(directory=who.home / "podman", who=who)
    podman.directory.mkdir()
    os.chown(podman.directory, who.user.uid, who.user.gid)
    given = replace(who, environ={**podman.environ(), "XDG_RUNTIME_DIR": str(who.home)})

    said = given.run("build", f"--platform={TWO}", "-t", "listed:v1", "--load", ".").check().err

    assert "podman has listed:v1, a manifest list for linux/amd64, linux/arm64" in said
    asked = (*given.become(), "podman", "manifest", "inspect", "docker.io/library/listed:v1")
    shown = given.run_other(*asked).check().out
    # What keeps the namespaces that podman makes for itself.
    given.run_other(*given.become(), "podman", "system", "migrate").check()
    assert len(json.loads(shown)["manifests"]) == 2
