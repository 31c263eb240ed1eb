"""Records against `dataclasses`, which they stand in for."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.record import asdict, field, frozen, mutable, replace


@frozen
class Point:
    kind: ClassVar[str] = "point"
    x: int
    y: int = 0
    tags: tuple[str, ...] = ()
    label: str = field(default="", compare=False)
    secret: str = field(default="hidden", repr=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Twin:
    kind: ClassVar[str] = "point"
    x: int
    y: int = 0
    tags: tuple[str, ...] = ()
    label: str = dataclasses.field(default="", compare=False)
    secret: str = dataclasses.field(default="hidden", repr=False)


@frozen
class Line:
    ends: tuple[Point, ...]
    middle: Point | None = None


@mutable
class Counter:
    count: int = 0
    seen: list[str] = field(default_factory=list)


NUMBERS = st.integers(-2, 2)
TEXTS = st.sampled_from(["", "a", "b"])
VALUES = st.fixed_dictionaries(
    {"x": NUMBERS},
    optional={"y": NUMBERS, "tags": st.lists(TEXTS).map(tuple), "label": TEXTS, "secret": TEXTS},
)


@given(one=VALUES, other=VALUES)
def test_records_are_equal_and_hash_as_dataclasses_do(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    records, twins = (Point(**one), Point(**other)), (Twin(**one), Twin(**other))

    assert (records[0] == records[1]) is (twins[0] == twins[1])
    assert [hash(each) for each in records] == [hash(each) for each in twins]


@given(values=VALUES)
def test_records_are_shown_and_taken_apart_as_dataclasses_are(values: dict[str, Any]) -> None:
    record, twin = Point(**values), Twin(**values)

    assert repr(record) == repr(twin).replace("Twin", "Point")
    assert asdict(record) == dataclasses.asdict(twin)


@given(values=VALUES, changes=VALUES)
def test_replace_does_as_for_dataclasses(values: dict[str, Any], changes: dict[str, Any]) -> None:
    replaced = replace(Point(**values), **changes)

    assert asdict(replaced) == dataclasses.asdict(dataclasses.replace(Twin(**values), **changes))


@given(values=VALUES)
def test_copies_are_equal(values: dict[str, Any]) -> None:
    record = Point(**values)

    assert [copy.copy(record), copy.deepcopy(record), pickle.loads(pickle.dumps(record))] == [
        record
    ] * 3


def test_replace_leaves_the_original_alone() -> None:
    point = Point(x=1)

    assert (replace(point, x=2).x, point.x) == (2, 1)


def test_asdict_goes_into_records_in_tuples() -> None:
    line = Line(ends=(Point(x=1), Point(x=2, secret="s")))

    assert asdict(line) == {
        "ends": (
            {"x": 1, "y": 0, "tags": (), "label": "", "secret": "hidden"},
            {"x": 2, "y": 0, "tags": (), "label": "", "secret": "s"},
        ),
        "middle": None,
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "Point needs a value for x"),
        ({"x": 1, "z": 2}, "Point has no field z"),
        ({"z": 2}, "Point needs a value for x"),
    ],
)
def test_fields_are_checked(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}$"):
        Point(**values)


def test_replace_refuses_unknown_fields() -> None:
    with pytest.raises(TypeError, match=r"^Point has no field z$"):
        replace(Point(x=1), z=2)


def test_fields_go_by_keyword() -> None:
    with pytest.raises(TypeError):
        Point(1)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["x", "new"])
def test_a_frozen_record_never_changes(name: str) -> None:
    point = Point(x=1)

    with pytest.raises(AttributeError, match=f"^'{name}' of a Point can't be changed$"):
        setattr(point, name, 2)
    with pytest.raises(AttributeError, match="can't be changed"):
        delattr(point, name)


def test_records_of_different_classes_differ() -> None:
    @frozen
    class Other:
        ends: tuple[Point, ...]
        middle: Point | None = None

    different: tuple[object, ...] = (Other(ends=()), ((), None))
    assert Line(ends=()) not in different


def test_a_mutable_record_is_equal_to_itself_alone() -> None:
    one, other = Counter(), Counter()
    one.count += 1
    one.seen.append("a")

    assert (one.count, one.seen, other.count, other.seen) == (1, ["a"], 0, [])
    assert one != Counter(count=1, seen=["a"])
    assert one == one  # noqa: PLR0124 that is the claim
    assert {one: 1}[one] == 1


def test_fields_are_inherited_and_checked_together() -> None:
    @frozen
    class Base:
        name: str
        size: int = 1

    @frozen
    class Derived(Base):
        extra: str = ""

        def __post_init__(self) -> None:
            if self.size < 0:
                raise ValueError(self.name)

    assert repr(Derived(name="a")).endswith("Derived(name='a', size=1, extra='')")
    with pytest.raises(ValueError, match=r"^small$"):
        Derived(name="small", size=-1)


def test_what_the_class_says_itself_is_kept() -> None:
    @frozen
    class Named:
        name: str
        place: int = 0

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Named) and other.name == self.name

        def __hash__(self) -> int:
            return hash(self.name)

        def __repr__(self) -> str:
            return self.name

    assert Named(name="a", place=1) == Named(name="a", place=2)
    assert repr(Named(name="a")) == "a"


def test_dataclasses_know_the_fields() -> None:
    fields = dataclasses.fields(Point)

    assert [(each.name, each.compare, each.repr) for each in fields] == [
        (each.name, each.compare, each.repr) for each in dataclasses.fields(Twin)
    ]
