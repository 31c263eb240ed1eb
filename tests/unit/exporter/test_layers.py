"""Layers as blobs: the same files, the same bytes, made once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.digest import DiffID, sha256
from polyarch.errors import InputError
from polyarch.exporter.layers import CompressionChoice, ExportedLayer
from polyarch.layer.kinds import Compression
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import CancelToken
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.snapshot.stack import LayerRef, LayerStack
from tests.support.images.exports import AMD64, CREATED, Results

FILES: dict[str, str | None] = {"bin/sh": "shell", "etc/motd": "hello", "empty": None}


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Results]:
    made = Results(tmp_path / "store")
    yield made
    made.store.close()


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        ("", media.OCI_LAYER_GZIP),
        ("gzip", media.OCI_LAYER_GZIP),
        ("zstd", media.OCI_LAYER_ZSTD),
        ("uncompressed", media.OCI_LAYER),
    ],
)
def test_a_blob_is_what_its_descriptor_says(results: Results, kind: str, media_type: str) -> None:
    (layer,) = results.export(results.stack(FILES), kind)
    data = results.store.blobs.read(layer.descriptor.digest)

    assert layer.descriptor == Descriptor(
        media_type=media_type, digest=sha256(data), size=len(data)
    )
    assert layer.created == CREATED


def test_the_diff_id_does_not_depend_on_the_compression(results: Results) -> None:
    stack = results.stack(FILES)

    found = [results.export(stack, kind)[0] for kind in ("gzip", "zstd", "uncompressed")]

    assert len({layer.diff_id for layer in found}) == 1
    assert len({layer.descriptor.digest for layer in found}) == 3
    assert str(found[2].descriptor.digest) == found[2].diff_id


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    found: list[tuple[ExportedLayer, ...]] = []
    for name in ("one", "other"):
        results = Results(tmp_path / name)
        files = FILES if name == "one" else dict(reversed(FILES.items()))
        found.append(results.export(results.stack(files, {"etc/motd": "changed"}, name=name)))
        results.store.close()

    assert found[0] == found[1]


def test_a_layer_is_written_once(results: Results) -> None:
    stack = results.stack(FILES)
    (first,) = results.export(stack)
    path = results.store.blobs.path(first.descriptor.digest)
    inode = path.stat().st_ino

    assert results.export(stack) == (first,)
    assert path.stat().st_ino == inode


def test_a_blob_that_is_gone_is_written_again(results: Results) -> None:
    stack = results.stack(FILES)
    (first,) = results.export(stack)
    results.store.blobs.remove(first.descriptor.digest)

    assert results.export(stack) == (first,)
    assert results.store.blobs.has(first.descriptor.digest)


def test_another_level_is_another_blob(results: Results) -> None:
    stack = results.stack({"f": "text " * 1000})

    found = {results.export(stack, "gzip", level)[0].descriptor.size for level in ("0", "9")}

    assert len(found) == 2


def test_many_exports_at_once_agree(results: Results) -> None:
    stack = results.stack(FILES, {"a": "1"}, {"b": "2"})
    found: list[tuple[ExportedLayer, ...]] = []
    threads = [
        threading.Thread(target=lambda: found.append(results.export(stack))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [results.export(stack)] * 4
    left = {path.name.partition("-")[0] for path in results.store.scratch.rglob("*")}
    assert left == {"layers", "lease"}


def test_layers_of_images_keep_their_blobs(results: Results) -> None:
    blob = Descriptor(media_type=media.DOCKER_LAYER_GZIP, digest=sha256(b"far away"), size=7)
    base = LayerRef(
        snapshot=SnapshotID("base"),
        diff_id=DiffID(sha256(b"diff")),
        blob=blob,
        sources=("docker.io/library/alpine:3",),
    )

    (layer,) = results.export(LayerStack(layers=(base,)))

    assert layer == ExportedLayer(
        descriptor=blob,
        diff_id=DiffID(sha256(b"diff")),
        sources=("docker.io/library/alpine:3",),
    )
    assert not results.store.blobs.has(blob.digest)


def test_an_upper_layer_holds_changes_alone(results: Results) -> None:
    stack = results.stack(FILES, {"etc/motd": "changed", "new": "file"})
    choice = CompressionChoice(kind=Compression.UNCOMPRESSED)

    layer = results.blobs.layer(stack, 1, choice, CancelToken())

    data = results.store.blobs.read(layer.descriptor.digest)
    assert b"changed" in data
    assert b"shell" not in data
    assert results.image(stack, AMD64).layers[1].created == CREATED + 1


@pytest.mark.parametrize(
    ("kind", "level", "message"),
    [
        ("xz", "", "unsupported compression type xz"),
        ("lzma", "", "unsupported compression type lzma"),
        ("estargz", "10", "compression level 10 is out of range for estargz"),
        (
            "gzip",
            "fast",
            'non-integer value fast specified for compression-level: strconv.ParseInt: parsing "fast": invalid syntax',
        ),
        ("gzip", "-1", "compression-level can't be negative: -1"),
        (
            "gzip",
            "",
            'non-integer value  specified for compression-level: strconv.ParseInt: parsing "": invalid syntax',
        ),
        ("", "1", "unsupported compression type"),
    ],
)
def test_what_can_not_be_written_is_refused(kind: str, level: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        CompressionChoice.of({"compression": kind, "compression-level": level})

    assert str(caught.value) == message


def test_choices_are_read() -> None:
    assert CompressionChoice.of({}) == CompressionChoice(kind=Compression.GZIP, level=None)
    assert CompressionChoice.of(
        {"compression": "zstd", "compression-level": "19"}
    ) == CompressionChoice(kind=Compression.ZSTD, level=19)
