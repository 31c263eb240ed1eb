"""The wire format of Protocol Buffers; the bytes are those of its documentation."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.errors import IntegrityError
from polyarch.wire import field, fields


@pytest.mark.parametrize(
    ("number", "value", "data"),
    [
        (1, 150, "089601"),
        (2, "testing", "120774657374696e67"),
        (3, b"\x08\x96\x01", "1a03089601"),
        (1, -2, "08feffffffffffffffff01"),
        (16, True, "800101"),
        (1, 0, ""),
        (1, "", ""),
    ],
)
def test_a_field_is_written_as_the_documentation_has_it(
    number: int, value: int | str | bytes, data: str
) -> None:
    assert field(number, value).hex() == data


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 2**64 - 1) | st.binary(min_size=1))))
def test_what_is_written_is_read(pairs: list[tuple[int, int | bytes]]) -> None:
    assert list(fields(b"".join(field(*pair) for pair in pairs))) == pairs


def test_numbers_of_fixed_size_are_passed_over_as_bytes() -> None:
    assert list(fields(bytes.fromhex("0d01020304") + field(2, 1))) == [(1, b"\1\2\3\4"), (2, 1)]


@given(st.binary())
def test_nothing_but_our_error_comes_of_other_bytes(data: bytes) -> None:
    numbers: list[int] = []
    with suppress(IntegrityError):
        numbers += (number for number, _ in fields(data))

    assert all(number >= 0 for number in numbers)
