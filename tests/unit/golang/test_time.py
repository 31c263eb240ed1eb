"""Durations and times, with the answers of Go 1.27 to the same ones."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.errors import InputError
from polyarch.golang.time import duration_text, find_time, parse_duration, time_of


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
        ("-0", 0),
        ("3μs", 3_000),
        ("1.9999999999999999999s", 2_000_000_000),
        ("0.9223372036854775808h", 3_320_413_933_267),
        ("0.00000000000000000000000001h", 0),
        ("2562047h47m16.854775807s", (1 << 63) - 1),
        ("-9223372036854775808ns", -(1 << 63)),
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
        ("9223372036854775808ns", 'time: invalid duration "9223372036854775808ns"'),
        ("99999999999999999999x", 'time: invalid duration "99999999999999999999x"'),
        ("1h-1s", 'time: unknown unit "h-" in duration "1h-1s"'),
        ("1..s", 'time: missing unit in duration "1..s"'),
        ('1é"', r'time: unknown unit "\xc3\xa9\"" in duration "1\xc3\xa9\""'),
        ("9" * 9999 + "h", 'time: invalid duration "' + "9" * 9999 + 'h"'),
    ],
)
def test_parse_duration_refuses(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_duration(text)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (250_000_000, "250ms"),
        (1_500_000_000, "1.5s"),
        (30_000_000_000, "30s"),
        (60_000_000_000, "1m0s"),
        (3_600_000_000_000, "1h0m0s"),
        (5_430_000_000_000, "1h30m30s"),
        (-2_000_000_000, "-2s"),
    ],
)
def test_duration_text(nanoseconds: int, text: str) -> None:
    assert duration_text(nanoseconds) == text


@given(st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1))
def test_durations_are_read_back(nanoseconds: int) -> None:
    assert parse_duration(duration_text(nanoseconds)) == nanoseconds


@given(seconds=st.floats(-2_000_000_000, 253_402_300_799))
def test_times_are_read_back(seconds: float) -> None:
    text = time_of(seconds).rfc3339()
    whole, _, part = text.removesuffix("Z").partition(".")
    found = datetime.fromisoformat(f"{whole}+00:00").astimezone(UTC)

    nanoseconds = Fraction(int(found.timestamp())) + Fraction(f"0.{part or 0}")
    assert 0 <= Fraction(seconds) - nanoseconds < Fraction(1, 1_000_000_000)
    assert not part.endswith("0")
    assert len(part) <= 9


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (0.5, "1970-01-01T00:00:00.5Z"),
        (-0.25, "1969-12-31T23:59:59.75Z"),
        (951_782_400.25, "2000-02-29T00:00:00.25Z"),
        (1_700_000_000.0, "2023-11-14T22:13:20Z"),
    ],
)
def test_times_as_go_writes_them(seconds: float, text: str) -> None:
    assert time_of(seconds).rfc3339() == text


@pytest.mark.parametrize(
    ("text", "string", "layout"),
    [
        ("2024-01-02T03:04:05Z", "2024-01-02 03:04:05 +0000 UTC", "2024-01-02T03:04:05Z"),
        ("2024-01-02T03:04:05.120Z", "2024-01-02 03:04:05.12 +0000 UTC", "2024-01-02T03:04:05.12Z"),
        (
            "2024-01-02T03:04:05.1234567899+05:30",
            "2024-01-02 03:04:05.123456789 +0530 +0530",
            "2024-01-02T03:04:05.123456789+05:30",
        ),
        ("2024-01-02T03:04:05,0-00:00", "2024-01-02 03:04:05 +0000 UTC", "2024-01-02T03:04:05Z"),
    ],
)
def test_times_are_written_anew(text: str, string: str, layout: str) -> None:
    time = find_time(text)

    assert time is not None
    assert (str(time), time.rfc3339()) == (string, layout)


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "2024-1-02T03:04:05Z", "2024-13-02T03:04:05Z", "2024-01-32T03:04:05Z"),
        *("2024-01-02t03:04:05z", "2024-01-02T24:00:00Z", "2024-01-02T03:04:60Z"),
        *("2024-01-02T03:04:05", "2024-01-02T03:04:05.Z", "\uff12024-01-02T03:04:05Z"),
    ],
)
def test_what_is_no_time(text: str) -> None:
    assert find_time(text) is None
