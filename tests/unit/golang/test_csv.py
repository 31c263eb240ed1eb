"""CSV lines, with the answers of go-csvvalue to the same ones."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.errors import InputError
from polyarch.golang.csv import csv_fields


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a,b", ["a", "b"]),
        (",", ["", ""]),
        ('"a,b",c', ["a,b", "c"]),
        ('"a""b"', ['a"b']),
        ("a\r\n", ["a"]),
        ("a\nb\n", ["a\nb"]),
        (" a , b ", [" a ", " b "]),
        ('""', [""]),
    ],
)
def test_csv_fields(text: str, fields: list[str]) -> None:
    assert csv_fields(text) == fields


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "EOF"),
        ("\n", "EOF"),
        ('a=é"', 'parse error on line 1, column 5: bare " in non-quoted-field'),
        ('x,"a"b', 'parse error on line 1, column 5: extraneous or missing " in quoted-field'),
        ('"a""b', 'parse error on line 1, column 5: extraneous or missing " in quoted-field'),
        ('"', 'parse error on line 1, column 2: extraneous or missing " in quoted-field'),
        ('"abc', 'parse error on line 1, column 2: extraneous or missing " in quoted-field'),
        ('"ab""c', 'parse error on line 1, column 6: extraneous or missing " in quoted-field'),
        ('é,"b', 'parse error on line 1, column 5: extraneous or missing " in quoted-field'),
        ('"é"x', 'parse error on line 1, column 4: extraneous or missing " in quoted-field'),
        ('a\udcff"', 'parse error on line 1, column 3: bare " in non-quoted-field'),
    ],
)
def test_csv_fields_refuses(text: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        csv_fields(text)

    assert str(raised.value) == message


@given(st.lists(st.text(alphabet='ab,"= ', min_size=1), min_size=1))
def test_csv_fields_reads_what_needs_no_quotes(fields: list[str]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(fields)

    assert csv_fields(out.getvalue()) == fields


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))))
def test_csv_fields_reads_what_python_writes(fields: list[str]) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow([*fields, "end"])

    assert csv_fields(out.getvalue()) == [*fields, "end"]


def test_csv_fields_with_colons() -> None:
    assert csv_fields("run=red:error=1,2,3", comma=":") == ["run=red", "error=1,2,3"]
