"""What builds attest, at a real registry: the same from run to run, and read back by ours and by skopeo."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import replace
from typing import Any

import pytest

from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

DOCKERFILE = """\
FROM {base} AS packages
ARG BUILDKIT_SBOM_SCAN_STAGE=true
COPY status /var/lib/dpkg/status
FROM packages
ARG TOKEN
COPY METADATA /usr/lib/python3/dist-packages/six-1.17.dist-info/METADATA
RUN echo $TOKEN > /token
"""
STATUS = "Package: libc6\nStatus: install ok installed\nVersion: 2.41-1\nArchitecture: amd64\n"
FULL = ("--provenance=mode=max", "--sbom=format=spdx+cyclonedx")


@pytest.fixture
def builder(root: Person, registry: RealRegistry) -> Person:
    """Somebody who attests what docker buildx does unless it is told otherwise."""
    root.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
    root.write("status", STATUS)
    root.write("METADATA", "Name: six\nVersion: 1.17\n")
    return replace(root, environ={"BUILDX_NO_DEFAULT_ATTESTATIONS": "0"})


def build(who: Person, name: str, *words: str) -> dict[str, Any]:
    """Build and push; return the metadata."""
    who.run("build", "-t", name, "--push", "--metadata-file=md.json", *words, ".").check()
    found: dict[str, Any] = json.loads((who.work / "md.json").read_text())
    return found


def tags(registry: RealRegistry, repository: str) -> list[str]:
    with urllib.request.urlopen(f"http://{registry.host}/v2/{repository}/tags/list") as answer:
        found: list[str] = json.load(answer)["tags"]
    return found


def inspected(who: Person, name: str, template: str) -> Any:
    return json.loads(who.run("imagetools", "inspect", f"--format={template}", name).check().out)


def test_an_unchanged_build_is_attested_as_before_and_read_back(
    builder: Person, registry: RealRegistry
) -> None:
    name = f"{registry.host}/attested/app:1"
    words = (*FULL, "--platform=linux/amd64,linux/arm64", "--build-arg=TOKEN=hunter22")

    first = build(builder, name, *words)
    again = build(builder, name, *words)

    assert again["containerimage.digest"] == first["containerimage.digest"]
    assert {f"buildx.build.provenance/linux/{each}" for each in ("amd64", "arm64")} < first.keys()
    slsa = inspected(builder, name, '{{json (index .Provenance "linux/arm64").SLSA}}')
    materials = slsa["buildDefinition"]["resolvedDependencies"]
    assert [each["uri"].rpartition("?")[2] for each in materials] == ["platform=linux%2Farm64"]
    assert len(slsa["runDetails"]["metadata"]["buildkit_metadata"]["layers"]) == 4
    assert "hunter22" not in json.dumps(slsa)
    listed = inspected(builder, name, '{{json (index .SBOM "linux/amd64").SPDX}}')
    assert {each["name"] for each in listed["packages"]} == {"sbom", "libc6", "six"}
    more = inspected(builder, name, '{{json (index .SBOM "linux/amd64").AdditionalSPDXs}}')
    assert [each["name"] for each in more] == ["sbom-packages"]
    raw = builder.run_other("skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{name}")
    index = json.loads(raw.check().out)
    assert [each["platform"]["os"] for each in index["manifests"]] == [
        *("linux", "linux"),
        *("unknown", "unknown"),
    ]
    # Nothing about the image is in a tag of its own, and it runs from the store as any.
    assert f"sha256-{index['manifests'][0]['digest'][7:]}" not in tags(registry, "attested/app")
    assert builder.run("run", "--rm", name, "cat", "/token").check().out == "hunter22\n"


def test_it_is_short_unless_more_is_asked_for_and_referrers_leave_the_index_alone(
    builder: Person, registry: RealRegistry
) -> None:
    name = f"{registry.host}/attested/more"

    build(builder, f"{name}:short")
    plain = build(builder, f"{name}:none", "--provenance=false")
    beside = build(builder, f"{name}:beside", "--attest-as=referrers")

    short = inspected(builder, f"{name}:short", "{{json .Provenance.SLSA}}")
    assert "buildConfig" not in short["buildDefinition"]["internalParameters"]
    assert beside["containerimage.digest"] == plain["containerimage.digest"]
    # Debian's registry knows no referrers: they have a tag.
    tag = plain["containerimage.digest"].replace(":", "-")
    assert tag in tags(registry, "attested/more")
    found = inspected(builder, f"{name}:beside", "{{json .Provenance.SLSA}}")
    assert found["runDetails"]["metadata"]["invocationId"]


def test_an_index_of_one_platform_and_what_is_attested_of_it_is_annotated(
    builder: Person, registry: RealRegistry
) -> None:
    name = f"{registry.host}/attested/annotated"
    notes = ("--annotation=index:about=all", "--annotation=manifest-descriptor:about=one")

    build(builder, name, *notes)
    alone = builder.run("build", "--provenance=false", *notes, "-t", name, "--push", ".")

    index = json.loads(builder.run("imagetools", "inspect", "--raw", name).check().out)
    assert index["annotations"] == {"about": "all"}
    assert index["manifests"][0]["annotations"] == {"about": "one"}
    assert "index annotations not supported for single platform export" in alone.complaint()


def test_an_image_lists_the_software_where_one_is_named(
    builder: Person, registry: RealRegistry
) -> None:
    base = f"{registry.host}/library/busybox"
    statement = {
        "predicateType": "https://spdx.dev/Document",
        "predicate": {"name": "@", "creationInfo": {"creators": []}},
    }
    builder.write("statement", json.dumps(statement))
    script = (
        "sed s/@/$BUILDKIT_SCAN_color-$(cat $BUILDKIT_SCAN_SOURCE/token)/ /statement "
        "> $BUILDKIT_SCAN_DESTINATION/sbom.spdx.json; "
        "ls $BUILDKIT_SCAN_SOURCE_EXTRAS >&2; ! echo x > $BUILDKIT_SCAN_SOURCE/token"
    )
    command = json.dumps(["sh", "-c", script])
    builder.write("Lister", f"FROM {base}\nCOPY statement /\nENTRYPOINT {command}\n")
    lister, name = f"{registry.host}/attested/lister", f"{registry.host}/attested/listed"
    build(builder, lister, "-f=Lister")

    build(builder, name, "--build-arg=TOKEN=7", f"--attest=type=sbom,generator={lister},color=red")

    listed = inspected(builder, name, "{{json .SBOM.SPDX}}")
    assert listed["name"] == "red-7"
    assert [each.partition("-")[0] for each in listed["creationInfo"]["creators"]] == [
        "Tool: polyarch"
    ]
    slsa = inspected(builder, name, "{{json .Provenance.SLSA}}")
    materials = slsa["buildDefinition"]["resolvedDependencies"]
    assert [each["uri"].partition("/")[2].partition("@")[0] for each in materials] == [
        f"{registry.host.replace(':', '%3A')}/attested/lister",
        f"{registry.host.replace(':', '%3A')}/library/busybox",
    ]
