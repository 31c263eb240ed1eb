"""The stops of a build: in which order they come, what is there at each, and how one goes from one to another."""

from __future__ import annotations

from polyarch.debugger.node import Input, Node
from polyarch.debugger.tour import Stop, find_out, find_over, tour
from polyarch.graph.location import Location, SourceText

SOURCE = SourceText(name="Dockerfile", text="")


def node(line: int, *inputs: Node, parent: int = -1) -> Node:
    """Return a step of a line, which takes what it is given; a line of 0 is none."""
    given = tuple(Input(node=each, label=each.key) for each in inputs)
    place = Location(source=SOURCE, start=line, end=line) if line else None
    key = f"{line}" if line else f"unplaced {id(given)}"
    return Node(key=key, name=key, inputs=given, parent=parent, location=place)


def stage(first: int, last: int) -> Node:
    found = node(first)
    for line in range(first + 1, last + 1):
        found = node(line, found, parent=0)
    return found


def shown(stop: Stop) -> tuple[str, int, bool]:
    return stop.node.key, stop.depth, stop.is_after


def test_a_stage_is_gone_through_from_its_first_step_and_ends_with_a_stop_after_the_last() -> None:
    stops = tour(stage(1, 3))

    assert [shown(each) for each in stops] == [
        ("1", 0, False),
        ("2", 0, False),
        ("3", 0, False),
        ("3", 0, True),
    ]
    assert [[each.node.key for each in stop.ready] for stop in stops] == [[], ["1"], ["2"], ["3"]]
    assert [each.is_first for each in stops] == [True, True, True, False]


def test_what_a_step_takes_of_other_stages_lies_between_two_stops_before_it() -> None:
    stops = tour(node(9, stage(7, 8), stage(1, 2), stage(4, 5), parent=0))

    assert [shown(each) for each in stops] == [
        ("7", 0, False),
        ("8", 0, False),
        ("9", 0, False),
        ("1", 1, False),
        ("2", 1, False),
        ("2", 1, True),
        ("9", 0, False),
        ("4", 1, False),
        ("5", 1, False),
        ("5", 1, True),
        ("9", 0, False),
        ("9", 0, True),
    ]
    before = [stop for stop in stops if stop.node.key == "9" and not stop.is_after]
    assert [[each.node.key for each in stop.ready] for stop in before] == [
        ["8"],
        ["8", "2"],
        ["8", "2", "5"],
    ]


def test_over_is_the_next_step_of_the_stage_and_out_what_the_stage_is_for() -> None:
    stops = tour(node(9, stage(1, 2), stage(4, 5)))
    numbers = range(len(stops))

    assert [shown(each)[:2] for each in stops] == [
        ("9", 0), ("1", 1), ("2", 1), ("2", 1), ("9", 0), ("4", 1), ("5", 1), ("5", 1), ("9", 0), ("9", 0)
    ]  # fmt: skip
    assert [find_over(stops, each) for each in numbers] == [9, 2, 3, 4, 9, 6, 7, 8, 9, None]
    assert [find_out(stops, each) for each in numbers] == [
        None, 4, 4, 4, None, 8, 8, 8, None, None
    ]  # fmt: skip


def test_what_two_steps_take_is_gone_through_once() -> None:
    base = stage(1, 2)
    one, two = node(4, base, parent=0), node(6, base, parent=0)

    stops = tour(node(8, one, two))

    assert [each.node.key for each in stops] == ["8", "1", "2", "4", "4", "8", "6", "6", "8", "8"]


def test_what_stands_in_no_text_is_no_stop() -> None:
    context = node(0)

    stops = tour(node(2, node(1), context, parent=0))

    assert [each.node.key for each in stops] == ["1", "2", "2"]
    assert [each.label for each in stops[1].shown] == ["1", context.key]
    assert tour(context) == ()


def test_stages_in_one_another_need_no_stack() -> None:
    found = stage(1, 2)
    for line in range(3, 3000):
        found = node(line, found)

    assert len(tour(found)) > 6000
