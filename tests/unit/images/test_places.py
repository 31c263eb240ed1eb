"""Places by their names, and what a repository of a registry answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.errors import InvalidReference, NotFound
from polyarch.images.layout import Layout
from polyarch.images.registry_place import RegistryPlace
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_MANIFEST
from polyarch.oci.reference import parse
from tests.support.network.registry import Registry, registry_places, serving

MANIFEST = Descriptor(media_type=OCI_MANIFEST, digest=sha256(b"{}"), size=2)


@pytest.fixture
def server() -> Iterator[Registry]:
    with serving() as registry:
        for target in ("1", MANIFEST.digest):
            registry.manifests["app", target] = (OCI_MANIFEST, b"{}")
        yield registry


def test_what_a_place_is_called() -> None:
    places = registry_places()

    assert places.at("app:1").name == "docker.io/library/app"
    assert places.at("a.test/b@" + MANIFEST.digest).name == "a.test/b"
    assert places.at("oci-layout://a:b").name == "oci-layout://a:b"
    with pytest.raises(InvalidReference):
        places.at("UPPER")


def test_a_layout_is_one_place_however_often_it_is_asked_for(tmp_path: Path) -> None:
    places = registry_places()
    address = f"oci-layout://{tmp_path}"

    assert isinstance(places.at(address), Layout)
    assert places.at(address) is places.at(address)


def test_what_a_name_stands_for(server: Registry) -> None:
    place = registry_places().repository(parse(f"{server.host}/app:1"))

    assert place.resolve() == MANIFEST
    assert place.load("1") == place.load(MANIFEST.digest) == (MANIFEST, b"{}")


def test_a_name_that_stands_for_nothing(server: Registry) -> None:
    place = registry_places().repository(parse(f"{server.host}/app:2"))

    with pytest.raises(NotFound, match=f"^{server.host}/app:2: not found$"):
        place.resolve()
    with pytest.raises(NotFound, match=f"^{server.host}/app:3: not found$"):
        place.load("3")
    assert isinstance(place, RegistryPlace)
