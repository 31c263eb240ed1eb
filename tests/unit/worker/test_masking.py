"""Secrets in what steps print."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.digest import sha256
from polyarch.errors import PolyarchError, RemoteError
from polyarch.progress import Event, StepEvent
from polyarch.worker.masking import MASK, Masker, forms

# Few letters, so that secrets overlap, touch, begin and end alike.
LETTERS = st.sampled_from(b"abc\n").map(lambda number: bytes((number,)))
TEXT = st.lists(LETTERS, max_size=60).map(b"".join)
SECRETS = st.lists(st.lists(LETTERS, min_size=1, max_size=9).map(b"".join), min_size=1, max_size=4)
MANY = st.lists(st.binary(min_size=4, max_size=24), min_size=30, max_size=60)


def masker_of(*secrets: bytes) -> Masker:
    masker = Masker()
    masker.teach(*secrets)
    return masker


def masked(masker: Masker, pieces: Sequence[bytes]) -> bytes:
    stream = masker.stream()
    return b"".join([*map(stream.feed, pieces), stream.end()])


def cut(text: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({min(place, len(text)) for place in places} | {0, len(text)})
    return [text[start:end] for start, end in itertools.pairwise(ends)]


def by_bytes(text: bytes, texts: Sequence[bytes]) -> bytes:
    """Mask as plainly as can be: mark each byte of each occurrence."""
    marks = bytearray(len(text))
    for each in texts:
        for start in range(len(text) - len(each) + 1):
            if text[start : start + len(each)] == each:
                marks[start : start + len(each)] = b"x" * len(each)
    shown = bytes(0 if mark else 1 for mark in marks)
    parts = re.split(rb"(\0+)", shown)
    out, place = b"", 0
    for part in parts:
        out += MASK if part.startswith(b"\0") else text[place : place + len(part)]
        place += len(part)
    return out


@given(TEXT, SECRETS, st.lists(st.integers(0, 60)))
def test_pieces_make_no_difference(text: bytes, secrets: list[bytes], places: list[int]) -> None:
    masker = masker_of(*secrets)

    assert masked(masker, cut(text, places)) == by_bytes(text, masker.finder.texts)


@given(MANY, st.data())
def test_many_secrets_are_found_as_few_are(secrets: list[bytes], data: st.DataObject) -> None:
    masker = masker_of(*secrets)
    parts = data.draw(st.lists(st.sampled_from(secrets) | st.binary(max_size=9), max_size=9))
    text = b"".join(parts)
    places = data.draw(st.lists(st.integers(0, len(text))))

    assert masked(masker, cut(text, places)) == by_bytes(text, masker.finder.texts)


@given(TEXT, SECRETS)
def test_no_secret_survives(text: bytes, secrets: list[bytes]) -> None:
    shown = masked(masker_of(*secrets), [text])

    lines = {line.strip() for secret in secrets for line in secret.splitlines()}
    assert not any(line in shown for line in lines if len(line) >= 4)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_other_bytes_are_unharmed(data: bytes, places: list[int]) -> None:
    masker = masker_of(b"the-owl-flies-at-4711")

    assert masked(masker, cut(data, places)) == data


@pytest.mark.parametrize(
    ("secret", "printed", "shown"),
    [
        (b"hunter2\n", b"it is hunter2!\n", b"it is ***!\n"),
        (b"abc", b"abc\n", b"abc\n"),
        (b"abcd", b"abcd\n", b"***\n"),
        (b"  first line\r\nsecond\n}\n", b"[first line|second|}]", b"[***|***|}]"),
        (b"abcabc", b"abcabcabc", b"***"),
        (b"a b/c+d", b"?q=a%20b%2Fc%2Bd&", b"?q=***&"),
        (b"\x00\xff\x00\xfe", b"<\x00\xff\x00\xfe>", b"<***>"),
        (b"-----BEGIN KEY-----\nabcdef\n-----END KEY-----\n", b"-----BEGIN KEY-----\nabcdef", b"-----BEGIN KEY-----\n***"),
        (b"Bearer abcdef\n", b"authorization: bearer abcdef", b"authorization: bearer ***"),
        (
            b"# of the shop\nexport A='abc def ghi jkl'\nB=4711\n",
            b"abc def ghi jkl, B=4711, 4711",
            b"***, ***, 4711",
        ),
        (b"A=abcdefghijkl\nnot a setting\n", b"abcdefghijkl", b"abcdefghijkl"),
        (b"", b"nothing", b"nothing"),
    ],
)  # fmt: skip
def test_forms(secret: bytes, printed: bytes, shown: bytes) -> None:
    assert masked(masker_of(secret), [printed]) == shown


@pytest.mark.parametrize("before", ["", "u", "me:", "user:"])
@pytest.mark.parametrize("code", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_is_masked_at_any_place(before: str, code: Callable[[bytes], bytes]) -> None:
    secret = b"the-owl-flies-at-4711?>"
    coded = code(before.encode() + secret)

    shown = masked(masker_of(secret + b"\n"), [b"Basic " + coded + b"\n"])

    assert MASK in shown
    assert len(shown) < 24


def test_base64_in_lines_is_masked() -> None:
    secret = bytes(range(256))
    coded = base64.encodebytes(secret)

    assert set(masked(masker_of(secret), [coded]).split(b"\n")[:-2]) == {MASK}


def test_a_long_secret_is_masked_by_parts_that_are_short() -> None:
    secret = b"".join(b"%d." % number for number in range(3000))

    assert max(map(len, forms(secret))) <= 1024
    assert masked(masker_of(secret), [b"<", secret[:5000], secret[5000:], b">"]) == b"<***>"


def test_a_line_is_shown_when_it_ends() -> None:
    stream = masker_of(b"abcdef").stream()

    assert stream.feed(b"1 abc") == b"1 "
    assert stream.feed(b"\n2") == b"abc\n2"
    assert stream.feed(b"abcde") == b""
    assert stream.feed(b"f") == b"***"
    assert stream.end() == b""


def test_a_secret_that_is_taught_late_is_masked_from_then_on() -> None:
    masker = Masker()
    stream = masker.stream()
    before = stream.feed(b"secret1 ")
    masker.teach(b"secret1")

    assert before + stream.feed(b"secret1 ") + stream.end() == b"secret1 *** "


def refuse() -> None:
    try:
        raise ValueError("hunter2", 2)
    except ValueError as error:
        raise RemoteError("bad token hunter2", hint="not hunter2") from error


def test_errors_are_masked() -> None:
    masker = masker_of(b"hunter2")

    with pytest.raises(PolyarchError, match=r"^bad token \*\*\*$") as raised, masker.masks_errors():
        refuse()

    assert raised.value.hint == "not ***"
    assert raised.value.__cause__ is not None
    assert raised.value.__cause__.args == ("***", 2)


def test_errors_of_steps_are_masked() -> None:
    events: list[Event] = []
    step = sha256(b"step")

    masker_of(b"hunter2").sink(events.append)(StepEvent(step=step, name="x", error="no hunter2"))

    assert events == [StepEvent(step=step, name="x", error="no ***")]
