"""Images out of layers: dates, annotations, and history that is missing."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from polyarch.digest import DiffID, sha256
from polyarch.exporter.annotations import Annotations
from polyarch.exporter.assemble import ImageResult, assemble, assemble_index
from polyarch.exporter.layers import ExportedLayer
from polyarch.oci.config import HistoryEntry, ImageConfig
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_LAYER_GZIP
from polyarch.record import replace
from tests.support.images.platforms import AMD64

CONFIG = ImageConfig(platform=AMD64)


def layer(name: str, created: float | None = None, description: str = "") -> ExportedLayer:
    digest = sha256(name.encode())
    return ExportedLayer(
        descriptor=Descriptor(media_type=OCI_LAYER_GZIP, digest=digest, size=1),
        diff_id=DiffID(digest),
        created=created,
        description=description,
    )


def assembled(
    history: Sequence[HistoryEntry], layers: list[ExportedLayer], **more: Any
) -> Mapping[str, Any]:
    image = assemble(replace(CONFIG, history=tuple(history)), layers, AMD64, **more)
    config: Mapping[str, Any] = json.loads(image.config.data)
    return config


BASE = HistoryEntry(created="2030-01-01T00:00:00Z", created_by="base")


def test_the_epoch_is_the_latest_time_of_what_is_new() -> None:
    history = [
        BASE,
        HistoryEntry(created_by="ENV", empty_layer=True),
        HistoryEntry(created_by="RUN"),
    ]

    config = assembled(history, [layer("base"), layer("new", 1_900_000_000.5)], epoch=60)

    times = [entry["created"] for entry in config["history"]]
    assert times == ["2030-01-01T00:00:00Z", "1970-01-01T00:01:00Z", "1970-01-01T00:01:00Z"]
    assert config["created"] == "1970-01-01T00:01:00Z"


def test_an_epoch_to_come_changes_nothing() -> None:
    config = assembled([HistoryEntry(created_by="RUN")], [layer("new", 120.0)], epoch=4_000_000_000)

    assert config["created"] == "1970-01-01T00:02:00Z"


def test_layers_without_history_are_described() -> None:
    layers = [layer("a", 1.0, "one"), layer("b", 2.0, "mount / from exec true"), layer("c", 3.0)]

    history = assembled([HistoryEntry(created_by="COPY")], layers)["history"]

    assert [(entry["created_by"], entry.get("comment")) for entry in history] == [
        ("COPY", None),
        ("mount / from exec true", "buildkit.exporter.image.v0"),
        ("created by buildkit", "buildkit.exporter.image.v0"),
    ]
    assert history[1]["created"] == "1970-01-01T00:00:02Z"


def test_annotations_land_on_their_documents() -> None:
    annotations = Annotations.parse(
        {
            "annotation.m": "1",
            "annotation-manifest-descriptor[linux/amd64].d": "2",
            "annotation-index.i": "3",
            "annotation-manifest[linux/arm64].other": "4",
        }
    )
    image: ImageResult = assemble(CONFIG, [], AMD64, annotations=annotations)

    index = json.loads(assemble_index([image], annotations).data)

    assert json.loads(image.manifest.data)["annotations"] == {"m": "1"}
    assert index["annotations"] == {"i": "3"}
    assert index["manifests"][0]["annotations"] == {"d": "2"}


def test_without_annotations_there_is_no_field_for_them() -> None:
    image = assemble(CONFIG, [], AMD64)

    assert "annotations" not in json.loads(image.manifest.data)
    assert "annotations" not in json.loads(assemble_index([image]).data)
