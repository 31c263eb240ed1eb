from __future__ import annotations

import pytest

from polyarch.golang.json import compact, indented, read_json


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
        *(
            b"",
            b"nothing",
            b"NaN",
            b"[-Infinity]",
            b'{"a": Infinity}',
            b"1" * 5000,
            b"1e999",
            b"1" * 310,
        ),
        *(b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b'"\\ud800"' + b"]" * 100_000),
        *(b"\xff\xfe[\x00", b'"\t"', b"[1] [2]"),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_whatever_is_wrong_is_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_json(data)


def test_numbers_as_large_as_floats_are_read() -> None:
    assert read_json("[1e308, 1" + "0" * 308 + "]") == [1e308, 10**308]


@pytest.mark.parametrize(
    ("text", "written", "for_people"),
    [
        ("<é>&", '"\\u003cé\\u003e\\u0026"', '"<é>&"'),
        ("\u2028\x7f\ufffd", '"\\u2028\x7f\ufffd"', '"\\u2028\x7f\ufffd"'),
        ("a\udcff\t", r'"a\ufffd\t"', r'"a\ufffd\t"'),
    ],
)
def test_texts_as_go_1_26_writes_them(text: str, written: str, for_people: str) -> None:
    assert compact(text) == written.encode()
    assert compact(text, for_html=False) == for_people.encode()


def test_objects() -> None:
    value = {"b": [1, True, None], "a": {}}

    assert compact(value) == b'{"b":[1,true,null],"a":{}}'
    assert compact(value, sort_keys=True) == b'{"a":{},"b":[1,true,null]}'
    assert indented({"b": ["<"]}) == b'{\n  "b": [\n    "\\u003c"\n  ]\n}'
