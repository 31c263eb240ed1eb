from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.cli.csvfields import csv_fields, csv_value
from polyarch.errors import InputError


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
    ],
)
def test_csv_fields_refuses(text: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        csv_fields(text)

    assert str(raised.value) == message


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))))
def test_csv_fields_reads_what_python_writes(fields: list[str]) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow([*fields, "end"])

    assert csv_fields(out.getvalue()) == [*fields, "end"]


def test_csv_fields_with_colons() -> None:
    assert csv_fields("run=red:error=1,2,3", comma=":") == ["run=red", "error=1,2,3"]


def test_csv_value_quotes_commas() -> None:
    assert csv_value({"type": "image", "name": "a,b"}) == 'type=image,"name=a,b"'
