from __future__ import annotations

import pytest

from polyarch.text.jsontext import read_json


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"a": [1, "x"]}', {"a": [1, "x"]}),
        (b'"\xff"', "\ufffd"),
        (b'"\xed\xa0\x80"', "\ufffd" * 3),
        (rb'{"\ud800": "\uDC00"}', {"\ufffd": "\ufffd"}),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        ('"\ud800"', "\ufffd"),
    ],
)
def test_what_is_read(data: bytes | str, expected: object) -> None:
    assert read_json(data) == expected


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"nothing", b"NaN", b"[-Infinity]", b'{"a": Infinity}', b"1" * 5000),
        *(b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b'"\\ud800"' + b"]" * 100_000),
        *(b"\xff\xfe[\x00", b'"\t"', b"[1] [2]"),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_whatever_is_wrong_is_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_json(data)
