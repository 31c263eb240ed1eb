"""Outputs: what is refused before anything is built, and what is carried out."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from polyarch.digest import Digest
from polyarch.errors import InputError, InvalidReference, NotFound, RegistryError, StoreError
from polyarch.exporter.export import Exporter
from polyarch.exporter.outputs import Forms, check_outputs, is_true, names_of
from polyarch.exporter.result import Export, FileTree
from polyarch.exporter.writer import Work
from polyarch.oci.reference import parse
from polyarch.progress import CancelToken, Event, StatusEvent, StepEvent
from polyarch.record import replace
from polyarch.request.values import Output
from tests.support.images.exports import AMD64, ARM64, Results, make_export
from tests.support.images.layouts import read_archive, read_directory, validate, validate_docker
from tests.support.images.trees import look_at, plant
from tests.support.network.registry import Registry, registry_places, serving


class Bench:
    """An exporter with a store, registries in this process, and trees of two platforms."""

    def __init__(self, directory: Path) -> None:
        self.results = Results(directory / "store")
        self.events: list[Event] = []
        self.directory = directory
        self.platforms = [AMD64, ARM64]
        work = Work(
            store=self.results.store,
            places=registry_places(),
            trees=self.trees,
            sink=self.events.append,
            cancel=CancelToken(),
        )
        self.exporter = Exporter(work=work)

    @contextmanager
    def trees(self) -> Iterator[Sequence[FileTree]]:
        yield [
            FileTree(
                platform=platform,
                root=plant(self.directory / str(platform), {"arch": platform.architecture}),
            )
            for platform in self.platforms
        ]

    def export(self, *names: str, platforms: int = 1) -> Export:
        stack = self.results.stack({"f": "1"})
        images = [self.results.image(stack, each) for each in self.platforms[:platforms]]
        return make_export(images, *names)

    def based_on(self, server: Registry) -> tuple[Export, Digest]:
        """Return an image whose only layer is at a registry, and not here; and that layer."""
        export = self.export()
        (image,) = export.images
        (layer,) = image.layers
        digest = layer.descriptor.digest
        server.blobs["base", digest] = self.results.store.blobs.read(digest)
        self.results.store.blobs.remove(digest)
        elsewhere = replace(layer, sources=(f"{server.host}/base:1",))
        return replace(export, images=(replace(image, layers=(elsewhere,)),)), digest

    def run(self, output: Output, export: Export | None = None) -> None:
        self.exporter.run(output, export)

    def steps(self) -> list[str]:
        return [each.name for each in self.events if isinstance(each, StepEvent) and each.completed]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.results.store.close()


def output(text: str, **attributes: str) -> Output:
    """Return an output: type, or type:destination."""
    kind, _, destination = text.partition(":")
    return Output(type=kind, destination=destination, attributes=attributes)


# Checks


def test_annotations_are_for_images_alone() -> None:
    files = output("local:out", **{"annotation-index.a": "1"})

    check_outputs(
        [files, output("tar:f", **{"annotation[linux/arm64].a": "1"})], Forms(platforms=(AMD64,))
    )
    with pytest.raises(InputError, match="index annotations not supported"):
        check_outputs(
            [files, output("oci:f", **{"annotation-index.a": "1"})], Forms(platforms=(AMD64,))
        )


def test_annotations_of_a_platform_that_is_not_built() -> None:
    forms = Forms(platforms=(AMD64, ARM64))

    with pytest.raises(InputError, match="no platform linux/s390x found in source"):
        check_outputs([output("oci:f", **{"annotation[linux/s390x].a": "1"})], forms)


@pytest.mark.parametrize(
    ("outputs", "platforms"),
    [
        ([], 3),
        ([output("cacheonly", anything="1")], 3),
        ([output("image", name="app", push="true")], 3),
        ([output("registry", name="app")], 3),
        ([output("oci:f"), output("oci:-")], 3),
        ([output("docker")], 3),
        ([output("docker:f")], 1),
        ([output("local:out", **{"platform-split": "false"}), output("tar:f")], 3),
    ],
    ids=str,
)
def test_what_can_be_exported(outputs: list[Output], platforms: int) -> None:
    check_outputs(outputs, Forms(platforms=(AMD64, ARM64)[:platforms]))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([output("docker-image")], 'exporter "docker-image" could not be found'),
        ([output("registry")], "tag is needed when pushing to registry"),
        ([output("image", push="1")], "tag is needed when pushing to registry"),
        ([output("image", name=" , ", push="1")], "tag is needed when pushing to registry"),
        (
            [output("docker:f")],
            "docker exporter does not support exporting manifest lists, use the oci exporter instead",
        ),
        (
            [output("image", push="yes")],
            'non-bool value specified for push: strconv.ParseBool: parsing "yes": invalid syntax',
        ),
        ([output("image"), output("registry")], "tag is needed when pushing to registry"),
        (
            [output("local:f", compression="zstd")],
            "output type=local has no attribute 'compression'",
        ),
    ],
    ids=str,
)
def test_what_is_refused_before_the_build(outputs: list[Output], message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_outputs(outputs, Forms(platforms=(AMD64, ARM64)))

    assert str(caught.value) == message


def test_a_wrong_name_is_refused_before_the_build() -> None:
    with pytest.raises(InvalidReference):
        check_outputs([output("image", name="App")], Forms(platforms=(AMD64,)))


def test_names_are_a_list() -> None:
    names = names_of(output("image", name="app, user/app:2,"))

    assert list(map(str, names)) == ["docker.io/library/app", "docker.io/user/app:2"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("t", True), ("TRUE", True), ("0", False), ("F", False), ("false", False)],
)
def test_bools_as_go_reads_them(text: str, value: bool) -> None:
    assert is_true(output("image", push=text), "push", default=not value) is value


def test_bools_have_defaults() -> None:
    assert [is_true(output("image"), "push", default=each) for each in (True, False)] == [
        True,
        False,
    ]


# Images


def test_an_image_is_kept_under_its_names(bench: Bench) -> None:
    export = bench.export("app:1", "app:2", platforms=2)

    bench.run(output("image"), export)

    store = bench.results.store
    assert [ref.name for ref in store.refs.all()] == [
        "docker.io/library/app:1",
        "docker.io/library/app:2",
    ]
    assert all(store.blobs.has(document.descriptor.digest) for document in export.documents)
    assert bench.steps() == ["exporting to image"]


def test_an_image_may_be_pushed_without_being_kept(bench: Bench, server: Registry) -> None:
    export = bench.export(f"{server.host}/app:1", f"{server.host}/other:2")

    bench.run(output("image", push="true", store="false"), export)

    assert bench.results.store.refs.all() == ()
    digest = export.root.descriptor.digest
    assert set(server.manifests) == {
        ("app", "1"), ("app", digest), ("other", "2"), ("other", digest),
    }  # fmt: skip


def test_names_are_set_after_the_push(bench: Bench, server: Registry) -> None:
    server.failures["PUT /v2/app/manifests/latest"] = [403]

    with pytest.raises(RegistryError, match="push access denied"):
        bench.run(output("registry"), bench.export(f"{server.host}/app"))

    assert bench.results.store.refs.all() == ()


def test_what_was_pushed_is_mounted_into_the_next_repository(
    bench: Bench, server: Registry
) -> None:
    export = bench.export(f"{server.host}/team/app", f"{server.host}/team/other")

    bench.run(output("registry"), export)

    uploads = [line for line in server.requests if line.startswith("PUT /v2/team/other/blobs")]
    assert uploads == []
    assert {digest for name, digest in server.blobs if name == "team/other"} == set(export.blobs)


def test_how_far_a_push_is_is_shown(bench: Bench, server: Registry) -> None:
    export = bench.export(f"{server.host}/app:1")

    bench.run(output("registry"), export)

    parts = {each.id: each for each in bench.events if isinstance(each, StatusEvent)}
    config, layer = export.blobs
    assert {f"pushing config {config}", f"pushing layer {layer}", "pushing layers"} <= set(parts)
    assert parts[f"pushing layer {layer}"].current == parts[f"pushing layer {layer}"].total > 0
    assert all(each.completed for each in parts.values())


# Layers of base images, which may not be here


def test_a_base_layer_is_mounted_without_being_fetched(bench: Bench, server: Registry) -> None:
    export, layer = bench.based_on(server)

    bench.run(output("registry"), replace(export, names=(parse(f"{server.host}/app"),)))

    assert ("app", layer) in server.blobs
    assert not bench.results.store.blobs.has(layer)


def test_a_base_layer_is_fetched_for_another_registry(bench: Bench, server: Registry) -> None:
    export, layer = bench.based_on(server)
    with serving() as other:
        bench.run(output("registry"), replace(export, names=(parse(f"{other.host}/app"),)))

        assert other.blobs["app", layer] == server.blobs["base", layer]
    fetched = [each for each in bench.events if isinstance(each, StatusEvent) and each.id == layer]
    assert (fetched[0].current, fetched[-1].current) == (fetched[-1].total, fetched[-1].total)
    assert fetched[-1].completed


def test_where_a_base_layer_is_is_remembered(bench: Bench, server: Registry) -> None:
    export, layer = bench.based_on(server)

    bench.run(output("image"), replace(export, names=(parse("app"),)))

    assert bench.results.store.layers.all_sources(layer) == ((server.host, "base"),)


@pytest.mark.parametrize("kind", ["docker", "docker:app.tar", "oci:app.tar"])
def test_loading_and_writing_bring_everything_here(
    bench: Bench, server: Registry, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(bench.directory)
    export, layer = bench.based_on(server)

    bench.run(output(kind), replace(export, names=(parse("app"),)))

    assert bench.results.store.blobs.has(layer)


# Archives and directories


def test_an_archive_appears_whole(bench: Bench, tmp_path: Path) -> None:
    bench.run(output(f"oci:{tmp_path}/app.tar"), bench.export("app", platforms=2))

    found = validate(read_archive((tmp_path / "app.tar").read_bytes()))
    assert [image.platform for image in found.images] == ["linux/amd64", "linux/arm64"]
    assert [path.name for path in tmp_path.glob(".app.tar*")] == []


def test_a_docker_archive(bench: Bench, tmp_path: Path) -> None:
    bench.run(output(f"docker:{tmp_path}/app.tar"), bench.export("app:1"))

    tags, _ = validate_docker(read_archive((tmp_path / "app.tar").read_bytes()))
    assert tags == ["app:1"]


def test_a_layout_directory(bench: Bench, tmp_path: Path) -> None:
    bench.run(output(f"oci:{tmp_path}/layout", tar="false"), bench.export("app", platforms=2))

    assert len(validate(read_directory(tmp_path / "layout")).images) == 2


def test_a_failed_archive_leaves_the_old_one(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "app.tar").write_text("old")
    export = bench.export("app")
    bench.results.store.blobs.remove(export.images[0].layers[0].descriptor.digest)

    with pytest.raises(NotFound, match=r"isn't in the store$"):
        bench.run(output(f"oci:{tmp_path}/app.tar"), export)

    assert (tmp_path / "app.tar").read_text() == "old"
    assert [path.name for path in tmp_path.glob(".app.tar*")] == []


def test_an_archive_that_can_not_be_written(bench: Bench, tmp_path: Path) -> None:
    plant(tmp_path, {"file": ""})

    with pytest.raises(StoreError, match=r"file/such/app\.tar: Not a directory"):
        bench.run(output(f"tar:{tmp_path}/file/such/app.tar"))


@pytest.mark.parametrize("kind", ["tar", "oci", "docker"])
def test_the_directory_of_an_archive_is_made(bench: Bench, tmp_path: Path, kind: str) -> None:
    bench.run(output(f"{kind}:{tmp_path}/no/such/app.tar"), bench.export("app"))

    assert tarfile.is_tarfile(tmp_path / "no/such/app.tar")


def test_a_pipe_in_the_place_of_an_archive_is_written_into(bench: Bench, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)

    bench.run(output(f"tar:{tmp_path}/pipe"))

    assert os.read(reader, 4).startswith(b"linu")
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


class Standard(io.TextIOWrapper):
    """Standard output that keeps what is written."""

    def __init__(self) -> None:
        self.data = io.BytesIO()
        super().__init__(self.data)


@pytest.mark.parametrize("destination", ["", "-"])
def test_an_archive_on_standard_output(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, destination: str
) -> None:
    standard = Standard()
    monkeypatch.setattr(sys, "stdout", standard)

    bench.run(output(f"oci:{destination}"), bench.export("app"))

    assert len(validate(read_archive(standard.data.getvalue())).images) == 1


# Files


def test_files_of_several_platforms_are_kept_apart(bench: Bench, tmp_path: Path) -> None:
    bench.run(output(f"local:{tmp_path}/out"))

    assert look_at(tmp_path / "out") == {
        "linux_amd64": None,
        "linux_amd64/arch": "amd64",
        "linux_arm64": None,
        "linux_arm64/arch": "arm64",
    }
    assert bench.steps() == ["exporting to client directory"]


def test_files_of_one_platform_are_not_split(bench: Bench, tmp_path: Path) -> None:
    bench.platforms = [ARM64]
    bench.run(output(f"local:{tmp_path}/out"))
    bench.run(output(f"local:{tmp_path}/split", **{"platform-split": "true"}))

    assert look_at(tmp_path / "out") == {"arch": "arm64"}
    assert look_at(tmp_path / "split") == {"linux_arm64": None, "linux_arm64/arch": "arm64"}


def test_files_as_an_archive(bench: Bench, tmp_path: Path) -> None:
    bench.run(output(f"tar:{tmp_path}/out.tar"))

    with tarfile.open(tmp_path / "out.tar") as archive:
        assert archive.getnames() == [
            "linux_amd64",
            "linux_amd64/arch",
            "linux_arm64",
            "linux_arm64/arch",
        ]
    assert bench.steps() == ["exporting to client tarball"]
