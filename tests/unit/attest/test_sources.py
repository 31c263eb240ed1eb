"""What a result was made of, found in its graph and in what was resolved and fetched."""

from __future__ import annotations

from typing import Any

from polyarch.attest.sources import Resolved, find_sources, for_platform
from polyarch.digest import Digest, sha256
from polyarch.graph.op import (
    CopyAction,
    ExecOp,
    FileOp,
    GitOp,
    HttpOp,
    ImageOp,
    LocalOp,
    SecretMount,
    SshMount,
)
from polyarch.graph.vertex import Vertex, make_vertex
from polyarch.platforms import Platform, linux

AMD64, ARM64 = linux("amd64"), linux("arm64")
INDEX, MANIFEST = sha256(b"index"), sha256(b"manifest")
BASE = "example.test/base:1"
GIT = GitOp(remote="https://me:pw@example.test/a.git", ref="main")
FILE = HttpOp(url="https://example.test/f", filename="f")
COMMIT = "9f" * 20


def image(reference: str = BASE, root: Digest | None = INDEX) -> Vertex:
    op = ImageOp(reference=reference, digest=MANIFEST, platform=AMD64, diff_ids=(), root=root)
    return make_vertex(op)


def copying(base: Vertex, *sources: Vertex) -> Vertex:
    actions = tuple(
        CopyAction(input=number, sources=("/",), destination="/")
        for number in range(1, len(sources) + 1)
    )
    return make_vertex(FileOp(actions=actions), (base, *sources))


def running(base: Vertex, **fields: Any) -> Vertex:
    op = ExecOp(argv=("true",), env=(), cwd="/", user="", platform=AMD64, **fields)
    return make_vertex(op, (base,))


def test_materials_are_images_then_repositories_then_files() -> None:
    target = copying(image(), make_vertex(FILE), make_vertex(GIT))

    found = find_sources(target, (), {FILE: sha256(b"file"), GIT: COMMIT}, {})

    assert found.materials() == [
        {
            "uri": "pkg:docker/example.test/base@1?platform=linux%2Famd64",
            "digest": {"sha256": INDEX.removeprefix("sha256:")},
        },
        {"uri": "https://xxxxx:xxxxx@example.test/a.git#main", "digest": {"sha1": COMMIT}},
        {
            "uri": "https://example.test/f",
            "digest": {"sha256": sha256(b"file").removeprefix("sha256:")},
        },
    ]
    assert (found.is_taken(GIT), found.find(GIT), found.local) == (True, COMMIT, ())
    assert found.secrets == {"GIT_AUTH_HEADER": True, "GIT_AUTH_TOKEN": True}


def test_contexts_are_local_unless_they_were_fetched() -> None:
    here, there = make_vertex(LocalOp(name="files")), make_vertex(LocalOp(name="context"))

    found = find_sources(copying(image(), here, there), (), {GIT: COMMIT}, {"context": GIT})

    assert found.local == ("files",)
    assert found.is_taken(GIT)


def test_what_steps_are_given() -> None:
    mounts = (
        SecretMount(id="b", target="/run/secrets/b"),
        SecretMount(id="a", env="A", required=True),
        SshMount(id="default", target="/agent"),
    )
    first = running(image(), mounts=mounts, network="none")
    again = running(first, mounts=(SecretMount(id="b", env="B", required=True),), network="none")

    found = find_sources(again, (), {}, {})

    assert (dict(found.secrets), dict(found.ssh)) == ({"a": False, "b": False}, {"default": True})
    assert not found.uses_network
    assert find_sources(running(image()), (), {}, {}).uses_network


def test_an_image_by_its_digest_is_left_out_beside_its_tag() -> None:
    def resolved(reference: str) -> Resolved:
        return Resolved(reference=reference, platform=AMD64, digest=INDEX)

    named, pinned = resolved(BASE), resolved(f"example.test/base:1@{INDEX}")
    alone = resolved(f"example.test/other@{INDEX}")
    target = running(make_vertex(LocalOp(name="context")))

    found = find_sources(target, (named, pinned, alone, named), {}, {})

    assert found.images == (named, alone)


def test_images_of_other_platforms_belong_to_their_results() -> None:
    def resolved(reference: str, platform: Platform) -> Resolved:
        return Resolved(reference=reference, platform=platform, digest=INDEX)

    tools = resolved("example.test/tools:1", AMD64)
    base = [resolved(BASE, AMD64), resolved(BASE, ARM64)]

    found = for_platform((*base, tools), ARM64, (AMD64, ARM64))

    assert found == (base[1], tools)  # the tools are of the build platform, in both results
    assert for_platform((tools,), ARM64, (ARM64,)) == (tools,)
