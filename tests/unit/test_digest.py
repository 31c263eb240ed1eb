from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.digest import DiffID, Digest, chain_id, fits, hex_of, parse_digest, sha256
from polyarch.errors import InvalidDigest

DIFF_IDS = st.lists(st.binary(max_size=4).map(lambda data: DiffID(sha256(data))), max_size=5)


@given(data=st.binary())
def test_digests_are_read_back(data: bytes) -> None:
    digest = sha256(data)

    assert parse_digest(digest) == digest == f"sha256:{hex_of(digest)}"
    assert hex_of(digest) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(("algorithm", "digits"), [("sha256", 64), ("sha384", 96), ("sha512", 128)])
def test_registered_algorithms(algorithm: str, digits: int) -> None:
    text = f"{algorithm}:{'a' * digits}"

    assert parse_digest(text) == text
    with pytest.raises(InvalidDigest):
        parse_digest(text[:-1])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 64,
        "sha256:",
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "sha256:" + "a" * 64 + "\n",
        "md5:" + "a" * 32,
        "sha256:../" + "a" * 61,
    ],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidDigest) as caught:
        parse_digest(text)

    assert str(caught.value) == f"invalid digest {text!r}"


@given(below=DIFF_IDS, above=DIFF_IDS)
def test_chain_ids_go_on_from_what_is_below(below: list[DiffID], above: list[DiffID]) -> None:
    joined = chain_id([DiffID(chain_id(below)), *above] if below else above)

    assert joined == chain_id([*below, *above])


def test_chain_ids_by_the_specification() -> None:
    first, second = DiffID("sha256:" + "1" * 64), DiffID("sha256:" + "2" * 64)

    assert chain_id([]) == ""
    assert str(chain_id([first])) == first
    assert str(chain_id([first, second])) == sha256(f"{first} {second}".encode())
    assert chain_id([first, second]) != chain_id([second, first])


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_bytes_fit_their_digest_and_no_other(algorithm: str) -> None:
    digest = Digest(f"{algorithm}:{hashlib.new(algorithm, b'text').hexdigest()}")

    assert fits(b"text", digest)
    assert not fits(b"texts", digest)
