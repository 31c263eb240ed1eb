from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.cli.gotext import parse_bool, parse_float, parse_int
from polyarch.errors import InputError


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_parse_bool_true(text: str) -> None:
    assert parse_bool(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_parse_bool_false(text: str) -> None:
    assert parse_bool(text) is False


@pytest.mark.parametrize("text", ["", "yes", "tRUE", " true"])
def test_parse_bool_refuses(text: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_bool(text)

    assert str(raised.value) == f'strconv.ParseBool: parsing "{text}": invalid syntax'


@given(st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1))
def test_parse_int_reads_what_is_printed(number: int) -> None:
    assert parse_int(str(number)) == number


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "invalid syntax"),
        ("1_000", "invalid syntax"),
        (" 1", "invalid syntax"),
        ("٣", "invalid syntax"),
        ("9223372036854775808", "value out of range"),
    ],
)
def test_parse_int_refuses(text: str, reason: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_int(text)

    assert str(raised.value) == f'strconv.ParseInt: parsing "{text}": {reason}'


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_parse_float_reads_what_is_printed(number: float) -> None:
    assert parse_float(repr(number)) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [("0x1p4", 16.0), ("-0x.8p1", -1.0), ("1_000.5", 1000.5), ("+Inf", float("inf")), ("5.", 5.0)],
)
def test_parse_float_forms(text: str, number: float) -> None:
    assert parse_float(text) == number


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "invalid syntax"),
        ("1 ", "invalid syntax"),
        ("0x10", "invalid syntax"),
        ("1__0", "invalid syntax"),
        ("1e400", "value out of range"),
        ("0x1p9999", "value out of range"),
    ],
)
def test_parse_float_refuses(text: str, reason: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_float(text)

    assert str(raised.value) == f'strconv.ParseFloat: parsing "{text}": {reason}'
