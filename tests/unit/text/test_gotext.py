from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.errors import InputError
from polyarch.text.gotext import (
    csv_fields,
    is_space,
    parse_bool,
    parse_duration,
    parse_int,
    parse_size,
    parse_uint,
    quote,
    suggestion,
)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a b", '"a b"'),
        ('a"b\\', r'"a\"b\\"'),
        ("a\tb\n", r'"a\tb\n"'),
        ("é✓", '"é✓"'),
        ("\x00\x1b\x7f", r'"\x00\x1b\x7f"'),
        ("\u200b\xa0", r'"\u200b\u00a0"'),
        ("\U000e0001", r'"\U000e0001"'),
    ],
)
def test_quote(text: str, quoted: str) -> None:
    assert quote(text) == quoted


def test_is_space() -> None:
    assert [char for char in " \t\n\x1c\xa0\u3000a" if is_space(char)] == [
        " ",
        "\t",
        "\n",
        "\xa0",
        "\u3000",
    ]


def test_parse_bool() -> None:
    assert [parse_bool(text) for text in ("1", "True", "f", "yes", "")] == [
        True,
        True,
        False,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("text", "base", "number"),
    [("0755", 8, 0o755), ("9", 8, None), ("10", 10, 10), ("-1", 10, None), ("", 10, None)],
)
def test_parse_uint(text: str, base: int, number: int | None) -> None:
    assert parse_uint(text, base=base, bits=32) == number


def test_parse_uint_of_too_many_bits() -> None:
    assert parse_uint("4294967296", base=10, bits=32) is None
    assert parse_uint("1" * 10000, base=10, bits=32) is None
    assert parse_uint("0" * 10000 + "7", base=10, bits=32) == 7


def test_parse_int() -> None:
    assert [parse_int(text, bits=32) for text in ("7", "-7", "+7", "007")] == [7, -7, 7, 7]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "invalid syntax"),
        ("x", "invalid syntax"),
        ("1_0", "invalid syntax"),
        ("2147483648", "value out of range"),
    ],
)
def test_parse_int_refuses(text: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_int(text, bits=32)

    assert str(caught.value) == f'strconv.ParseInt: parsing "{text}": {reason}'


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("5s", 5_000_000_000),
        ("1h2m3.5s", 3_723_500_000_000),
        ("-1.5ms", -1_500_000),
        ("+2us", 2_000),
        ("3µs", 3_000),
        (".5s", 500_000_000),
        ("1.s", 1_000_000_000),
        ("0.000000000001h", 3),
    ],
)
def test_parse_duration(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("5", 'time: missing unit in duration "5"'),
        (".s", 'time: invalid duration ".s"'),
        ("5 s", 'time: unknown unit " s" in duration "5 s"'),
        ("5d", 'time: unknown unit "d" in duration "5d"'),
        ("9999999h", 'time: invalid duration "9999999h"'),
        ("9" * 9999 + "h", None),
    ],
)
def test_parse_duration_refuses(text: str, message: str | None) -> None:
    with pytest.raises(InputError) as caught:
        parse_duration(text)

    assert message is None or str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10", 10),
        ("10b", 10),
        ("1k", 1024),
        ("1.5 MiB", 1572864),
        ("2GB", 2147483648),
        ("1e3", 1000),
        ("+5. ", 5),
        ("1e999", None),
        ("1e", None),
        ("1x", None),
        ("", None),
        ("-1", None),
        ("99999999p", None),
    ],
)
def test_parse_size(text: str, size: int | None) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "EOF"),
        ('a"', 'parse error on line 1, column 2: bare " in non-quoted-field'),
        ('"a', 'parse error on line 1, column 2: extraneous or missing " in quoted-field'),
        ('"a"b', 'parse error on line 1, column 3: extraneous or missing " in quoted-field'),
    ],
)
def test_csv_fields_refuses(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        csv_fields(text)

    assert str(caught.value) == message


@given(st.lists(st.text(alphabet='ab,"= ', min_size=1), min_size=1))
def test_csv_fields_reads_what_a_writer_wrote(fields: list[str]) -> None:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)

    assert csv_fields(line.getvalue()) == fields


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("typ", " (did you mean type?)"),
        ("source", ""),
        ("frob", " (did you mean from?)"),
        ("nothing-like-it", ""),
        ("", ""),
    ],
)
def test_suggestion(wrong: str, expected: str) -> None:
    assert suggestion(wrong, ("from", "source", "type")) == expected


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [("FRON", "FROM"), ("fron", "from"), ("Fron", "from"), ("COPY", "")],
)
def test_suggestion_keeps_the_case(wrong: str, expected: str) -> None:
    text = f" (did you mean {expected}?)" if expected else ""
    assert suggestion(wrong, ("copy", "from"), fold_case=True) == text
