"""Two images compared: of each layer the first file that differs, and fields of the config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from polyarch.cli.building.reproducible import findings
from polyarch.exporter.assemble import assemble
from polyarch.exporter.layout import write_directory
from polyarch.images.comparing import FileDifference, LayerDifference, compare_images
from polyarch.images.culprits import Moments
from polyarch.images.layout import Layout
from polyarch.oci.config import HistoryEntry, ImageConfig, RunConfig
from polyarch.platforms import Platform
from tests.support.images.exports import AMD64, ARM64, Results, make_export

Files = Mapping[str, str | None]
SAME: Files = {"kept": "same"}


def layout(
    directory: Path,
    *layers: Files,
    platform: Platform = AMD64,
    user: str = "",
    kind: str = "",
    made: str = "",
) -> Layout:
    results = Results(directory / "store")
    stack = results.stack(*layers)
    history = [
        HistoryEntry(created_by=f"RUN {number}", created=made) for number in range(len(layers))
    ]
    config = ImageConfig(platform=platform, run=RunConfig(user=user), history=tuple(history))
    image = assemble(config, results.export(stack, kind), platform)
    export = results.add_documents(make_export([image]))
    write_directory(export, results.place(), directory / "layout")
    results.store.close()
    return Layout(directory / "layout")


def test_equal_images_do_not_differ(tmp_path: Path) -> None:
    one, other = (layout(tmp_path / name, SAME, {"a": "x"}) for name in "12")

    assert compare_images(one, other) == ((), ())


def test_content_comes_before_what_else_differs(tmp_path: Path) -> None:
    one = layout(tmp_path / "1", SAME, {"a": "x", "b": "one", "c": "one"})
    other = layout(tmp_path / "2", SAME, {"b": "two", "c": "two", "d": "y"})
    (layer,), fields = compare_images(one, other)

    file = FileDifference(path="/a", what="only the first build has it")
    assert layer == LayerDifference(
        platform="linux/amd64", number=2, layers=2, step="RUN 1", file=file, others=3
    )
    assert fields == ()


def test_the_contents_are_there_for_a_reason_to_be_found(tmp_path: Path) -> None:
    one, other = layout(tmp_path / "1", {"b": "x\ny\n"}), layout(tmp_path / "2", {"b": "y\nx\n"})
    (layer,), _ = compare_images(one, other)
    lines = findings((layer,), (), Moments(start=0, end=1))

    assert layer.file == FileDifference(
        path="/b", what="content", first=b"x\ny\n", second=b"y\nx\n"
    )
    assert lines[0] == "linux/amd64: layer 1 of 1 (RUN 0): /b differs"
    assert lines[1] == "    order: the same parts are in another order"


def test_layers_may_differ_by_their_compression_or_their_number(tmp_path: Path) -> None:
    plain = layout(tmp_path / "1", SAME, kind="uncompressed")
    two = layout(tmp_path / "2", SAME, {"a": "x"})
    layers, fields = compare_images(plain, two)

    assert [(each.number, each.file) for each in layers] == [(1, None), (2, None)]
    assert [(each.field, each.first, each.second) for each in fields[1:]] == [("history", "1", "2")]
    assert (
        "it was compressed in another way" in findings(layers[:1], (), Moments(start=0, end=1))[1]
    )


def test_fields_of_the_config_are_named(tmp_path: Path) -> None:
    one = layout(tmp_path / "1", SAME, user="a", made="2026-01-01T00:00:00Z")
    other = layout(tmp_path / "2", SAME, user="b", made="2026-01-01T00:00:09Z")
    _, fields = compare_images(one, other)

    assert [each.field for each in fields] == ["config.User", "created", "history[0].created"]
    lines = findings((), fields, Moments(start=0, end=1))
    assert lines[0] == "linux/amd64: config.User of the config differs: a → b"
    assert lines[2] == "    time: set SOURCE_DATE_EPOCH, as a variable or by --build-arg"


def test_platforms_may_be_others(tmp_path: Path) -> None:
    one, other = layout(tmp_path / "1", SAME), layout(tmp_path / "2", SAME, platform=ARM64)
    _, fields = compare_images(one, other)

    assert [(each.platform, each.first, each.second) for each in fields] == [
        ("linux/amd64", "True", "False"),
        ("linux/arm64", "False", "True"),
    ]
