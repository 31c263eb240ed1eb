from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.cli.frame.table import (
    LINE,
    align,
    align_with_tabs,
    clipped,
    fitted,
    parse_format,
    table_width,
)
from polyarch.errors import InputError

TITLES = {"Name": "NAME", "Size": "SIZE"}
RECORDS = [{"Name": "alpine", "Size": "3MB"}, {"Name": "a-long-name", "Size": "10MB"}]
DEFAULT = "{{.Name}}\t{{.Size}}"


def listed(text: str) -> str:
    return parse_format(text, default=DEFAULT).render(RECORDS, titles=TITLES)


@pytest.mark.parametrize("text", ["", "table"])
def test_own_columns(text: str) -> None:
    assert listed(text) == "NAME          SIZE\nalpine        3MB\na-long-name   10MB\n"


def test_columns_by_template() -> None:
    assert listed(r"table {{.Size}}\t{{upper .Name}}\t{{.Size}}") == (
        "SIZE      NAME          SIZE\n3MB       ALPINE        3MB\n10MB      A-LONG-NAME   10MB\n"
    )


def test_a_template_without_a_table_is_not_aligned() -> None:
    assert listed(r"{{.Name}}\t{{.Size}}") == "alpine\t3MB\na-long-name\t10MB\n"


def test_json() -> None:
    assert listed("json") == (
        '{"Name":"alpine","Size":"3MB"}\n{"Name":"a-long-name","Size":"10MB"}\n'
    )


def test_pretty_is_left_to_the_command() -> None:
    form = parse_format("pretty", default=DEFAULT)

    assert form.template is None
    assert form.render(RECORDS, titles=TITLES) == ""


def test_an_empty_list_has_titles() -> None:
    assert parse_format("", default=DEFAULT).render([], titles=TITLES) == "NAME      SIZE\n"


def test_unknown_fields() -> None:
    assert listed("table {{.Nope}}") == "<no value>\n<no value>\n<no value>\n"
    with pytest.raises(InputError):
        parse_format("{{.Nope}}", default=DEFAULT).render(RECORDS, titles=TITLES, record="*x")


def test_align_as_docker_and_buildx_do() -> None:
    assert align("a\tb\x1b\nccc\td\n") == "a         b\\x1b\nccc       d\n"
    assert align("Name:\tx\nDriver:\ty", min_width=0, padding=1) == "Name:   x\nDriver: y"
    assert align_with_tabs("a\tb\n12345678\tc\n\nd\te\n") == "a\t\tb\n12345678\tc\n\nd\te\n"


@given(st.lists(st.lists(st.text("abc ", min_size=1), min_size=3, max_size=3), min_size=1))
def test_aligned_cells_begin_in_the_same_place(rows: list[list[str]]) -> None:
    lines = align("\n".join("\t".join(row) for row in rows)).split("\n")
    widths = [max(10, max(len(row[column]) for row in rows) + 3) for column in (0, 1)]

    assert lines == [row[0].ljust(widths[0]) + row[1].ljust(widths[1]) + row[2] for row in rows]


@pytest.mark.parametrize(
    ("room", "end", "start"), [(9, "a-name-x", "a-name-x"), (8, "a-name-x", "a-name-x"), (5, "a-na…", "…me-x")]
)  # fmt: skip
def test_what_is_cut_off_is_told(room: int, end: str, start: str) -> None:
    assert clipped("a-name-x", room) == end
    assert clipped("a-name-x", room, from_start=True) == start


@given(
    st.lists(
        st.fixed_dictionaries({"Name": st.text("ab", max_size=99), "Size": st.text("1", max_size=40)}),
        min_size=1,
        max_size=4,
    )
)  # fmt: skip
def test_a_fitted_table_is_as_wide_as_a_line(rows: list[dict[str, str]]) -> None:
    fitting = fitted(rows, TITLES, {"Name": (12, False)})

    text = parse_format("", default=DEFAULT).render(fitting, titles=TITLES)
    widths = [len(line) for line in text.splitlines()]
    assert max(widths) <= LINE
    assert max(widths) <= table_width(fitting, TITLES)
    assert [row["Size"] for row in fitting] == [row["Size"] for row in rows]
    assert table_width(rows, TITLES) > LINE or fitting == rows
