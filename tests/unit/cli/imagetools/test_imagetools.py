"""`imagetools` beside buildx: the recorded answers, and what was copied where.

`python -m tools.imagetools BUILDX tests/golden/imagetools/answers.json` records the answers anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine.commands import Printed, call
from tests.support.network.registry import Registry, serving
from tools.imagetools import CALLS, Planter, plant

Json = dict[str, Any]

ANSWERS: list[Json] = json.loads(
    (Path(__file__).parents[3] / "golden/imagetools/answers.json").read_text()
)
COSIGN = "application/vnd.dev.cosign.artifact.sig.v1+json"
SIGSTORE = "application/vnd.dev.sigstore.bundle.v0.3+json"
ATTESTATION = "application/vnd.docker.attestation.manifest.v1+json"
SUBJECT = "io.containerd.manifest.subject"
AMD64: Json = {"architecture": "amd64", "os": "linux"}
ARM64: Json = {"architecture": "arm64", "os": "linux"}
ONES = "sha256:" + "1" * 64


@pytest.fixture(scope="module")
def planted() -> Iterator[Registry]:
    """A registry with the images of the recorded calls."""
    with serving() as registry:
        plant(registry.host)
        yield registry


def imagetools(*words: str) -> Printed:
    return call("imagetools", *words, environ={"DOCKER_CONFIG": "/proc/nonexistent"})


def create(*words: str) -> None:
    ended = imagetools("create", "--progress=none", *words)
    assert ended.status == 0, ended.err


def raw(name: str) -> Json:
    ended = imagetools("inspect", "--raw", name)
    assert ended.status == 0, ended.err
    found: Json = json.loads(ended.out)
    return found


def last(ended: Printed) -> str:
    """Return the line of the error; hints may follow it or stand above it."""
    return next(line for line in ended.err.splitlines() if line.startswith("ERROR: "))


def lines(text: str) -> list[str] | str:
    """Buildx shows annotations in any order."""
    return sorted(text.splitlines()) if "Annotations:" in text else text


def test_the_answers_are_those_of_the_calls() -> None:
    assert [tuple(each["call"]) for each in ANSWERS] == list(CALLS)


@pytest.mark.parametrize("number", range(len(ANSWERS)), ids=[str(each["call"]) for each in ANSWERS])
def test_what_buildx_answers(planted: Registry, number: int) -> None:
    answer = ANSWERS[number]
    words = [word.replace("HOST", planted.host) for word in answer["call"]]

    ended = imagetools(*words)

    out = ended.out.replace(planted.host, "HOST")
    assert (ended.status, lines(out)) == (answer["status"], lines(answer["out"]))
    if ended.status:
        assert last(ended).replace(planted.host, "HOST") == answer["error"]


# --- create ---


def test_a_metadata_file_names_the_repositories(planted: Registry, tmp_path: Path) -> None:
    host, path = planted.host, tmp_path / "metadata"
    tags = [f"{host}/z/b:2", f"{host}/z/a:1", f"{host}/z/b:1", f"oci-layout://{tmp_path}/l:x"]

    words = [word for tag in tags for word in ("-t", tag)]
    create("--metadata-file", str(path), *words, f"{host}/two")

    names = ",".join(sorted([f"{host}/z/a", f"{host}/z/b", f"{tmp_path}/l"]))
    kind, data = planted.manifests["two", "latest"]
    digest = imagetools("inspect", f"{host}/two", "--format", "{{.Manifest.Digest}}").out
    assert path.read_text() == (
        '{\n  "containerimage.descriptor": {\n'
        f'    "mediaType": "{kind}",\n    "digest": "{digest}",\n    "size": {len(data)}\n'
        f'  }},\n  "image.name": "{names}"\n}}'
    )


def test_the_artifact_type_of_a_descriptor_is_kept(planted: Registry) -> None:
    host = planted.host
    index = raw(f"{host}/att")
    told = {**index["manifests"][2], "artifactType": ATTESTATION}

    create("-t", f"{host}/att:list", json.dumps(told))

    (entry,) = raw(f"{host}/att:list")["manifests"]
    assert entry == told


def test_a_name_by_digest_gets_no_tag(planted: Registry) -> None:
    host = planted.host
    digest = imagetools("inspect", f"{host}/two", "--format", "{{.Manifest.Digest}}").out

    create("-t", f"{host}/exact@{digest}", f"{host}/two")

    assert ("exact", digest) in planted.manifests
    assert ("exact", "latest") not in planted.manifests


@pytest.mark.parametrize("place", ["HOST/wrong", "oci-layout://DIRECTORY"])
def test_another_digest_than_was_asked_for(planted: Registry, tmp_path: Path, place: str) -> None:
    layout = tmp_path / "layout"
    create("-t", f"oci-layout://{layout}:old", f"{planted.host}/one")
    before = {path: path.stat().st_mtime_ns for path in layout.rglob("*")}
    target = place.replace("HOST", planted.host).replace("DIRECTORY", str(layout)) + f"@{ONES}"

    ended = imagetools("create", "--prefer-index=false", "-t", target, f"{planted.host}/one")

    assert ended.status == 1
    assert f": target {target} requested digest {ONES} but produced sha256:41c4e18" in last(ended)
    assert {path: path.stat().st_mtime_ns for path in layout.rglob("*")} == before
    assert not any(name == "wrong" for name, _ in planted.manifests)


# --- layouts ---


def test_a_layout_is_inspected(planted: Registry, tmp_path: Path) -> None:
    place = f"oci-layout://{tmp_path}/layout"
    create("-t", f"{place}:v1", f"{planted.host}/two")
    create("-t", place, f"{planted.host}/one")
    digest = imagetools("inspect", f"{place}:v1", "--format", "{{.Manifest.Digest}}").out

    assert raw(f"{place}:v1") == raw(f"{place}@{digest}") == raw(f"{planted.host}/two")
    assert imagetools("inspect", place).out == (
        f"Name:      {place}:latest\n"
        "MediaType: application/vnd.oci.image.index.v1+json\n"
        "Digest:    sha256:8c26317f6e7aadacf2f3cdc609052a93a6e5f88b87d765ef7ff8dfdb914173f1\n"
        "           \nManifests: \n"
        f"  Name:      {place}@sha256:41c4e1837f410e91826d7a55d784be25c75f57ec4d44f46d63b09dc1fa35c7ca\n"
        "  MediaType: application/vnd.oci.image.manifest.v1+json\n  Platform:  linux/amd64\n"
    )
    form = "{{.Name}} {{.Image.Architecture}}"
    assert imagetools("inspect", place, "--format", form).out == f"{place} amd64"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/layout:v2", "reference oci-layout://DIRECTORY/layout:v2 not found: not found"),
        (f"/layout@{ONES}", f"content {ONES}: not found"),
        (
            "/none",
            "could not read DIRECTORY/none/index.json: open DIRECTORY/none/index.json: no such file or directory",
        ),
    ],
)
def test_what_a_layout_does_not_have(
    planted: Registry, tmp_path: Path, name: str, said: str
) -> None:
    create("-t", f"oci-layout://{tmp_path}/layout:v1", f"{planted.host}/two")

    ended = imagetools("inspect", f"oci-layout://{tmp_path}{name}")

    assert last(ended).replace(str(tmp_path), "DIRECTORY") == f"ERROR: {said}"


def test_a_layout_and_a_registry_are_merged(planted: Registry, tmp_path: Path) -> None:
    place, merged = f"oci-layout://{tmp_path}:x", f"{planted.host}/merged"
    create("-t", place, f"{planted.host}/one")

    create("-t", merged, place, f"{planted.host}/arm")
    create("--append", "-t", place, f"{planted.host}/arm")

    assert raw(merged) == raw(place)
    assert [each["platform"] for each in raw(merged)["manifests"]] == [AMD64, ARM64]
    assert not (tmp_path / "index.json.lock").exists()


# --- referrers ---


def signed(server: Registry) -> dict[str, Json]:
    """Plant an image of two platforms that is signed in all ways."""
    to = Planter(server.host)
    one, two = to.image("app", "a", AMD64), to.image("app", "b", ARM64)
    attestation = to.attestation("app", one, as_artifact=True)
    root = to.index("app", "1", one, two, attestation)
    found = {
        "image": to.referrer("app", one, COSIGN),
        "note": to.referrer("app", one, "application/vnd.example"),
        "attestation": to.referrer("app", attestation, SIGSTORE),
        "index": to.referrer("app", root, SIGSTORE),
    }
    if not server.answers_referrers:
        to.referrers("app", one, found["image"], found["note"])
        to.referrers("app", attestation, found["attestation"])
        to.referrers("app", root, found["index"])
    return found


@pytest.mark.parametrize("source", [False, True], ids=["by tag", "by the API"])
@pytest.mark.parametrize("target", [False, True], ids=["to tags", "to the API"])
def test_signatures_are_copied_and_found_again(
    server: Registry, *, source: bool, target: bool
) -> None:
    server.answers_referrers = source
    found = signed(server)
    with serving() as other, serving() as third:
        other.answers_referrers = target

        create("-t", f"{other.host}/copy:1", f"{server.host}/app:1")
        create("-t", f"{third.host}/again:1", f"{other.host}/copy:1")

        for place in (other, third):
            there = {digest for _, digest in place.manifests}
            kept = {name for name, each in found.items() if each["digest"] in there}
            assert kept == {"image", "attestation", "index"}


def test_a_list_of_referrers_is_added_to(server: Registry) -> None:
    found = signed(server)
    with serving() as other:
        to = Planter(other.host)
        earlier = to.referrer("copy", to.image("copy", "a", AMD64), SIGSTORE)
        subject = raw(f"{server.host}/app:1")["manifests"][0]
        to.referrers("copy", subject, earlier)

        create("-t", f"{other.host}/copy:1", f"{server.host}/app:1")
        create("-t", f"{other.host}/copy:2", f"{server.host}/app:1")

        tag = subject["digest"].replace(":", "-")
        listed = json.loads(other.manifests["copy", tag][1])["manifests"]
        assert [each["digest"] for each in listed][:2] == [
            earlier["digest"],
            found["image"]["digest"],
        ]
        assert {each["artifactType"] for each in listed} == {SIGSTORE, COSIGN, ATTESTATION}


def test_signatures_in_a_layout(server: Registry, tmp_path: Path) -> None:
    found = signed(server)
    place = f"oci-layout://{tmp_path}"

    for tag in ("a", "b"):
        create("-t", f"{place}:{tag}", f"{server.host}/app:1")
    index = json.loads((tmp_path / "index.json").read_text())["manifests"]
    with serving() as other:
        create("-t", f"{other.host}/copy:1", f"{place}:b")
        there = {digest for _, digest in other.manifests}

    # By themselves only what no name leads to; each once.
    about = {each["digest"]: each["annotations"] for each in index[2:]}
    copied = [found[name] for name in ("image", "attestation", "index")]
    assert set(about) == {each["digest"] for each in copied} <= there
    assert all(SUBJECT in notes for notes in about.values())
    assert len(index) == 5


def test_referrers_without_end(server: Registry) -> None:
    """A registry that has a manifest be about itself is asked about it once."""
    to = Planter(server.host)
    one = to.image("app", "a", AMD64, "1")
    signature = to.referrer("app", one, COSIGN)
    to.referrers("app", one, signature)
    to.referrers("app", signature, signature, {**one, "artifactType": COSIGN})

    with serving() as other:
        create("-t", f"{other.host}/copy:1", f"{server.host}/app:1")

        assert ("copy", signature["digest"]) in other.manifests
