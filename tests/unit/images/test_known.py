"""What names stood for."""

from __future__ import annotations

from pathlib import Path

from polyarch.digest import sha256
from polyarch.images.known import KnownImage, KnownNames
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_MANIFEST
from polyarch.oci.reference import parse
from polyarch.store.store import Store

NAME = parse("registry.example/app:1")


def image(data: bytes) -> Descriptor:
    return Descriptor(media_type=OCI_MANIFEST, digest=sha256(data), size=len(data))


def test_what_a_name_stood_for_last(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        known = KnownNames(refs=store.refs)
        before = known.find(NAME)
        known.note(NAME, image(b"1"))
        first = known.find(NAME)
        known.note(NAME, image(b"1"))
        again = known.find(NAME)
        known.note(NAME, image(b"22"))
        last = known.find(NAME)

        assert before is None
        assert first == again
        assert first is not None
        assert last is not None
        assert (first.root, last.root) == (image(b"1"), image(b"22"))
        # It is no image of the store for that.
        assert store.refs.find(NAME.canonical) is None


def test_a_date_is_that_of_this_machine() -> None:
    assert len(KnownImage(root=image(b""), seen=1_700_000_000.0).date) == len("2023-11-14 22:13")
