import hashlib
from pathlib import Path

import pytest

from polyarch.digest import Digest, sha256
from polyarch.errors import IntegrityError, NotFound
from polyarch.store.blobs import Blobs
from polyarch.store.store import Store

HELLO = sha256(b"hello")


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Store(tmp_path / "store").blobs


def left_over(blobs: Blobs) -> list[Path]:
    files = (path for path in (blobs.root.parent / "tmp").rglob("*") if path.is_file())
    return [path for path in files if not path.name.startswith("lease-")]


def test_put_and_read(blobs: Blobs) -> None:
    digest = blobs.put(b"hello")

    assert (digest, blobs.has(digest), blobs.size(digest)) == (HELLO, True, 5)
    assert blobs.read(digest) == b"hello"
    assert list(blobs) == [(HELLO, 5)]
    assert left_over(blobs) == []


def test_put_twice_is_once(blobs: Blobs) -> None:
    blobs.put(b"hello")
    blobs.put(b"hello")

    assert list(blobs) == [(HELLO, 5)]


def test_put_leaves_what_is_there_alone(blobs: Blobs) -> None:
    path = blobs.path(blobs.put(b"bytes"))
    before = path.stat().st_ino
    blobs.put(b"bytes")

    assert path.stat().st_ino == before


def test_put_replaces_a_damaged_blob(blobs: Blobs) -> None:
    digest = blobs.put(b"bytes")
    blobs.path(digest).write_bytes(b"bytez")
    blobs.put(b"bytes", digest)

    assert blobs.read(digest) == b"bytes"


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_put_other_algorithms(blobs: Blobs, algorithm: str) -> None:
    digest = Digest(f"{algorithm}:{hashlib.new(algorithm, b'x').hexdigest()}")

    assert blobs.put(b"x", digest) == digest
    assert blobs.read(digest) == b"x"


def test_writer_refuses_other_bytes(blobs: Blobs) -> None:
    with pytest.raises(IntegrityError, match=f"the bytes of {HELLO} have the digest sha256:"):
        blobs.put(b"other", HELLO)

    assert (blobs.has(HELLO), left_over(blobs)) == (False, [])


def test_writer_refuses_another_size(blobs: Blobs) -> None:
    with (
        pytest.raises(IntegrityError, match="has 4 bytes instead of 5"),
        blobs.writer(HELLO, size=5) as writer,
    ):
        writer.write(b"hell")

    assert left_over(blobs) == []


def test_writer_throws_away_after_an_exception(blobs: Blobs) -> None:
    writer = blobs.writer()
    writer.write(b"hello")
    with pytest.raises(KeyError), writer:
        raise KeyError

    assert (list(blobs), left_over(blobs)) == ([], [])


def test_read_notices_damage(blobs: Blobs) -> None:
    blobs.put(b"hello")
    blobs.path(HELLO).write_bytes(b"hallo")

    with pytest.raises(IntegrityError, match="is damaged"):
        blobs.read(HELLO)


def test_has_drops_a_short_blob(blobs: Blobs) -> None:
    blobs.put(b"hello")
    blobs.path(HELLO).write_bytes(b"")

    assert (blobs.has(HELLO, size=5), blobs.has(HELLO)) == (False, False)


def test_read_refuses_what_is_too_large(blobs: Blobs) -> None:
    blobs.put(b"hello")

    with pytest.raises(IntegrityError, match="larger than the 4 bytes"):
        blobs.read(HELLO, 4)


@pytest.mark.parametrize("method", ["read", "open", "size"])
def test_missing_blob(blobs: Blobs, method: str) -> None:
    with pytest.raises(NotFound, match="isn't in the store"):
        getattr(blobs, method)(HELLO)


def test_remove_may_be_repeated(blobs: Blobs) -> None:
    blobs.put(b"hello")
    with blobs.open(HELLO) as file:
        blobs.remove(HELLO)
        blobs.remove(HELLO)

        assert file.read() == b"hello"


def test_sync_writes_the_same(tmp_path: Path) -> None:
    store = Store(tmp_path, sync=True)

    assert store.blobs.put(b"hello") == HELLO


def test_whoever_tells_a_wrong_size_takes_no_blob_away(tmp_path: Path) -> None:
    blobs = Store(tmp_path).blobs
    sound, damaged = blobs.put(b"sound"), blobs.put(b"damaged")
    blobs.path(damaged).write_bytes(b"dam")

    assert [blobs.has(sound, size=4), blobs.has(damaged, size=7)] == [False, False]
    assert [blobs.has(sound), blobs.has(damaged)] == [True, False]
