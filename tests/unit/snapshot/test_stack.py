"""Stacks as cache records have them, and what the results of steps are known by."""

from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.snapshot.stack import LayerRef, LayerStack, take_apart


def stack(*names: str, more: tuple[LayerStack, ...] = ()) -> LayerStack:
    layers = tuple(LayerRef(snapshot=SnapshotID(each)) for each in names)
    return LayerStack(layers=layers, more=more)


def test_other_outputs_are_written_and_read() -> None:
    whole = stack("a", "b", more=(stack("c"), stack("a", "d")))

    assert LayerStack.from_json(whole.to_json()) == whole
    assert LayerStack.from_json(stack("a").to_json()) == stack("a")
    assert [each.snapshot for each in whole.all_layers] == ["a", "b", "c", "a", "d"]


def test_a_result_is_gone_with_any_part_of_any_output() -> None:
    whole = stack("a", "b", more=(stack("c"),))

    parts = list(take_apart(whole.to_json()))

    assert parts[0].identity == whole.identity
    assert {each.part for each in parts} >= {"a", "b", "c"}
    assert len({whole.identity, stack("a", "b").identity, stack("a", "b", "c").identity}) == 3


def test_what_is_no_stack_has_no_parts() -> None:
    assert list(take_apart("{}")) == []
