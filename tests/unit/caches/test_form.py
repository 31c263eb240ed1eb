"""The document of a cache: written and read again, as another builder would, and what can't be one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polyarch.caches.form import Cache, CachedLayer, CachedResult, read_cache, write_cache
from polyarch.digest import DiffID, sha256
from polyarch.errors import IntegrityError, InvalidDigest
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_LAYER_GZIP


def layer(name: str, created: float | None = 1.5, **more: Any) -> CachedLayer:
    blob = Descriptor(media_type=OCI_LAYER_GZIP, digest=sha256(name.encode()), size=len(name))
    diff_id = DiffID(sha256(b"unpacked " + name.encode()))
    return CachedLayer(blob=blob, diff_id=diff_id, created=created, **more)


BASE = layer("base", created=None, sources=("registry.example/base:1",))
ONE, TWO = layer("one", description="RUN one"), layer("two", is_linked=True)


def result(name: str, *layers: CachedLayer, **more: Any) -> CachedResult:
    return CachedResult(
        keys=(f"sha256:{name}",),
        identity=f"layers:{name}",
        step=f"RUN {name}",
        explain="{}",
        layers=layers,
        **more,
    )


CACHE = Cache(
    results=(
        result("one", BASE, ONE),
        result("two", BASE, ONE, TWO, places={2: ("a/large", "b")}),
        result("other", ONE),
        CachedResult(keys=("k", "l/m"), identity="key:k", step="COPY", explain="{}"),
        result("scratch", seconds=1.25),
        result("pieces", BASE, layer("pieces", archive=5, compression="gzip-1")),
    )
)


def test_what_is_written_is_read_again() -> None:
    data = write_cache(CACHE)

    assert read_cache(data) == CACHE
    assert write_cache(read_cache(data)) == data


def test_only_layers_of_steps_lie_with_the_cache() -> None:
    assert CACHE.blobs == (ONE.blob, TWO.blob)


def test_other_builders_find_a_cache_config_of_theirs() -> None:
    written = json.loads(write_cache(CACHE))

    layers, records = written["layers"], written["records"]
    assert [each["parent"] for each in layers] == [-1, 0, 1, -1, 0]
    assert layers[1]["annotations"] == {
        "createdAt": "1970-01-01T00:00:01.5Z",
        "diffID": ONE.diff_id,
        "mediaType": OCI_LAYER_GZIP,
        "size": 3,
    }
    assert [each["digest"] for each in records] == [
        "sha256:one", "sha256:two", "sha256:other", "k", "sha256:scratch", "sha256:pieces"
    ]  # fmt: skip
    assert [each.get("layers") for each in records] == [
        [{"layer": 1}], [{"layer": 2}], [{"layer": 3}], None, None, [{"layer": 4}]
    ]  # fmt: skip


def test_what_another_builder_wrote_is_counted() -> None:
    digest = sha256(b"")
    theirs = {
        "layers": [{"blob": digest, "parent": -1, "annotations": {"mediaType": "x"}}],
        "records": [
            {"digest": digest, "layers": [{"layer": 0, "createdAt": "2026-01-01T00:00:00Z"}]},
            {"digest": digest, "inputs": [[{"link": 0, "selector": digest}]]},
        ],
    }

    assert read_cache(json.dumps(theirs).encode()) == Cache(
        results=(), other_results=1, other_blobs=(digest,)
    )


def change(*path: str | int, value: object) -> bytes:
    document = json.loads(write_cache(CACHE))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"layers": {}}',
        change("layers", 1, "parent", value=1),
        change("layers", 0, "parent", value=2),
        change("layers", 1, "parent", value=99),
        change("layers", 0, "parent", value="0"),
        change("layers", 0, "blob", value="sha256:short"),
        change("layers", 0, "annotations", value=None),
        *(
            change("layers", 1, "polyarch", "created", value=each)
            for each in ("soon", "nan", "inf", "-1", "1e18")
        ),
        change("records", 4, "polyarch", "seconds", value="inf"),
        change("records", 0, "polyarch", "identity", value=""),
        change("records", 0, "polyarch", "identity", value="step-0123"),
        change("records", 0, "layers", 0, "layer", value=5),
        change("records", 0, "polyarch", "keys", value=[]),
        change("records", 0, "polyarch", "explain", value=None),
        change("records", 1, "polyarch", "places", 0, "paths", value=["../../etc/shadow"]),
        change("records", 1, "polyarch", "places", 0, "paths", value=["/etc/shadow"]),
        change("records", 1, "polyarch", "places", 0, "paths", value=["a/../../b"]),
    ],
)
def test_what_is_no_cache_is_refused(data: bytes) -> None:
    with pytest.raises((IntegrityError, InvalidDigest)):
        read_cache(data)


def test_places_of_base_images_that_cant_be_are_passed_over() -> None:
    sources = ["../x", "registry.example/base:1", "\0", "file:///etc", "oci-layout:///images"]
    data = change("layers", 0, "polyarch", "sources", value=sources)

    (base, _) = read_cache(data).results[0].layers or ()

    assert base.sources == ("registry.example/base:1", "oci-layout:///images")
