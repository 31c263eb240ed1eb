"""Builders as values: what may be changed, and what holds whatever is changed."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.builders.values import (
    BuilderNode,
    NodeChange,
    SavedBuilder,
    check_name,
    default_builder,
    random_name,
    require_local,
    with_node,
    without_node,
)
from polyarch.errors import InputError, MachineError, NotFound, PolyarchError
from polyarch.platforms import Platform, read

EMPTY = SavedBuilder(name="b")
PLATFORMS = st.lists(
    st.sampled_from(["linux/amd64", "linux/arm64", "linux/arm64/v8", "linux/arm", "linux/arm/v7"]),
    max_size=3,
).map(lambda texts: tuple(map(read, texts)))
CHANGES = st.builds(
    NodeChange,
    name=st.sampled_from(["", "b0", "b1", "n1", "n2"]),
    endpoint=st.sampled_from([None, "local", "tcp://a", "tcp://b"]),
    platforms=PLATFORMS,
    append=st.booleans(),
)


def platforms(*texts: str) -> tuple[Platform, ...]:
    return tuple(map(read, texts))


def node(name: str, *texts: str, endpoint: str = "local") -> BuilderNode:
    return BuilderNode(name=name, endpoint=endpoint, platforms=platforms(*texts))


@given(changes=st.lists(CHANGES, max_size=6))
def test_whatever_is_changed_names_places_and_platforms_are_unique(
    changes: list[NodeChange],
) -> None:
    builder = EMPTY
    for change in changes:
        with suppress(PolyarchError):
            builder = with_node(builder, change)

    names = [each.name for each in builder.nodes]
    endpoints = [each.endpoint for each in builder.nodes if each.endpoint != "local"]
    claimed = [platform for each in builder.nodes for platform in set(each.platforms)]
    assert len(set(names)) == len(names)
    assert len(set(endpoints)) == len(endpoints)
    assert len(set(claimed)) == len(claimed)


@given(changes=st.lists(CHANGES, min_size=1, max_size=4))
def test_what_was_added_can_be_taken_out(changes: list[NodeChange]) -> None:
    builder = SavedBuilder(name="b", nodes=(node("kept"),))
    for change in changes:
        with suppress(PolyarchError):
            builder = with_node(builder, change)

    for each in builder.nodes[1:]:
        builder = without_node(builder, each.name)

    assert [each.name for each in builder.nodes] == ["kept"]


def test_a_first_node_is_called_after_its_builder() -> None:
    builder = with_node(EMPTY, NodeChange(platforms=platforms("linux/arm64")))

    assert builder.nodes == (node("b0", "linux/arm64"),)


def test_appended_nodes_get_free_names() -> None:
    builder = SavedBuilder(name="b", nodes=(node("b0"), node("b2")))

    for _ in range(2):
        builder = with_node(builder, NodeChange(append=True))

    assert [each.name for each in builder.nodes] == ["b0", "b2", "b1", "b3"]


def test_what_is_not_told_stays() -> None:
    before = BuilderNode(
        name="n",
        endpoint="tcp://a",
        platforms=platforms("linux/amd64"),
        driver_opts={"a": "1"},
        flags=("--debug",),
        files={"ca.pem": "eA=="},
    )
    builder = SavedBuilder(name="b", nodes=(before,))

    assert with_node(builder, NodeChange(name="n")) == builder
    changed = with_node(builder, NodeChange(name="n", driver_opts={}, flags=(), files={}))
    assert changed.nodes == (node("n", "linux/amd64", endpoint="tcp://a"),)


def test_a_platform_moves_to_the_node_that_claims_it_last() -> None:
    builder = SavedBuilder(
        name="b", nodes=(node("n1", "linux/amd64", "linux/arm64"), node("n2", "linux/arm/v7"))
    )

    changed = with_node(builder, NodeChange(name="n2", platforms=platforms("linux/arm64")))

    assert changed.nodes == (node("n1", "linux/amd64"), node("n2", "linux/arm64"))


def test_this_machine_may_be_shared_out_others_not() -> None:
    builder = SavedBuilder(name="b", nodes=(node("n1"), node("n2", endpoint="tcp://a")))

    assert len(with_node(builder, NodeChange(name="n3", append=True, endpoint="local")).nodes) == 3
    with pytest.raises(InputError, match=r"^invalid duplicate endpoint tcp://a$"):
        with_node(builder, NodeChange(name="n3", append=True, endpoint="tcp://a"))


def test_adding_must_be_meant() -> None:
    builder = SavedBuilder(name="b", nodes=(node("n1"),))

    with pytest.raises(NotFound, match=r"^node n2 not found, did you mean to append\?$"):
        with_node(builder, NodeChange(name="n2"))


def test_dynamic_builders_are_left_alone() -> None:
    with pytest.raises(InputError, match=r"^dynamic node group does not support Update$"):
        with_node(SavedBuilder(name="b", dynamic=True), NodeChange())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("n2", "node n2 not found for b"),
        ("n1", "can not leave last node, do you want to rm instance instead?"),
    ],
)
def test_nodes_that_can_not_be_taken_out(name: str, message: str) -> None:
    with pytest.raises(PolyarchError) as caught:
        without_node(SavedBuilder(name="b", nodes=(node("n1"),)), name)

    assert str(caught.value) == message


@pytest.mark.parametrize(("text", "name"), [("a", "a"), ("My.Builder-1_x", "my.builder-1_x")])
def test_names_are_kept_in_lower_case(text: str, name: str) -> None:
    assert check_name(text) == name


@pytest.mark.parametrize(
    "text", ["", "1a", "-a", "a b", "a/b", "../a", "a\n", "é", "default", "DEFAULT"]
)
def test_names_that_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"invalid name|is a reserved name"):
        check_name(text)


def test_random_names_are_names_and_free() -> None:
    taken: set[str] = set()
    for _ in range(50):
        name = random_name(taken)
        assert check_name(name) == name
        assert name not in taken
        taken.add(name)


def test_others_builders_are_not_for_us() -> None:
    require_local(default_builder())
    with pytest.raises(MachineError, match=r'^builder "b" has the driver docker-container, which'):
        require_local(SavedBuilder(name="b", driver="docker-container"))
