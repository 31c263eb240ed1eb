"""Go's strconv, with the answers of Go 1.27 to the same texts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.errors import InputError
from polyarch.golang.strconv import (
    can_backquote,
    find_bool,
    parse_bool,
    parse_float,
    parse_int,
    parse_uint,
    quote,
    quote_rune,
    quote_to_ascii,
    rune,
    unquote,
    unquote_char,
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
        ("a\x80b\udcff\udc80", r'"a\u0080b\xff\x80"'),
        ("\xad\ufeff\u2028'`", r'''"\u00ad\ufeff\u2028'`"'''),
        ("\ufffd", '"\ufffd"'),
    ],
)
def test_quote(text: str, quoted: str) -> None:
    assert quote(text) == quoted


@pytest.mark.parametrize(
    ("code", "literal"),
    [
        (0x61, "'a'"),
        (0x0A, r"'\n'"),
        (0x27, r"'\''"),
        (0x22, "'\"'"),
        (0x7F, r"'\x7f'"),
        (0x85, r"'\u0085'"),
        (0xD800, "'\ufffd'"),
        (0x110000, "'\ufffd'"),
        (-1, "'\ufffd'"),
    ],
)
def test_quote_rune(code: int, literal: str) -> None:
    assert quote_rune(code) == literal


def test_quotes_in_ascii_and_backquotes() -> None:
    assert quote_to_ascii('é"\u2713\U0001f600\udcff') == r'"\u00e9\"\u2713\U0001f600\xff"'
    assert quote_rune(0xE9, ascii_only=True) == r"'\u00e9'"
    assert [rune(code) for code in (0x41, 0xD800, 0x110000, -1)] == [
        "A",
        "\ufffd",
        "\ufffd",
        "\ufffd",
    ]
    assert [can_backquote(text) for text in ("a\té", "a`", "\n", "\x7f", "\ufeff", "\udcff")] == [
        True,
        *[False] * 5,
    ]


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff")))
def test_what_is_quoted_can_be_unquoted(text: str) -> None:
    # Bytes that make a character together are one: as if the text had been read from a file.
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")

    assert unquote(quote(text)) == whole


@given(st.integers(0, 0xD7FF) | st.integers(0xE000, 0x10FFFF))
def test_runes_that_are_quoted_can_be_unquoted(code: int) -> None:
    assert unquote_char(quote_rune(code)) == code


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        (r'"\a\b\f\n\r\t\v\\\""', '\a\b\f\n\r\t\v\\"'),
        (r'"\x41\101\u00e9\U0001f600"', "AAé\U0001f600"),
        (r'"\303\251\xff"', "é\udcff"),
        ('`a\\n"\r\n`', 'a\\n"\n'),
        ('""', ""),
    ],
)
def test_unquote(literal: str, text: str) -> None:
    assert unquote(literal) == text


@pytest.mark.parametrize(
    "literal",
    [
        *("", '"', "'a'", '"a', "`a", '"a`', "`a`b`", '"a"b"', '"a\nb"', r'"\"', r'"\q"', r'"\'"'),
        *(r'"\x4"', r'"\xg0"', r'"\400"', r'"\08"', r'"\u12"', r'"\ud800"', r'"\U00110000"'),
    ],
)
def test_unquote_refuses(literal: str) -> None:
    with pytest.raises(InputError, match=r"\Ainvalid syntax\Z"):
        unquote(literal)


@pytest.mark.parametrize("literal", ["", "''", "'ab'", "'a", '"a"', r"'\"'", "'" * 3])
def test_unquote_char_refuses(literal: str) -> None:
    with pytest.raises(InputError, match=r"\Ainvalid syntax\Z"):
        unquote_char(literal)


def test_unquote_char() -> None:
    assert [unquote_char(each) for each in ("'a'", r"'\''", r"'\xff'", "'é'")] == [97, 39, 255, 233]


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


def test_find_bool() -> None:
    assert [find_bool(text) for text in ("1", "True", "f", "yes", "")] == [
        True,
        True,
        False,
        None,
        None,
    ]


@given(st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1))
def test_parse_int_reads_what_is_printed(number: int) -> None:
    assert parse_int(str(number)) == number


def test_parse_int_with_signs_and_zeros() -> None:
    assert [parse_int(text, bits=32) for text in ("7", "-7", "+7", "007", "-0")] == [7, -7, 7, 7, 0]


@pytest.mark.parametrize(
    ("text", "bits", "reason"),
    [
        ("", 64, "invalid syntax"),
        ("-", 64, "invalid syntax"),
        ("x", 64, "invalid syntax"),
        ("1_0", 64, "invalid syntax"),
        (" 1", 64, "invalid syntax"),
        ("٣", 64, "invalid syntax"),
        ("9223372036854775808", 64, "value out of range"),
        ("-9223372036854775809", 64, "value out of range"),
        ("2147483648", 32, "value out of range"),
        ("-2147483649", 32, "value out of range"),
        # Go reads from the left, and stops at the first thing that is wrong.
        ("18446744073709551615x", 64, "invalid syntax"),
        ("18446744073709551616x", 64, "value out of range"),
        ("1" * 10_000, 64, "value out of range"),
    ],
)
def test_parse_int_refuses(text: str, bits: int, reason: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_int(text, bits=bits)

    assert str(raised.value) == f'strconv.ParseInt: parsing "{text}": {reason}'


def test_parse_uint() -> None:
    assert parse_uint("0755", base=8, bits=32) == 0o755
    assert parse_uint("18446744073709551615") == (1 << 64) - 1
    assert parse_uint("0" * 10_000 + "7") == 7


@pytest.mark.parametrize(
    ("text", "base", "reason"),
    [
        ("", 10, "invalid syntax"),
        ("9", 8, "invalid syntax"),
        ("+1", 10, "invalid syntax"),
        ("-1", 10, "invalid syntax"),
        ("4294967296", 10, "value out of range"),
        ("400000000009", 8, "value out of range"),
        ("1" * 10_000, 10, "value out of range"),
    ],
)
def test_parse_uint_refuses(text: str, base: int, reason: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_uint(text, base=base, bits=32)

    assert str(raised.value) == f'strconv.ParseUint: parsing "{text}": {reason}'


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_parse_float_reads_what_is_printed(number: float) -> None:
    assert parse_float(repr(number)) == number


def test_parse_float_of_nan() -> None:
    assert math.isnan(parse_float("NaN"))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0x1p4", 16.0),
        ("-0x.8p1", -1.0),
        ("0x_1p4", 16.0),
        ("0X1_0p1_0", 16384.0),
        ("0x1p-2000", 0.0),
        ("1_000.5", 1000.5),
        ("1_2e1_0", 12e10),
        ("+Inf", math.inf),
        ("-infinity", -math.inf),
        ("5.", 5.0),
        ("1e-400", 0.0),
    ],
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
        ("1._0", "invalid syntax"),
        ("1e_1", "invalid syntax"),
        ("0x1__0p1", "invalid syntax"),
        ("0x1p_1", "invalid syntax"),
        ("0x.p1", "invalid syntax"),
        ("-nan", "invalid syntax"),
        ("infinit", "invalid syntax"),
        ("٣", "invalid syntax"),
        ("1e400", "value out of range"),
        ("0x1p9999", "value out of range"),
    ],
)
def test_parse_float_refuses(text: str, reason: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_float(text)

    assert str(raised.value) == f'strconv.ParseFloat: parsing "{text}": {reason}'
