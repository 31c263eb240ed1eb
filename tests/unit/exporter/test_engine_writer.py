"""`--load` by what is there: what each kind of engine is given, and the line that says what came of it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from polyarch.exporter.engine_writer import EngineWriter, loaded_config
from polyarch.exporter.outputs import EngineKind, ImageEngine
from polyarch.exporter.result import FileTree
from polyarch.exporter.writer import Work
from polyarch.oci.reference import Reference
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Event, StatusEvent, step
from polyarch.request.values import Output
from tests.support.images.exports import AMD64, ARM64, Results, make_export
from tests.support.network.registry import registry_places


class Engine:
    """An engine that keeps what it is given."""

    name = "docker"

    def __init__(self, kind: EngineKind, own: Platform = ARM64) -> None:
        self._kind = kind
        self._own = own
        self.archives: list[dict[str, Any]] = []
        self.named: list[tuple[list[str], list[str]]] = []

    def kind(self) -> EngineKind:
        return self._kind

    def platform(self) -> Platform:
        return self._own

    def load(self, archive: BinaryIO, size: int) -> str:
        data = archive.read()
        assert len(data) == size
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            found: dict[str, Any] = {}
            for name in ("index.json", "manifest.json"):
                if name in tar.getnames():
                    opened = tar.extractfile(name)
                    assert opened
                    found[name] = json.load(opened)
        self.archives.append(found)
        return f"id{len(self.archives)}"

    def give_names(self, names: Sequence[Reference], images: Sequence[str]) -> None:
        self.named.append(([name.familiar for name in names], list(images)))


@contextmanager
def nothing() -> Iterator[Sequence[FileTree]]:
    yield ()


def loaded(directory: Path, engine: ImageEngine | None, *platforms: Platform) -> str:
    """Load an image of platforms; return the last thing that is said of it."""
    results = Results(directory / "store")
    images = [results.image(results.stack({"f": "1"}), each) for each in platforms]
    export = results.add_documents(make_export(images, "app:v1"))
    events: list[Event] = []
    work = Work(
        store=results.store,
        places=registry_places(),
        trees=nothing,
        sink=events.append,
        cancel=CancelToken(),
        engines={} if engine is None else {"": engine},
    )
    with step(events.append, "exporting") as shown:
        EngineWriter(work).write(Output(type="docker"), export, shown)
    results.store.close()
    return [each.id for each in events if isinstance(each, StatusEvent)][-1]


def test_an_engine_that_keeps_indexes_gets_the_whole(tmp_path: Path) -> None:
    engine = Engine(EngineKind.INDEXES)

    said = loaded(tmp_path, engine, AMD64, ARM64)

    assert said == "docker has app:v1 for linux/amd64, linux/arm64"
    (archive,) = engine.archives
    assert archive.keys() == {"index.json"}


def test_an_engine_of_one_platform_gets_a_tag_for_each(tmp_path: Path) -> None:
    engine = Engine(EngineKind.SINGLE)

    said = loaded(tmp_path, engine, AMD64, ARM64)

    assert said == (
        "docker keeps images of one platform: it has app:v1-amd64 for linux/amd64, "
        "app:v1, app:v1-arm64 for linux/arm64"
    )
    (archive,) = engine.archives
    tags = [image["RepoTags"] for image in archive["manifest.json"]]
    assert tags == [["app:v1-amd64"], ["app:v1", "app:v1-arm64"]]


@pytest.mark.parametrize(
    ("kind", "platforms", "number"),
    [
        (EngineKind.SINGLE, (AMD64, ARM64), 1),
        # Of an index of one platform there is nothing to choose.
        (EngineKind.SINGLE, (AMD64,), 0),
        (EngineKind.LISTS, (AMD64, ARM64), 1),
        (EngineKind.INDEXES, (AMD64, ARM64), None),
    ],
)
def test_what_an_engine_knows_an_index_by(
    tmp_path: Path, kind: EngineKind, platforms: tuple[Platform, ...], number: int | None
) -> None:
    results = Results(tmp_path / "store")
    stack = results.stack({"f": "1"})
    export = make_export([results.image(stack, each) for each in platforms], "app:1")

    found = loaded_config([Output(type="docker")], {"": Engine(kind)}, export)

    wanted = None if number is None else export.images[number].config.descriptor.digest
    assert found == wanted
    assert loaded_config([Output(type="docker")], {}, export) is None
    results.store.close()


def test_a_single_platform_has_the_name_alone(tmp_path: Path) -> None:
    engine = Engine(EngineKind.SINGLE)

    assert loaded(tmp_path, engine, AMD64) == "docker has app:v1 for linux/amd64"
    assert engine.archives[0]["manifest.json"][0]["RepoTags"] == ["app:v1"]


@pytest.mark.parametrize(
    ("platforms", "said"),
    [
        ((AMD64, ARM64), "docker has app:v1, a manifest list for linux/amd64, linux/arm64"),
        ((ARM64,), "docker has app:v1, for linux/arm64"),
    ],
)
def test_images_one_by_one_and_then_their_names(
    tmp_path: Path, platforms: tuple[Platform, ...], said: str
) -> None:
    engine = Engine(EngineKind.LISTS)

    assert loaded(tmp_path, engine, *platforms) == said
    assert engine.named == [(["app:v1"], [f"id{each + 1}" for each in range(len(platforms))])]
    assert all(len(each["index.json"]["manifests"]) == 1 for each in engine.archives)


def test_nobody_is_there(tmp_path: Path) -> None:
    assert loaded(tmp_path, None, AMD64).startswith("keeping it in polyarch's own store")
