"""Layers of images in another form, where one form is wanted of all (`force-compression`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from polyarch.digest import DiffID, sha256
from polyarch.errors import IntegrityError
from polyarch.exporter.layers import CompressionChoice, ExportedLayer
from polyarch.layer.kinds import TOC_DIGEST, Compression
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import CancelToken
from polyarch.record import replace
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.snapshot.stack import LayerRef, LayerStack
from tests.support.images.exports import Results


class Base:
    """An image of one layer, whose blob comes when it is fetched."""

    def __init__(self, directory: Path) -> None:
        self.results = Results(directory / "store")
        (self.layer,) = self.results.export(self.results.stack({"f": "text" * 1000}, name="base"))
        self.data = self.results.store.blobs.read(self.layer.descriptor.digest)
        self.fetched: list[tuple[str, ...]] = []

    def stack(self, diff_id: DiffID | None = None) -> LayerStack:
        ref = LayerRef(
            snapshot=SnapshotID("image"),
            diff_id=diff_id or self.layer.diff_id,
            blob=self.layer.descriptor,
            sources=("registry.test/base:1",),
        )
        return LayerStack(layers=(ref,))

    def fetch(self, blob: Descriptor, sources: Sequence[str]) -> None:
        self.fetched.append(tuple(sources))
        if blob.digest == self.layer.descriptor.digest:
            self.results.store.blobs.put(self.data, blob.digest)

    def export(
        self, kind: Compression, stack: LayerStack | None = None, *, is_forced: bool = True
    ) -> ExportedLayer:
        blobs = replace(self.results.blobs, fetch=self.fetch)
        choice = CompressionChoice(kind=kind, is_forced=is_forced)
        return blobs.export(stack or self.stack(), choice, CancelToken())[0]


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Base]:
    made = Base(tmp_path)
    made.results.store.blobs.remove(made.layer.descriptor.digest)
    yield made
    made.results.store.close()


@pytest.mark.parametrize(
    ("kind", "is_forced"),
    [(Compression.GZIP, True), (Compression.ZSTD, False), (Compression.ESTARGZ, False)],
)
def test_a_layer_is_left_as_it_is(base: Base, kind: Compression, is_forced: bool) -> None:
    assert base.export(kind, is_forced=is_forced).descriptor == base.layer.descriptor
    assert base.fetched == []


def test_a_layer_is_fetched_and_written_anew_once(base: Base) -> None:
    first = base.export(Compression.ZSTD)
    again = base.export(Compression.ZSTD)

    assert first == again
    assert base.fetched == [("registry.test/base:1",)]
    assert first.descriptor.media_type == media.OCI_LAYER_ZSTD
    assert (first.diff_id, first.sources) == (base.layer.diff_id, ())


def test_a_layer_becomes_estargz_and_stays_it(base: Base) -> None:
    made = base.export(Compression.ESTARGZ)
    assert made == base.export(Compression.ESTARGZ)
    assert made.diff_id != base.layer.diff_id
    assert TOC_DIGEST in made.descriptor.annotations

    ref = replace(base.stack().layers[0], blob=made.descriptor, diff_id=made.diff_id)
    stack = LayerStack(layers=(ref,))
    assert base.export(Compression.ESTARGZ, stack).descriptor == made.descriptor
    back = base.export(Compression.UNCOMPRESSED, stack)
    assert str(back.descriptor.digest) == back.diff_id == made.diff_id


def test_a_layer_that_is_not_what_its_image_says(base: Base) -> None:
    with pytest.raises(IntegrityError, match="and not to sha256"):
        base.export(Compression.ZSTD, base.stack(DiffID(sha256(b"another"))))
