"""Where layers of images and caches are asked for and found."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.digest import DiffID, Digest, sha256
from polyarch.errors import Cancelled, RemoteError
from polyarch.images.piecewriter import put_pieces
from polyarch.layer.tar import Sink
from polyarch.oci import media
from polyarch.oci.base import PIECES
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import CancelToken, ignore_events
from polyarch.registry.transport import Transport, open_transport
from polyarch.snapshot.native import NativeSnapshotter
from polyarch.snapshot.stack import LayerRef, LayerStack, snapshot_of_diff
from polyarch.store.store import Store
from polyarch.worker.source_image import ImageSource
from tests.support.fakes.places import MemoryPlace
from tests.support.fakes.solving import Bench

SOURCE = "fake://place"


@pytest.fixture
def transport() -> Iterator[Transport]:
    with open_transport({}) as opened:
        yield opened


@pytest.fixture
def images(tmp_path: Path, transport: Transport) -> ImageSource:
    store = Store(tmp_path / "store")
    return ImageSource(
        store=store,
        snapshotter=NativeSnapshotter(store),
        transport=transport,
        sink=ignore_events,
    )


def cached(data: bytes, source: str, media_type: str = media.OCI_LAYER) -> LayerRef:
    diff_id = DiffID(sha256(data))
    blob = Descriptor(media_type=media_type, digest=Digest(diff_id), size=len(data))
    return LayerRef(
        snapshot=snapshot_of_diff(diff_id),
        diff_id=diff_id,
        blob=blob,
        sources=(source,),
        created=1.0,
    )


def archive() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("file")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"text"))
    return made.getvalue()


def test_whether_a_cache_still_has_a_layer_is_asked_once(images: ImageSource) -> None:
    place = images.caches[SOURCE] = MemoryPlace(SOURCE)
    here, gone = cached(b"here", SOURCE), cached(b"gone", SOURCE)
    place.blobs[sha256(b"here")] = b"here"

    for _ in range(2):
        assert images.is_in_reach(LayerStack(layers=(here,)), CancelToken())
        assert not images.is_in_reach(LayerStack(layers=(here, gone)), CancelToken())

    assert len(place.asked) == 2


def test_asking_for_a_layer_ends_with_the_build_and_not_with_an_error(images: ImageSource) -> None:
    place = MemoryPlace(SOURCE)
    images.caches[SOURCE] = place

    def refuse(_request: str) -> None:
        raise RemoteError("no route")

    place.before = refuse
    for name in (b"a", b"b"):
        assert not images.is_in_reach(LayerStack(layers=(cached(name, SOURCE),)), CancelToken())
    # Where nobody answers, nothing more is asked for: each would be waited for.
    assert len(place.asked) == 1
    other = images.caches["fake://other"] = MemoryPlace("fake://other")

    def end(_request: str) -> None:
        raise Cancelled("enough")

    other.before = end
    with pytest.raises(Cancelled):
        images.is_in_reach(LayerStack(layers=(cached(b"c", other.name),)), CancelToken())


def test_a_layer_in_pieces_is_unpacked_as_it_comes(images: ImageSource) -> None:
    place = images.caches[SOURCE] = MemoryPlace(SOURCE)
    data = archive()

    def produce(sink: Sink) -> None:
        sink.write(data)

    put_pieces(place, [], produce, size=1, hint="last-x", on_bytes=lambda _size: None)
    layer = cached(data, f"{PIECES}{SOURCE}")

    images.ensure_unpacked(LayerStack(layers=(layer,)), Bench().image("base"), CancelToken())

    assert (images.snapshotter.path(layer.snapshot) / "file").read_text() == "text"
    assert not images.store.blobs.has(Digest(sha256(data)))


def test_a_base_layer_is_fetched_from_another_builders_cache_if_need_be(
    images: ImageSource,
) -> None:
    data = archive()
    other = images.caches[SOURCE] = MemoryPlace(SOURCE)
    other.blobs[sha256(data)] = data
    gone = images.caches["fake://gone"] = MemoryPlace("fake://gone")
    images.elsewhere[sha256(data)] = SOURCE
    layer = cached(data, "fake://gone")

    images.ensure_unpacked(LayerStack(layers=(layer,)), Bench().image("base"), CancelToken())

    assert [each.partition(" ")[0] for each in gone.asked] == ["read"]
    assert (images.snapshotter.path(layer.snapshot) / "file").read_text() == "text"
