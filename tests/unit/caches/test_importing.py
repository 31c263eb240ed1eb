"""Caches that were recorded of BuildKit: known for what they are, used as far as that goes, never a failure."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path

import pytest

from polyarch.caches import form, importing
from polyarch.caches.form import INLINE
from polyarch.caches.importing import Imported, import_caches
from polyarch.caches.places import CachePlaces
from polyarch.digest import sha256
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import CancelToken, Event, StatusEvent, StepEvent
from polyarch.request.values import CacheEntry
from tests.support.fakes.places import MemoryPlace

RECORDED = Path(__file__).parent / "buildkit"
MANIFEST, CONFIG = (RECORDED / name for name in ("manifest.json", "config.json"))
ENTRY = CacheEntry(type="registry", attributes={"ref": "registry.example/caches:max"})


class Shelf:
    """The one place that there is."""

    def __init__(self, place: MemoryPlace) -> None:
        self._place = place

    def at(self, _source: str) -> MemoryPlace:
        return self._place


def tagged(data: bytes, media_type: str = media.OCI_MANIFEST) -> MemoryPlace:
    place = MemoryPlace()
    place.tag("max", Descriptor(media_type=media_type, digest=sha256(data), size=len(data)), data)
    return place


def read(place: MemoryPlace) -> tuple[Imported, list[str], str]:
    """Import; return what was found, the remarks, and the error that is told of."""
    events: list[Event] = []
    places = CachePlaces(places=Shelf(place), others={}, sender=None, cancel=CancelToken())  # type: ignore[arg-type]
    found = import_caches([ENTRY], places, events.append)
    remarks = [each.id for each in events if isinstance(each, StatusEvent) and each.is_remark]
    return (
        found,
        remarks,
        next(each.error for each in reversed(events) if isinstance(each, StepEvent)),
    )


def as_index(manifest: dict[str, object]) -> bytes:
    layers, config = manifest["layers"], manifest["config"]
    assert isinstance(layers, list)
    return json.dumps(
        {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [*layers, config]}
    ).encode()


@pytest.mark.parametrize("form", ["manifest", "index"])
def test_a_cache_of_buildkit_says_where_layers_of_base_images_are(form: str) -> None:
    manifest = json.loads(MANIFEST.read_bytes())
    place = (
        tagged(MANIFEST.read_bytes())
        if form == "manifest"
        else tagged(as_index(manifest), media.OCI_INDEX)
    )
    config = CONFIG.read_bytes()
    place.blobs[sha256(config)] = config

    found, remarks, error = read(place)

    assert found.records == {}
    assert set(found.blobs) == {each["digest"] for each in manifest["layers"]}
    assert set(found.blobs.values()) == {"registry.example/caches:max"}
    assert remarks == [
        "another builder's cache: 5 results with keys of its own, 6 layers, which are used where base images have them"
    ]
    assert error == ""


@pytest.mark.parametrize("layers", [[], [{"parent": -1}, {}]], ids=["older", "newer"])
def test_an_inline_cache_of_buildkit_is_counted(layers: list[object]) -> None:
    records = json.loads(CONFIG.read_bytes())["records"]
    inline = base64.b64encode(
        json.dumps([{"layers": layers, "records": records}]).encode()
    ).decode()
    config = json.dumps({"architecture": "amd64", "os": "linux", INLINE: inline}).encode()
    described = {"mediaType": media.OCI_CONFIG, "digest": sha256(config), "size": len(config)}
    place = tagged(json.dumps({"schemaVersion": 2, "config": described, "layers": []}).encode())
    place.blobs[sha256(config)] = config

    found, remarks, error = read(place)

    assert (found.records, found.blobs, error) == ({}, {}, "")
    assert "5 results" in remarks[0]


def test_what_is_nested_too_deep_is_an_error_of_the_import() -> None:
    ours = {"keys": ["k"], "identity": "key:k", "explain": "[" * 100_000, "loadable": False}
    data = json.dumps({"records": [{"digest": "k", "polyarch": ours}]}).encode()
    place = tagged(data, form.CONFIG)

    found, _, error = read(place)

    assert not found.records
    assert "can't be read" in error


class Silent(MemoryPlace):
    """A place that never answers."""

    def load(self, target: str) -> tuple[Descriptor, bytes]:
        threading.Event().wait()
        return super().load(target)


def test_a_place_that_never_answers_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_PATIENCE", 0.05)

    found, _, error = read(Silent())

    assert not found.records
    assert error == "it didn't answer in time"


def test_an_image_without_a_cache_as_buildah_writes_them() -> None:
    config = b'{"architecture": "amd64", "os": "linux"}'
    described = {"mediaType": media.OCI_CONFIG, "digest": sha256(config), "size": len(config)}
    place = tagged(json.dumps({"schemaVersion": 2, "config": described, "layers": []}).encode())
    place.blobs[sha256(config)] = config

    found, _, error = read(place)

    assert found.records == {}
    assert error == "the image has no cache with it"
