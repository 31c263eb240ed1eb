"""Images of the local store: listed, pushed to and pulled from a registry in this process."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from polyarch.digest import hex_of, sha256
from polyarch.errors import InputError, IntegrityError, NotFound, RegistryError
from polyarch.exporter.layout import write_directory
from polyarch.exporter.result import Export
from polyarch.golang.json import compact
from polyarch.images.local import (
    list_images,
    pull_image,
    push_image,
    remove_image,
    stored_image,
    tag_image,
)
from polyarch.images.tally import Pushed, Share
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_INDEX
from polyarch.oci.reference import Reference, parse
from polyarch.platforms import Platform, linux
from polyarch.progress import CancelToken, Event, StatusEvent
from polyarch.record import replace
from polyarch.store.store import Store
from tests.support.images.exports import AMD64, ARM64, Results, make_export, store_place
from tests.support.images.layouts import read_directory, validate
from tests.support.network.registry import Registry, registry_places, serving

ARM = replace(ARM64, architecture="arm", variant="v7")


def keep(results: Results, name: Reference, *platforms: Platform) -> Export:
    """Keep an image in the store as exporting does."""
    images = [
        results.image(results.stack({"arch": each.architecture}, name=each.architecture), each)
        for each in platforms
    ]
    export = results.add_documents(make_export(images, str(name)))
    root = compact(export.root.descriptor.to_json()).decode()
    results.store.refs.set(name.canonical, root)
    return export


def push(store: Store, name: Reference) -> Descriptor:
    cancel = CancelToken()
    return push_image(store, registry_places(cancel), name, cancel=cancel).root


def pull(store: Store, name: Reference, *platforms: Platform) -> Descriptor:
    cancel = CancelToken()
    return pull_image(store, registry_places(cancel), name, platforms, cancel=cancel)


def uploads(server: Registry) -> list[str]:
    return [line for line in server.requests if line.startswith("PUT ") and "/uploads/" in line]


# Listing


def test_an_image_tells_of_all_its_platforms(results: Results) -> None:
    export = keep(results, parse("app:1"), AMD64, ARM64, ARM)

    (image,) = list_images(results.store)

    assert str(image.name) == "docker.io/library/app:1"
    assert image.root == export.root.descriptor
    assert list(map(str, image.platforms)) == ["linux/amd64", "linux/arm64", "linux/arm/v7"]
    assert image.created == "2023-11-14T22:13:20Z"
    blobs = {digest: results.store.blobs.size(digest) for digest in export.digests}
    assert image.size == sum(blobs.values())


def test_a_single_platform_is_known_by_its_config(results: Results) -> None:
    keep(results, parse("app"), ARM)

    assert list(map(str, stored_image(results.store, parse("app")).platforms)) == ["linux/arm/v7"]


def test_images_are_listed_by_name(results: Results) -> None:
    for name in ("b:1", "a:2", "user/c"):
        keep(results, parse(name), AMD64)

    assert [image.name.familiar for image in list_images(results.store)] == [
        "a:2",
        "b:1",
        "user/c:latest",
    ]


def test_an_image_whose_documents_are_elsewhere(results: Results) -> None:
    export = keep(results, parse("app"), AMD64, ARM64)
    results.store.blobs.remove(export.images[1].manifest.descriptor.digest)
    results.store.blobs.remove(export.images[0].config.descriptor.digest)

    image = stored_image(results.store, parse("app"))

    assert list(map(str, image.platforms)) == ["linux/amd64", "linux/arm64"]
    assert image.created == ""


def test_an_image_of_which_only_the_name_is_here(results: Results) -> None:
    export = keep(results, parse("app"), AMD64, ARM64)
    results.store.blobs.remove(export.root.descriptor.digest)

    image = stored_image(results.store, parse("app"))

    assert (image.platforms, image.size) == ((), export.root.descriptor.size)


def test_a_name_that_nobody_set(results: Results) -> None:
    with pytest.raises(NotFound):
        stored_image(results.store, parse("none"))


# Names


def test_an_image_gets_another_name(results: Results) -> None:
    root = keep(results, parse("app:1"), AMD64).root.descriptor

    tag_image(results.store, parse("app:1"), parse("example.org/app"))

    assert stored_image(results.store, parse("example.org/app:latest")).root == root


def test_a_name_by_digest_can_not_be_given(results: Results) -> None:
    root = keep(results, parse("app:1"), AMD64).root.descriptor

    with pytest.raises(InputError, match="refusing to create a tag with a digest reference"):
        tag_image(results.store, parse("app:1"), parse(f"other@{root.digest}"))


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ("app", ["app:1", "other:1"]),
        ("docker.io/library/app:1", ["app:latest", "other:1"]),
        ("DIGEST", []),
        ("DIGITS", []),
        ("app@DIGEST", ["other:1"]),
    ],
)
def test_names_are_removed(results: Results, wanted: str, left: list[str]) -> None:
    for name in ("app:1", "app:latest", "other:1"):
        digest = keep(results, parse(name), AMD64).root.descriptor.digest

    gone = remove_image(
        results.store, wanted.replace("DIGEST", digest).replace("DIGITS", hex_of(digest)[:12])
    )

    names = [image.name.familiar for image in list_images(results.store)]
    assert names == left
    assert len(gone) == 3 - len(left)


@pytest.mark.parametrize("wanted", ["none", "none:1", "UPPER", "1234"])
def test_names_that_are_not_there(results: Results, wanted: str) -> None:
    keep(results, parse("app:1"), AMD64)

    with pytest.raises(NotFound, match=f"No such image: {wanted}"):
        remove_image(results.store, wanted)


# To a registry and back


def test_what_was_pushed_is_pulled_whole(
    results: Results, other: Store, server: Registry, tmp_path: Path
) -> None:
    name = parse(f"{server.host}/app:1")
    export = keep(results, name, AMD64, ARM64, ARM)

    pushed, pulled = push(results.store, name), pull(other, name)

    assert pushed == pulled == export.root.descriptor
    assert stored_image(other, name).platforms == stored_image(results.store, name).platforms
    write_directory(export, store_place(other), tmp_path / "layout")
    assert len(validate(read_directory(tmp_path / "layout")).images) == 3


def test_pushing_again_uploads_nothing(results: Results, server: Registry) -> None:
    name = parse(f"{server.host}/app:1")
    export = keep(results, name, AMD64, ARM64)
    push(results.store, name)
    first = len(uploads(server))

    push(results.store, name)

    assert first == len(uploads(server)) == len(export.digests) - len(export.images) - 1


def test_pulling_again_fetches_nothing(results: Results, other: Store, server: Registry) -> None:
    name = parse(f"{server.host}/app:1")
    keep(results, name, AMD64, ARM64)
    push(results.store, name)
    pull(other, name)
    del server.requests[:]

    pull(other, name)

    assert [line.split()[0] for line in server.requests] == ["HEAD"]


def test_one_platform_is_pulled_alone(results: Results, other: Store, server: Registry) -> None:
    name = parse(f"{server.host}/app:1")
    export = keep(results, name, AMD64, ARM64)
    push(results.store, name)

    pull(other, name, ARM64)

    amd64, arm64 = export.images
    assert other.blobs.has(arm64.layers[0].descriptor.digest)
    assert not other.blobs.has(amd64.layers[0].descriptor.digest)
    assert list(map(str, stored_image(other, name).platforms)) == ["linux/amd64", "linux/arm64"]


def test_what_came_of_a_push_is_told(results: Results, server: Registry) -> None:
    names = [parse(f"{server.host}/{name}") for name in ("app:1", "app:1", "other:1", "app:2")]
    keep(results, names[0], AMD64, ARM64)
    for name in names[2:]:
        tag_image(results.store, names[0], name)
    events: list[Event] = []
    cancel = CancelToken()

    def push_it(name: Reference) -> Pushed:
        places = registry_places(cancel)
        return push_image(results.store, places, name, sink=events.append, cancel=cancel)

    first, again, mounted, tagged = map(push_it, names)

    everything = first.uploaded
    assert (everything.blobs, everything.bytes) == (
        len(server.blobs) // 2,
        sum(len(data) for (repository, _), data in server.blobs.items() if repository == "app"),
    )
    assert (again.skipped, tagged.skipped, mounted.mounted) == (everything,) * 3
    assert again.uploaded == again.mounted == mounted.uploaded == Share()
    told = [each.id for each in events if isinstance(each, StatusEvent) and each.is_remark]
    size = f"{everything.bytes}B" if everything.bytes < 1000 else f"{everything.bytes / 1000:.2f}kB"
    assert told == [
        f"{names[0]}: 4 blobs: 4 uploaded ({size})",
        f"{names[1]}: 4 blobs: 4 there already ({size})",
        f"{names[2]}: 4 blobs: 4 mounted ({size})",
        f"{names[3]}: 4 blobs: 4 there already ({size})",
    ]


def test_a_part_of_an_image_is_not_pushed(results: Results, other: Store, server: Registry) -> None:
    name = parse(f"{server.host}/app:1")
    keep(results, name, AMD64, ARM64)
    push(results.store, name)
    pull(other, name, ARM64)

    with pytest.raises(NotFound, match="isn't here for all of its platforms") as caught:
        push(other, name)

    assert caught.value.hint.startswith(f"polyarch pull --all-platforms {name}")


def test_a_platform_that_the_image_lacks(results: Results, other: Store, server: Registry) -> None:
    name = parse(f"{server.host}/app:1")
    keep(results, name, AMD64, ARM64)
    push(results.store, name)

    with pytest.raises(NotFound):
        pull(other, name, linux("s390x"))

    assert other.refs.all() == ()


def test_an_index_in_an_index(results: Results, other: Store, server: Registry) -> None:
    inner = keep(results, parse("app"), AMD64, ARM64).root.descriptor
    data = compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [inner.to_json()] * 2})
    outer = Descriptor(media_type=OCI_INDEX, digest=sha256(data), size=len(data))
    name = parse(f"{server.host}/app:1")
    results.place().tag(name.canonical, outer, data)

    assert push(results.store, name) == pull(other, name) == outer

    assert stored_image(other, name).platforms == (AMD64, ARM64)


def test_pulling_by_digest_sets_no_name(results: Results, other: Store, server: Registry) -> None:
    name = parse(f"{server.host}/app:1")
    root = keep(results, name, AMD64).root.descriptor
    push(results.store, name)

    pull(other, parse(f"{server.host}/app@{root.digest}"))

    assert other.refs.all() == ()
    assert other.blobs.has(root.digest)


def test_a_lying_registry_is_found_out(results: Results, other: Store, server: Registry) -> None:
    name = parse(f"{server.host}/app:1")
    layer = keep(results, name, AMD64).images[0].layers[0].descriptor.digest
    push(results.store, name)
    data = server.blobs["app", layer]
    server.blobs["app", layer] = data[:-1] + bytes([data[-1] ^ 1])

    with pytest.raises((IntegrityError, RegistryError)):
        pull(other, name)

    assert not other.blobs.has(layer)
    assert other.refs.all() == ()


def test_pulls_at_once_fetch_every_blob_once(
    results: Results, other: Store, server: Registry
) -> None:
    name = parse(f"{server.host}/app:1")
    export = keep(results, name, AMD64, ARM64)
    push(results.store, name)
    del server.requests[:]
    threads = [threading.Thread(target=pull, args=(other, name)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    layers = [image.layers[0].descriptor.digest for image in export.images]
    fetched = [line.rpartition("/")[2] for line in server.requests if line.startswith("GET")]
    assert sorted(each for each in fetched if each in layers) == sorted(layers)


def test_a_layer_that_was_left_at_its_registry_is_fetched_to_be_pushed(
    results: Results, other: Store, server: Registry
) -> None:
    name = parse(f"{server.host}/app:1")
    export = keep(results, name, AMD64)
    layer = export.images[0].layers[0].descriptor.digest
    push(results.store, name)
    pull(other, name)
    other.blobs.remove(layer)
    other.layers.add_sources(server.host, "app", [layer])

    with serving() as second:
        copy = parse(f"{second.host}/copy:1")
        other.refs.set(copy.canonical, compact(export.root.descriptor.to_json()).decode())
        push(other, copy)

        assert second.blobs["copy", layer] == results.store.blobs.read(layer)
    assert other.blobs.has(layer)
