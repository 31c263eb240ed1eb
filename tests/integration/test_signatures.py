"""Signatures at a real registry: made by builds here and elsewhere, and by themselves, and checked by ours and by openssl."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from tests.support.images.keys import write_cosign_key, write_key
from tests.support.machine.daemons import daemon
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

PASSWORD = "hunter22-of-keys"


@pytest.fixture
def signer(root: Person, registry: RealRegistry) -> Person:
    """Somebody with a Dockerfile and the password of a key."""
    root.write("Dockerfile", f"FROM {registry.host}/library/busybox\nLABEL signed=yes\n")
    return replace(
        root, environ={"BUILDX_NO_DEFAULT_ATTESTATIONS": "0", "COSIGN_PASSWORD": PASSWORD}
    )


def test_a_signed_build_is_believed(signer: Person, registry: RealRegistry) -> None:
    private, public = write_cosign_key(signer.work, PASSWORD)
    _, other = write_key(signer.work, "other")
    name = f"{registry.host}/signed/app:1"
    build = ("build", "-t", name, "--platform=linux/amd64,linux/arm64", "--push")

    signer.run(*build, f"--sign=key={private}", ".").check()

    found = json.loads(
        signer.run("verify", "--pull", "--key", public, "--format=json", name).check().out
    )
    assert [(each["what"], each["signed"]) for each in found["signatures"]] == [
        ("index", True),
        ("image linux/amd64", True),
        ("image linux/arm64", True),
        ("attestation", True),
        ("attestation", True),
    ]
    assert [by["form"] for by in found["signatures"][0]["by"]] == ["tag", "bundle"]
    assert len(found["attestations"]) == 2
    # An image is known by the digest of its platform, too.
    one = found["signatures"][1]["digest"]
    signer.run("verify", "--key", public, f"{registry.host}/signed/app@{one}").check()
    # What lies under the tag, checked by another program as cosign's specification has it.
    place = f"docker://{registry.host}/signed/app:{one.replace(':', '-')}.sig"
    fetch = ("skopeo", "copy", "--src-tls-verify=false")
    signer.run_other(*fetch, place, "dir:signature").check()
    layer = json.loads((signer.work / "signature/manifest.json").read_text())["layers"][0]
    signature = base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"])
    (signer.work / "raw.sig").write_bytes(signature)
    payload = f"signature/{layer['digest'][7:]}"
    check = ("openssl", "dgst", "-sha256", "-verify", public, "-signature", "raw.sig", payload)
    signer.run_other(*check).check()
    critical = json.loads((signer.work / payload).read_text())["critical"]
    assert critical["image"]["docker-manifest-digest"] == one

    refused = signer.run("verify", "--pull", "--key", other, name)
    assert refused.status == 1
    assert "isn't signed by the key sha256:" in refused.complaint()
    assert "a signature by another key, or a damaged one" in refused.complaint()
    assert PASSWORD not in refused.err


def test_what_is_there_is_signed_by_two_and_an_unsigned_one_is_told_of(
    signer: Person, registry: RealRegistry
) -> None:
    private, public = write_key(signer.work, "ed25519", PASSWORD)
    second, public_too = write_key(signer.work, "ecdsa")
    name = f"{registry.host}/signed/later:1"
    signer.run("build", "-t", name, "--push", "--attest-as=referrers", ".").check()

    unsigned = signer.run("verify", "--pull", "--key", public, name)
    first = signer.run("sign", "--key", private, name).check().out
    again = signer.run("sign", "--key", private, name).check().out
    signer.run("sign", "--key", second, name).check()

    assert "isn't signed by the key" in unsigned.complaint()
    assert "it has no signatures" in unsigned.complaint()
    # The image, and its attestation, which no index vouches for.
    assert first == again
    assert len(first.splitlines()) == 2
    for key in (public, public_too):
        found = signer.run("verify", "--pull", "--key", key, "--format=json", name).check()
        signatures = json.loads(found.out)["signatures"]
        assert [len(each["by"]) for each in signatures] == [2, 2]
    locked = replace(signer, environ={}).run("sign", "--key", private, name)
    assert locked.complaint() == (
        f"ERROR: the key {private} is encrypted, and there is no password\n"
        "hint: set the variable COSIGN_PASSWORD\n"
    )


def test_no_name_stands_for_what_could_not_be_signed(
    signer: Person, registry: RealRegistry
) -> None:
    signer.write("services.json", "{}")
    name = f"{registry.host}/signed/never:1"
    anonymous = replace(signer, environ={**signer.environ, "SIGSTORE_ID_TOKEN": "a-secret-token"})

    failed = anonymous.run(
        "build", "-t", name, "--push", "--sign=keyless,config=services.json", "."
    )

    assert "services.json names no services" in failed.complaint()
    assert "a-secret-token" not in failed.err
    assert "not found" in signer.run("verify", "--pull", name).complaint()


BAKE = """
group "default" { targets = ["signed", "plain", "upon"] }
target "signed" {
  tags = ["REG/baked/signed:1", "REG/baked/signed:2", "REG/other/signed:1"]
  platforms = ["linux/amd64", "linux/arm64"]
}
target "plain" { output = ["type=cacheonly"] }
target "upon" {
  contexts = { base = "target:plain" }
  dockerfile-inline = "FROM base\\nLABEL upon=it"
  tags = ["REG/baked/upon:1"]
}
"""


def is_signed(who: Person, public: str, name: str) -> bool:
    """Tell whether all of an image is signed by a key: its index, images and attestations."""
    shown = who.run("verify", "--pull", "--key", public, "--format=json", name)
    found = json.loads(shown.out)["signatures"] if shown.out else []
    return shown.status == 0 and all(each["signed"] for each in found)


def test_a_bake_signs_all_that_it_pushes(signer: Person, registry: RealRegistry) -> None:
    private, public = write_key(signer.work, "ecdsa")
    signer.write("docker-bake.hcl", BAKE.replace("REG", registry.host))
    bake = ("bake", f"--sign=key={private}")
    pushed = ("--set=signed.output=type=registry", "--set=upon.output=type=registry")

    none = signer.run(*bake)
    signer.run(*bake, *pushed).check()

    assert none.complaint() == (
        "ERROR: --sign signs what is pushed, and nothing of this bake is\n"
        "hint: push it with --push, or sign later: polyarch sign NAME\n"
    )
    for name in ("baked/signed:1", "baked/signed:2", "other/signed:1", "baked/upon:1"):
        assert is_signed(signer, public, f"{registry.host}/{name}"), name


def test_parts_are_signed_where_they_are_joined(signer: Person, registry: RealRegistry) -> None:
    private, public = write_key(signer.work, "ecdsa")
    sign = f"--sign=key={private}"
    signer.write("docker-bake.hcl", BAKE.replace("REG", registry.host))
    for architecture in ("amd64", "arm64"):
        platform = f"--shard=linux/{architecture}"
        signer.run("build", platform, "-o", architecture, ".").check()
        signer.run("bake", platform, "-o", f"baked-{architecture}", "signed").check()
    name = f"{registry.host}/joined/app:1"

    unpushed = signer.run("join", "amd64", "arm64", "-o", "joined", sign)
    signer.run("join", "amd64", "arm64", "-t", name, "--push", sign).check()
    parts = ("--join=baked-amd64", "--join=baked-arm64")
    unpushed_bake = signer.run("bake", *parts, sign, "signed")
    signer.run("bake", *parts, sign, "--push", "signed").check()

    assert "--sign signs what is pushed, and nothing is" in unpushed.complaint()
    assert "nothing of this bake is" in unpushed_bake.complaint()
    assert is_signed(signer, public, name)
    assert is_signed(signer, public, f"{registry.host}/baked/signed:2")
    assert is_signed(signer, public, f"{registry.host}/other/signed:1")


def test_what_daemons_push_is_signed_here(signer: Person, registry: RealRegistry) -> None:
    private, public = write_key(signer.work, "ecdsa")
    sign = f"--sign=key={private}"
    signer.write("docker-bake.hcl", BAKE.replace("REG", registry.host))
    host = registry.host
    first = person(signer.user, signer.home / "one")
    second = person(signer.user, signer.home / "two")
    with daemon(first) as socket, daemon(second) as again:
        create = ("create", "--driver=remote", "--name=far")
        signer.run(*create, "--platform=linux/amd64", f"unix://{socket}").check()
        signer.run(*create, "--append", "--platform=linux/arm64", f"unix://{again}").check()
        build = ("build", "--builder=far", sign, "--metadata-file=told", "--push")

        one = (f"-t={host}/far/one:1", f"-t={host}/far/one:2", "--platform=linux/amd64")
        signer.run(*build, *one, ".").check()
        told_one = json.loads((signer.work / "told").read_text())
        two = (f"-t={host}/far/two:1", "--platform=linux/amd64,linux/arm64")
        signer.run(*build, *two, ".").check()
        twice = (f"-o=type=registry,name={host}/far/three", "-o=type=local,dest=out")
        refused = signer.run(*build[:-1], *twice, "--platform=linux/amd64", ".")
        signer.run("bake", "--builder=far", sign, "--push", "signed").check()

    assert told_one["image.name"] == f"{host}/far/one:1,{host}/far/one:2"
    for name in ("far/one:1", "far/one:2", "far/two:1", "baked/signed:1", "other/signed:1"):
        assert is_signed(signer, public, f"{host}/{name}"), name
    assert "is signed for one output only" in refused.complaint()
