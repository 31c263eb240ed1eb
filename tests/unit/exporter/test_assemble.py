"""From layers and configs to documents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.digest import DiffID, sha256
from polyarch.exporter.assemble import ImageResult, assemble, assemble_index
from polyarch.exporter.layers import ExportedLayer
from polyarch.golang.time import time_of
from polyarch.oci import media
from polyarch.oci.config import HealthcheckConfig, HistoryEntry, ImageConfig, RunConfig
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.documents import document
from polyarch.oci.fields import Fields
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import parse_manifest
from polyarch.record import replace
from tests.support.images.platforms import ARM_V7 as ARM

CONFIG = ImageConfig(platform=ARM)


def layer(number: int, created: float | None = None) -> ExportedLayer:
    descriptor = Descriptor(
        media_type=media.OCI_LAYER_GZIP, digest=sha256(b"blob %d" % number), size=number
    )
    return ExportedLayer(
        descriptor=descriptor, diff_id=DiffID(sha256(b"diff %d" % number)), created=created
    )


def telling(history: Sequence[object]) -> ImageConfig:
    """Return a config with a history, given as JSON."""
    entries = (HistoryEntry.from_fields(Fields(entry)) for entry in history)
    return replace(CONFIG, history=tuple(entries))


def config_of(image: ImageResult) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(image.config.data)
    return config


def test_configs_are_written_as_buildkit_writes_them() -> None:
    run = RunConfig(
        user="u", cmd=("c",), labels={"b": "2", "a": "1"}, shell=("sh",), on_build=("RUN x",),
        healthcheck=HealthcheckConfig(retries=1), exposed_ports=("80/tcp", "53/udp"),
    )  # fmt: skip
    history = HistoryEntry(
        created_by="COPY", comment="c", empty_layer=True, created="2020-01-01T00:00:00Z"
    )

    image = assemble(replace(CONFIG, run=run, history=(history,)), [], ARM)

    # Its own keys are sorted, and those of its parts stand as they do in Go's structs.
    assert image.config.data.decode() == (
        '{"architecture":"arm","config":{"User":"u","ExposedPorts":{"53/udp":{},"80/tcp":{}},"Cmd":["c"],'
        '"Labels":{"a":"1","b":"2"},"Healthcheck":{"Retries":1},"OnBuild":["RUN x"],"Shell":["sh"]},'
        '"created":"2020-01-01T00:00:00Z","history":[{"created":"2020-01-01T00:00:00Z","created_by":"COPY",'
        '"comment":"c","empty_layer":true}],"os":"linux","rootfs":{"type":"layers","diff_ids":[]},"variant":"v7"}'
    )


def test_documents_are_named_by_their_bytes() -> None:
    layers = [layer(1, 0.0), layer(2, 1.5)]

    image = assemble(telling([{"created_by": "COPY a"}, {"created_by": "RUN <b>"}]), layers, ARM)

    manifest = parse_manifest(image.manifest.data)
    assert image.manifest.descriptor == Descriptor(
        media_type=media.OCI_MANIFEST,
        digest=sha256(image.manifest.data),
        size=len(image.manifest.data),
        platform=ARM,
    )
    assert manifest.config == image.config.descriptor
    assert manifest.config.digest == sha256(image.config.data)
    assert list(manifest.layers) == [each.descriptor for each in layers]
    assert config_of(image) == {
        "architecture": "arm",
        "config": {},
        "created": "1970-01-01T00:00:01.5Z",
        "history": [
            {"created": "1970-01-01T00:00:00Z", "created_by": "COPY a"},
            {"created": "1970-01-01T00:00:01.5Z", "created_by": "RUN <b>"},
        ],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in layers]},
        "variant": "v7",
    }


def test_configs_are_written_as_go_writes_them() -> None:
    image = assemble(telling([{"created_by": "a && b"}]), [], ARM)

    text = image.config.data.decode()
    assert r'"created_by":"a \u0026\u0026 b"' in text
    assert text.startswith('{"architecture":"arm","config":{},"created":')
    assert image.manifest.data.startswith(b'{\n  "schemaVersion": 2,\n  "mediaType": ')


def test_an_index_names_the_manifests_in_order() -> None:
    images = [
        assemble(replace(CONFIG, platform=replace(ARM, variant=variant)), [], ARM)
        for variant in ("v7", "v6", "v5")
    ]

    index = parse_index(assemble_index(images).data)

    assert list(index.manifests) == [image.manifest.descriptor for image in images]
    assert [str(each.platform) for each in index.manifests] == [
        "linux/arm/v7",
        "linux/arm/v6",
        "linux/arm/v5",
    ]


ENTRIES = st.lists(
    st.fixed_dictionaries(
        {"created_by": st.sampled_from(["RUN a", "ENV b", ""])},
        optional={
            "created": st.sampled_from(["2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"]),
            "empty_layer": st.booleans(),
            "comment": st.just("buildkit"),
        },
    ),
    max_size=6,
)
LAYERS = st.lists(st.none() | st.integers(0, 2_000_000_000).map(float), max_size=5).map(
    lambda times: [layer(number, created) for number, created in enumerate(times)]
)


@given(history=ENTRIES, layers=LAYERS, epoch=st.none() | st.integers(0, 2_000_000_000))
def test_a_history_tells_of_every_layer_once(
    history: list[dict[str, object]], layers: list[ExportedLayer], epoch: int | None
) -> None:
    image = assemble(telling(history), layers, ARM, epoch=epoch)
    config = config_of(image)

    made = [entry for entry in config["history"] if not entry.get("empty_layer")]
    assert len(made) == len(layers) == len(config["rootfs"]["diff_ids"])
    assert [entry.get("created_by", "") for entry in config["history"]][: len(history)] == [
        entry["created_by"] for entry in history
    ]


@given(history=ENTRIES, layers=LAYERS, epoch=st.integers(0, 2_000_000_000))
def test_nothing_new_is_later_than_the_epoch(
    history: list[dict[str, object]], layers: list[ExportedLayer], epoch: int
) -> None:
    given_times = {entry.get("created") for entry in history}
    config = config_of(assemble(telling(history), layers, ARM, epoch=epoch))

    for entry in config["history"]:
        time = entry.get("created")
        assert time is None or time in given_times or time <= time_of(float(epoch)).rfc3339()


@pytest.mark.parametrize(
    ("history", "layers", "times"),
    [
        ([{}, {}], [layer(1, 5.0), layer(2, 6.0)], ["05", "06"]),
        ([{"empty_layer": True}, {}], [layer(1, 5.0)], ["05", "05"]),
        ([{}, {"empty_layer": True}], [layer(1, 5.0)], ["05", "05"]),
        (
            [{"created": "1970-01-01T00:00:01Z"}, {"empty_layer": True}, {}],
            [layer(1), layer(2, 7.0)],
            ["01", "07", "07"],
        ),
        (
            [{"created": "1970-01-01T00:00:01Z"}, {"empty_layer": True}],
            [layer(1)],
            ["01", "01"],
        ),
    ],
    ids=str,
)
def test_entries_without_a_time_get_their_neighbours(
    history: list[dict[str, object]], layers: list[ExportedLayer], times: list[str]
) -> None:
    entries = config_of(assemble(telling(history), layers, ARM))["history"]

    assert [entry["created"][17:19] for entry in entries] == times


def test_without_history_an_image_does_not_know_its_age() -> None:
    assert config_of(assemble(CONFIG, [], ARM))["created"] is None


def test_layers_that_no_entry_tells_of_get_one() -> None:
    entries = config_of(assemble(CONFIG, [layer(1, 5.0)], ARM))["history"]

    assert [(entry["created"], entry["comment"]) for entry in entries] == [
        ("1970-01-01T00:00:05Z", "buildkit.exporter.image.v0")
    ]


def test_a_document_without_a_platform() -> None:
    made = document(media.OCI_CONFIG, b"{}")

    assert (made.descriptor.digest, made.descriptor.size) == (sha256(b"{}"), 2)
    assert "platform" not in made.descriptor.to_json()


def test_new_entries_have_the_moment_that_was_asked_for() -> None:
    history: list[dict[str, object]] = [
        {"created_by": "base", "created": "2020-01-01T00:00:00Z"},
        {"created_by": "ENV A=1", "empty_layer": True},
        {"created_by": "COPY a"},
    ]
    layers = [layer(1), layer(2, 5.0)]

    later = config_of(assemble(telling(history), layers, ARM, moment=4102444800, epoch=4102444800))
    earlier = config_of(assemble(telling(history), layers, ARM, moment=7, epoch=6))

    assert [entry["created"] for entry in later["history"]] == [
        "2020-01-01T00:00:00Z",
        "2100-01-01T00:00:00Z",
        "2100-01-01T00:00:00Z",
    ]
    assert [entry["created"] for entry in earlier["history"][1:]] == ["1970-01-01T00:00:06Z"] * 2
    assert later["created"] == "2100-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("found", "written"),
    [
        ("2020-01-01T00:00:00.120Z", "2020-01-01T00:00:00.12Z"),
        ("2020-01-01T00:00:00.000+00:00", "2020-01-01T00:00:00Z"),
        ("2020-01-01T00:00:00+02:00", "2020-01-01T00:00:00+02:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("yesterday", "yesterday"),
    ],
)
def test_times_of_base_images_are_written_as_go_would(found: str, written: str) -> None:
    image = assemble(telling([{"created_by": "x", "created": found}]), [layer(1)], ARM)
    assert config_of(image)["history"][0]["created"] == written


def test_a_version_of_the_system_is_in_the_descriptor() -> None:
    platform = replace(ARM, os="windows", os_version="10.0.1", os_features=("win32k",))
    image = assemble(replace(CONFIG, platform=platform), [], ARM)
    assert image.manifest.descriptor.platform == platform
