"""Parts of an image joined: the same index as one build's, whatever they lie in."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.errors import InputError, NotFound
from polyarch.exporter.assemble import ImageResult, assemble_index
from polyarch.exporter.layout import write_directory
from polyarch.exporter.result import Export
from polyarch.images.join import join, open_parts
from polyarch.images.merge import Merged
from polyarch.oci.reference import parse
from polyarch.pipeline.joining import Joined
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, ignore_events
from tests.support.images.exports import AMD64, ARM64, CREATED, Results, make_export
from tests.support.images.layouts import read_archive, read_directory, validate
from tests.support.network.registry import Registry, registry_places


class Machine:
    """Builds images, and leaves parts of them in layouts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.results = Results(directory / "store")

    def image(self, platform: Platform) -> ImageResult:
        return self.results.image(self.results.stack({"f": "1"}), platform)

    def part(self, name: str, *platforms: Platform) -> str:
        """Write a part as `--shard` does: an index in a layout."""
        images = [self.image(each) for each in platforms]
        export = Export(
            root=assemble_index(images), images=tuple(images), names=(), created=CREATED
        )
        directory = self.directory / name
        write_directory(self.results.add_documents(export), self.results.place(), directory)
        return str(directory)

    def packed(self, part: str) -> str:
        """Put a layout into an archive."""
        with tarfile.open(f"{part}.tar", "w") as archive:
            for path in sorted(Path(part).rglob("*")):
                archive.add(path, path.relative_to(part), recursive=False)
        return f"{part}.tar"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.results.store.close()


def joined(*parts: str, names: tuple[str, ...] = ()) -> Iterator[Joined]:
    places = registry_places()
    with open_parts(parts) as opened:
        merged, asked = join(opened, (), places)
        yield Joined(
            merged=merged,
            asked=asked,
            names=tuple(map(parse, names)),
            places=places,
            sink=ignore_events,
            cancel=CancelToken(),
        )


def merged_of(*parts: str) -> Merged:
    (found,) = (each.merged for each in joined(*parts))
    return found


def test_parts_make_the_index_that_one_build_makes(machine: Machine) -> None:
    whole = make_export([machine.image(AMD64), machine.image(ARM64)], "app")

    found = merged_of(machine.part("one", AMD64), machine.packed(machine.part("other", ARM64)))

    assert found.data == whole.root.data
    assert found.descriptor.digest == whole.root.descriptor.digest


def test_a_part_of_several_platforms_and_one_that_is_there_twice(machine: Machine) -> None:
    both, one = machine.part("both", AMD64, ARM64), machine.part("one", AMD64)

    assert merged_of(both, one).data == merged_of(both).data


def test_two_images_for_one_platform(machine: Machine) -> None:
    first = machine.part("first", AMD64)
    other = Machine(machine.directory / "elsewhere")
    other.directory.mkdir(exist_ok=True)
    images = [other.results.image(other.results.stack({"f": "2"}, name="x"), AMD64)]
    export = Export(root=assemble_index(images), images=tuple(images), names=(), created=CREATED)
    path = other.directory / "second"
    write_directory(other.results.add_documents(export), other.results.place(), path)
    other.results.store.close()

    with pytest.raises(InputError, match="two parts are for linux/amd64"):
        merged_of(first, str(path))


def test_it_is_pushed_under_its_names_alone(machine: Machine, server: Registry) -> None:
    name = f"{server.host}/app:v1"
    parts = machine.part("one", AMD64), machine.part("other", ARM64)

    for each in joined(*parts, names=(name,)):
        each.push()
        digest = each.merged.descriptor.digest

    assert server.manifests["app", "v1"][1] == server.manifests["app", digest][1]
    tags = [tag for _, tag in server.manifests if not tag.startswith("sha256:")]
    assert tags == ["v1"]


def test_it_is_written(machine: Machine, tmp_path: Path) -> None:
    parts = machine.part("one", AMD64), machine.part("other", ARM64)

    for each in joined(*parts, names=("app:v1",)):
        each.write_directory(tmp_path / "whole")
        each.write_file(str(tmp_path / "whole.tar"))
        digest = each.merged.descriptor.digest

    archive = (tmp_path / "whole.tar").read_bytes()
    for layout in (read_directory(tmp_path / "whole"), read_archive(archive)):
        assert validate(layout).entries == {"docker.io/library/app:v1": digest}


def test_it_is_kept(machine: Machine, tmp_path: Path) -> None:
    parts = machine.part("one", AMD64), machine.part("other", ARM64)
    here = Results(tmp_path / "here")

    for each in joined(*parts, names=("app:v1",)):
        each.keep(here.store)

    ref = here.store.refs.get("docker.io/library/app:v1")
    assert merged_of(*parts).descriptor.digest in ref.descriptor
    here.store.close()


def test_what_is_no_part(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive")
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        archive.add(tmp_path / "text", "text")
    (tmp_path / "empty").mkdir()

    with pytest.raises(InputError, match="isn't an archive of an OCI layout"):
        merged_of(str(tmp_path / "other.tar"))
    with pytest.raises(InputError, match="can't read"):
        merged_of(str(tmp_path / "text"))
    with pytest.raises((InputError, NotFound)):
        merged_of(str(tmp_path / "empty"))
