"""Images for programs: pushed to, pulled from and joined at a registry in this process."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import polyarch
from polyarch.errors import Cancelled, InputError, InvalidReference, NotFound, RegistryError
from polyarch.exporter.result import Export
from polyarch.golang.json import compact
from polyarch.oci.reference import parse
from polyarch.platforms import Platform
from polyarch.request.annotation import Annotation
from tests.support.images.exports import AMD64, ARM64, Results, make_export
from tests.support.images.layouts import read_directory, validate
from tests.support.network.registry import Registry, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setenv("DOCKER_CONFIG", "/nonexistent")
    with serving() as registry:
        yield registry


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


def keep(root: Path, name: str, *platforms: Platform) -> Export:
    """Keep an image in a store, as a build does."""
    results = Results(root)
    images = [
        results.image(results.stack({"arch": each.architecture}, name=each.architecture), each)
        for each in platforms
    ]
    export = results.add_documents(make_export(images, name))
    descriptor = compact(export.root.descriptor.to_json()).decode()
    results.store.refs.set(parse(name).canonical, descriptor)
    results.store.close()
    return export


def names(server: Registry, repository: str) -> set[str]:
    return {target for name, target in server.manifests if name == repository}


# Lists, pushes, pulls


def test_images_are_listed(here: Path) -> None:
    export = keep(here, "app:1", AMD64, ARM64)

    (image,) = polyarch.list_images(root=here)

    assert isinstance(image, polyarch.StoredImage)
    assert (str(image.name), image.root) == ("docker.io/library/app:1", export.root.descriptor)
    assert image.platforms == (AMD64, ARM64)


def test_an_empty_store_has_no_images(here: Path) -> None:
    assert polyarch.list_images(root=str(here)) == ()


def test_what_is_pushed_is_pulled(here: Path, there: Path, server: Registry) -> None:
    name = f"{server.host}/app:1"
    export = keep(here, name, AMD64, ARM64)

    pushed = polyarch.push(name, root=here)
    pulled = polyarch.pull(parse(name), all_platforms=True, root=there)

    assert pushed == pulled == export.root.descriptor
    assert [image.root for image in polyarch.list_images(root=there)] == [pulled]


def test_an_image_is_copied_to_another_registry(here: Path, server: Registry) -> None:
    name = f"{server.host}/app:1"
    pushed = keep(here, name, AMD64, ARM64).root.descriptor
    polyarch.push(name, root=here)
    with serving() as other:
        copy = f"{other.host}/copy"

        made = polyarch.merge(name, tags=copy)

        assert made.descriptor == pushed
        assert polyarch.pull(copy, all_platforms=True, root=here) == pushed


def test_some_platforms_are_pulled(here: Path, there: Path, server: Registry) -> None:
    name = f"{server.host}/app"
    export = keep(here, name, AMD64, ARM64)
    polyarch.push(name, root=here)

    polyarch.pull(name, platforms="linux/arm64", root=there)

    amd64, arm64 = export.images
    kept = {path.name for path in (there / "blobs/sha256").iterdir()}
    assert arm64.layers[0].descriptor.digest.removeprefix("sha256:") in kept
    assert amd64.layers[0].descriptor.digest.removeprefix("sha256:") not in kept


def test_what_goes_wrong_is_of_a_kind(here: Path, server: Registry) -> None:
    with pytest.raises(NotFound, match="no image named"):
        polyarch.push(f"{server.host}/none", root=here)
    with pytest.raises(NotFound, match="none:latest: not found"):
        polyarch.pull(f"{server.host}/none", root=here)
    with pytest.raises(InvalidReference):
        polyarch.pull("UPPER", root=here)
    with pytest.raises(InputError, match="cannot be used together"):
        polyarch.pull("app", platforms=["linux/arm64"], all_platforms=True, root=here)
    keep(here, f"{server.host}/app", AMD64)
    server.failures["PUT /v2/app/manifests/latest"] = [403]
    with pytest.raises(RegistryError, match="push access denied") as caught:
        polyarch.push(f"{server.host}/app", root=here)
    assert caught.value.status == 403


def test_events_are_told_one_at_a_time(here: Path, server: Registry) -> None:
    name = f"{server.host}/app:1"
    export = keep(here, name, AMD64, ARM64)
    told: list[polyarch.Event] = []
    is_busy = threading.Lock()

    def sink(event: polyarch.Event) -> None:
        assert is_busy.acquire(blocking=False)
        told.append(event)
        is_busy.release()

    polyarch.push(name, sink=sink, root=here)

    first, last = told[0], told[-1]
    assert isinstance(first, polyarch.StepEvent)
    assert isinstance(last, polyarch.StepEvent)
    assert (first.name, first.completed) == (f"pushing {name}", None)
    assert last.completed
    blobs = {each.id for each in told if isinstance(each, polyarch.StatusEvent)}
    assert {f"pushing layer {image.layers[0].descriptor.digest}" for image in export.images} < blobs


def test_people_are_shown_a_pull(
    here: Path, there: Path, server: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{server.host}/app:1"
    (image,) = keep(here, name, AMD64).images
    layer = image.layers[0].descriptor
    polyarch.push(name, root=here)

    polyarch.pull(name, platforms=[AMD64], progress="plain", root=there)

    out, err = capsys.readouterr()
    assert out == ""
    assert f"#1 pulling {name}\n" in err
    assert re.search(
        rf"^#1 {layer.digest} {layer.size}B / {layer.size}B .*done$", err, re.MULTILINE
    )
    assert re.search(rf"^#1 naming to {re.escape(name)} .*done$", err, re.MULTILINE)


def test_an_exception_of_the_sink_ends_it(here: Path, server: Registry) -> None:
    keep(here, f"{server.host}/app", AMD64)

    def sink(event: polyarch.Event) -> None:
        if isinstance(event, polyarch.StatusEvent) and "pushing layer sha256" in event.id:
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        polyarch.push(f"{server.host}/app", sink=sink, root=here)

    assert server.manifests == {}


def test_a_token_ends_it(here: Path, server: Registry) -> None:
    keep(here, f"{server.host}/app", AMD64)
    with polyarch.CancelToken() as cancel:
        pass

    with pytest.raises(Cancelled):
        polyarch.push(f"{server.host}/app", cancel=cancel, root=here)

    assert server.manifests == {}


# Merges


@pytest.fixture
def parts(here: Path, server: Registry) -> list[str]:
    """Two images of one platform each, at the registry."""
    found = [f"{server.host}/app:{each.architecture}" for each in (AMD64, ARM64)]
    for name, platform in zip(found, (AMD64, ARM64), strict=True):
        keep(here, name, platform)
        polyarch.push(name, root=here)
    return found


def test_images_are_joined_under_names(parts: list[str], server: Registry) -> None:
    tags = [f"{server.host}/app:1", f"{server.host}/other:2"]

    made = polyarch.merge(parts, tags=tags)

    assert [str(each.platform) for each in made.entries] == ["linux/amd64", "linux/arm64"]
    assert server.manifests["app", "1"][1] == server.manifests["other", "2"][1] == made.data
    assert {each.digest for each in made.entries} < names(server, "other")


def test_without_a_name_nothing_is_written(parts: list[str], server: Registry) -> None:
    before = dict(server.manifests)

    made = polyarch.merge(parts, annotations=[Annotation(level="index", key="a", value="b")])

    assert json.loads(made.data)["annotations"] == {"a": "b"}
    assert made.descriptor.size == len(made.data)
    assert server.manifests == before


def test_a_part_may_be_told_by_its_descriptor(parts: list[str], server: Registry) -> None:
    (entry,) = polyarch.merge(parts[0]).entries
    notes = Annotation(level="manifest-descriptor", platform=AMD64, key="for", value="x")

    made = polyarch.merge([parts[1], entry], annotations=[notes])

    arm64, amd64 = made.entries
    assert (amd64.digest, amd64.annotations) == (entry.digest, {"for": "x"})
    assert arm64.annotations == {}


def test_an_image_is_copied_into_a_layout(
    parts: list[str], server: Registry, tmp_path: Path
) -> None:
    polyarch.merge(parts, tags=f"{server.host}/app:1")

    made = polyarch.merge(
        [f"{server.host}/app:1"],
        tags=[f"oci-layout://{tmp_path}/layout:x"],
        platforms=["linux/arm64"],
    )

    (image,) = validate(read_directory(tmp_path / "layout")).images
    assert image.platform == "linux/arm64"
    assert [each.digest for each in made.entries] == [image.digest]


def test_a_single_manifest_may_stay_one(parts: list[str]) -> None:
    made = polyarch.merge(parts[0], prefer_index=False)

    assert made.descriptor.media_type == "application/vnd.oci.image.manifest.v1+json"


def test_what_can_not_be_joined(parts: list[str], server: Registry) -> None:
    with pytest.raises(InputError, match="none of the manifests match"):
        polyarch.merge(parts, platforms=["linux/s390x"])
    with pytest.raises(NotFound, match="none:latest: not found"):
        polyarch.merge([*parts, f"{server.host}/none"])
    with pytest.raises(InputError, match="annotations are not supported yet"):
        polyarch.merge(parts, annotations=[Annotation(level="manifest", key="a", value="b")])
    with pytest.raises(InputError, match="cannot infer repository"):
        polyarch.merge([*parts, "other", "sha256:" + "1" * 64])


# Tasks


def test_all_of_it_in_tasks(here: Path, there: Path, server: Registry) -> None:
    names = [f"{server.host}/{number}/app" for number in range(3)]
    for name in names:
        keep(here, name, AMD64, ARM64)

    async def main() -> list[polyarch.Descriptor]:
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(polyarch.push_async(name, root=here))
        made = await polyarch.merge_async(names, tags=[f"{server.host}/all"])
        pulled = await polyarch.pull_async(f"{server.host}/all", all_platforms=True, root=there)
        return [made.descriptor, pulled]

    made, pulled = asyncio.run(main())

    assert made.digest == pulled.digest


def test_a_task_that_is_cancelled(here: Path, server: Registry) -> None:
    name = f"{server.host}/app"
    export = keep(here, name, AMD64)
    is_asked = threading.Event()

    def sink(event: polyarch.Event) -> None:
        if isinstance(event, polyarch.StatusEvent):
            is_asked.set()

    async def main() -> None:
        task = asyncio.create_task(polyarch.push_async(name, sink=sink, root=here))
        await asyncio.to_thread(is_asked.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    server.failures[f"HEAD /v2/app/manifests/{export.root.descriptor.digest}"] = [503] * 99
    server.retry_after = "100"
    asyncio.run(main())

    assert server.manifests == {}
