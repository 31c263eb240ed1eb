"""What a cached result depends on, field by field, and what it doesn't (docs/solver.md, “Keys”)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.digest import DiffID, sha256
from polyarch.graph.op import (
    BindMount,
    CacheMount,
    CopyAction,
    ExecMount,
    ExecOp,
    FileAction,
    FileOp,
    ImageOp,
    LocalOp,
    MergeOp,
    MkdirAction,
    MkfileAction,
    Op,
    ScratchOp,
    SecretMount,
    Sharing,
    SshMount,
    TmpfsMount,
)
from polyarch.graph.vertex import canonical_json, make_vertex
from polyarch.record import replace
from polyarch.request.limits import Resources, Ulimit
from tests.support.images.platforms import AMD64, ARM64

EXEC = ExecOp(argv=("make", "-j"), env=("A=1",), cwd="/src", user="", platform=AMD64)
COPY = CopyAction(input=1, sources=("src/a", "b"), destination="/app/")
IMAGE = ImageOp(
    reference="docker.io/library/alpine:3",
    digest=sha256(b"manifest"),
    platform=AMD64,
    diff_ids=(DiffID(sha256(b"base")), DiffID(sha256(b"top"))),
)

EXEC_IN_KEY: list[dict[str, Any]] = [
    {"argv": ("make",)},
    {"argv": ("make -j",)},
    {"env": ("A=2",)},
    {"env": ()},
    {"cwd": "/"},
    {"user": "nobody"},
    {"platform": ARM64},
    {"platform": replace(AMD64, variant="v2")},
    {"network": "none"},
    {"security": "insecure"},
    {"hostname": "there"},
    {"scripts": (("EOF", "echo"),)},
    {"extra_hosts": (("db", "10.0.0.1"),)},
    {"ulimits": (Ulimit(name="nofile", soft=1, hard=2),)},
    {"shm_size": 1},
    {"cgroup_parent": "/x"},
    {"devices": ("vendor/class=one",)},
]
COPY_IN_KEY: list[dict[str, Any]] = [
    {"input": 2},
    {"sources": ("src/other", "b")},
    {"sources": ("b", "src/a")},
    {"sources": ("src/a",)},
    {"destination": "/app"},
    {"owner": "1000"},
    {"mode": "0755"},
    {"keep_owner": True},
    {"unpack": True},
    {"parents": True},
    {"is_literal": True},
    {"exclude": ("*.o",)},
    {"created": 60},
]
MOUNTS_IN_KEY: list[tuple[ExecMount, dict[str, Any]]] = [
    (BindMount(target="/m", input=1), {"target": "/n"}),
    (BindMount(target="/m", input=1), {"input": 2}),
    (BindMount(target="/m", input=1), {"read_only": False}),
    (CacheMount(target="/m", id="a"), {"target": "/n"}),
    (CacheMount(target="/m", id="a"), {"input": 1}),
    (TmpfsMount(target="/m"), {"target": "/n"}),
    (TmpfsMount(target="/m"), {"size": 1}),
    (TmpfsMount(target="/m"), {"read_only": True}),
    (CacheMount(target="/m", id="one//m"), {"id": "two//m"}),
    (SecretMount(id="s", target="/m"), {"id": "t"}),
    (SecretMount(id="s", target="/m"), {"env": "S"}),
    (SecretMount(id="s", target="/m"), {"uid": 1}),
    (SshMount(id="s", target="/m"), {"target": "/n"}),
]
MOUNTS_NOT_IN_KEY: list[tuple[ExecMount, dict[str, Any]]] = [
    (BindMount(target="/m", input=1), {"source": "/elsewhere"}),
    (CacheMount(target="/m", id="a"), {"id": "b"}),
    (CacheMount(target="/m", id="a"), {"sharing": Sharing.LOCKED}),
    (CacheMount(target="/m", id="a"), {"mode": 0o700, "uid": 1, "gid": 1}),
]


def key(op: Op) -> str:
    return make_vertex(op).cache_digest


def definition(op: Op) -> str:
    return make_vertex(op).digest


def exec_with(mount: ExecMount) -> ExecOp:
    return replace(EXEC, mounts=(mount,))


@pytest.mark.parametrize("change", EXEC_IN_KEY, ids=str)
def test_what_makes_another_exec(change: dict[str, Any]) -> None:
    changed = replace(EXEC, **change)

    assert key(changed) != key(EXEC)
    assert definition(changed) != definition(EXEC)


def test_every_field_of_an_exec_was_thought_of() -> None:
    named = {name for change in EXEC_IN_KEY for name in change}

    full = replace(EXEC, devices=("a/b=c",), resources=Resources(memory=1))
    assert set(full.definition()) == named | {"type", "mounts", "proxy_env", "resources"}


def test_limits_of_memory_and_processors_are_not_in_a_key() -> None:
    limited = replace(EXEC, resources=Resources(memory=1 << 20, cpuset_cpus="0"))

    assert key(limited) == key(EXEC)
    assert definition(limited) != definition(EXEC)


def test_proxies_and_addresses_are_not_in_a_key() -> None:
    plain = replace(EXEC, extra_hosts=(("db", "10.0.0.1"),))
    changed = replace(plain, extra_hosts=(("db", "10.0.0.2"),), proxy_env=("http_proxy=http://p",))

    assert key(changed) == key(plain)
    assert definition(changed) != definition(plain)


@pytest.mark.parametrize(("mount", "change"), MOUNTS_IN_KEY, ids=str)
def test_what_makes_another_mount(mount: ExecMount, change: dict[str, Any]) -> None:
    assert key(exec_with(replace(mount, **change))) != key(exec_with(mount))


@pytest.mark.parametrize(("mount", "change"), MOUNTS_NOT_IN_KEY, ids=str)
def test_what_of_a_mount_is_not_in_a_key(mount: ExecMount, change: dict[str, Any]) -> None:
    one, other = exec_with(mount), exec_with(replace(mount, **change))

    assert key(one) == key(other)
    assert definition(one) != definition(other)


@pytest.mark.parametrize("change", COPY_IN_KEY, ids=str)
def test_what_makes_another_copy(change: dict[str, Any]) -> None:
    changed = replace(COPY, **change)

    assert key(FileOp(actions=(changed,))) != key(FileOp(actions=(COPY,)))


def test_every_field_of_a_copy_was_thought_of() -> None:
    definition = json.loads(canonical_json(FileOp(actions=(COPY,)).definition()))

    assert set(definition["actions"][0]) == {name for change in COPY_IN_KEY for name in change} | {
        "do"
    }


@pytest.mark.parametrize("sources", [("a", "b"), ("x/y/a", "z/b"), ("/src/a/", "b/")])
def test_of_a_source_only_the_last_part_is_in_a_key(sources: tuple[str, ...]) -> None:
    one, other = FileOp(actions=(COPY,)), FileOp(actions=(replace(COPY, sources=sources),))

    assert key(one) == key(other)
    assert definition(one) != definition(other)


def test_with_parents_the_whole_source_is_in_the_key() -> None:
    one = FileOp(actions=(replace(COPY, parents=True),))
    other = FileOp(actions=(replace(COPY, parents=True, sources=("lib/a", "b")),))

    assert key(one) != key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (MkdirAction(path="/a"), MkdirAction(path="/b")),
        (MkdirAction(path="/a"), MkdirAction(path="/a", mode=0o700)),
        (MkdirAction(path="/a"), MkdirAction(path="/a", owner="1")),
        (MkfileAction(path="/a", name="f", data=""), MkfileAction(path="/a", name="f", data="x")),
        (MkfileAction(path="/a", name="f", data=""), MkfileAction(path="/a", name="g", data="")),
        (
            MkfileAction(path="/a", name="f", data=""),
            MkfileAction(path="/a", name="f", data="", mode="0700"),
        ),
    ],
    ids=str,
)
def test_what_makes_another_file(one: FileAction, other: FileAction) -> None:
    assert key(FileOp(actions=(one,))) != key(FileOp(actions=(other,)))


def test_the_order_of_actions_counts() -> None:
    actions = (MkdirAction(path="/a"), MkdirAction(path="/b"))

    assert key(FileOp(actions=actions)) != key(FileOp(actions=actions[::-1]))


def test_images_are_known_by_their_layers() -> None:
    renamed = replace(
        IMAGE, reference="other:1", digest=sha256(b"another manifest"), platform=ARM64
    )
    rebased = replace(IMAGE, diff_ids=IMAGE.diff_ids[:1])

    assert key(renamed) == key(IMAGE) != key(rebased)
    assert definition(renamed) != definition(IMAGE)


def test_kinds_of_ops_are_told_apart() -> None:
    kinds: list[Op] = [ScratchOp(), MergeOp(), LocalOp(name="a"), LocalOp(name="b"), IMAGE, EXEC]
    kinds.append(FileOp(actions=()))

    assert len(set(map(key, kinds))) == len(set(map(definition, kinds))) == len(kinds)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(value=JSON)
def test_canonical_json_is_json_in_one_way(value: object) -> None:
    data = canonical_json(value)

    assert json.loads(data) == value
    assert canonical_json(json.loads(data)) == data
    if isinstance(value, dict):
        assert canonical_json(dict(reversed(value.items()))) == data


def test_canonical_json_keeps_bytes_that_are_no_text() -> None:
    assert canonical_json({"b": b"\xff".decode(errors="surrogateescape"), "a": "é"}) == (
        b'{"a":"\xc3\xa9","b":"\xff"}'
    )
