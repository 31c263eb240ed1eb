"""Sizes and durations, with the answers of go-units and tonistiigi/units to the same ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.errors import InputError
from polyarch.golang.units import (
    bytes_size,
    human_duration,
    human_size,
    limit_size,
    progress_size,
    ram_in_bytes,
)


@pytest.mark.parametrize(
    ("size", "decimal", "binary", "progress"),
    [
        (0, "0B", "0B", "0B"),
        (999, "999B", "999B", "999B"),
        (4096, "4.096kB", "4KiB", "4.10kB"),
        (1_000_000, "1MB", "976.6KiB", "1.00MB"),
        (999_999_999_999, "1000GB", "931.3GiB", "1000.00GB"),
        (1 << 50, "1.126PB", "1PiB", "1.13PB"),
    ],
)
def test_sizes(size: int, decimal: str, binary: str, progress: str) -> None:
    assert (human_size(size), bytes_size(size), progress_size(size)) == (
        decimal,
        binary,
        progress,
    )


@pytest.mark.parametrize(
    ("size", "text"),
    [(2 << 20, "2MiB"), (200 << 10, "200KiB"), (1536, "1.5KiB"), (500, "500B"), (0, "0B")],
)
def test_limit_size(size: int, text: str) -> None:
    assert limit_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (120, "2 minutes"),
        (3600, "About an hour"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_human_duration(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64m", 64 << 20),
        ("64 MiB", 64 << 20),
        ("1.5g", 3 << 29),
        ("10b", 10),
        ("1e3", 1000),
        ("1e30", -(1 << 63)),
        ("1p", 1 << 50),
        ("1_0", 10),
        ("0x_1p4k", 16 << 10),
        ("10 ", 10),
        ("-0", 0),
        ("1\u212a", 1 << 10),
        ("8191p", 8191 << 50),
        ("8192p", -(1 << 63)),
        ("9223372036854775807", -(1 << 63)),
    ],
)
def test_ram_in_bytes(text: str, size: int) -> None:
    assert ram_in_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid size: ''"),
        ("m", "invalid size: 'm'"),
        ("-1", "invalid size: '-1'"),
        ("inf", "invalid size: 'inf'"),
        ("1__0", 'strconv.ParseFloat: parsing "1__0": invalid syntax'),
        ("1mm", "invalid suffix: 'mm'"),
        ("1Kilo", "invalid suffix: 'Kilo'"),
        ("1bb", "invalid suffix: 'bb'"),
        ("1\udca9", "invalid suffix: '\udca9'"),
        ("1  m", 'strconv.ParseFloat: parsing "1 ": invalid syntax'),
    ],
)
def test_ram_in_bytes_refuses(text: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        ram_in_bytes(text)

    assert str(raised.value) == message


@given(st.integers(min_value=0, max_value=1 << 53))
def test_whole_sizes_are_read_as_they_are(size: int) -> None:
    assert ram_in_bytes(str(size)) == size


@given(st.integers(min_value=0, max_value=1 << 60))
def test_binary_sizes_are_close_when_read_back(size: int) -> None:
    text = bytes_size(size)

    # Flags know no exbibytes.
    assert "EiB" in text or ram_in_bytes(text) == pytest.approx(size, rel=1e-3, abs=1)
