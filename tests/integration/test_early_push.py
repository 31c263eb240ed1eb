"""Layers that are sent to a real registry while they are compressed: there once, and found by the push."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polyarch.digest import Digest, sha256
from polyarch.errors import StoreError
from polyarch.images.early import EarlyPush
from polyarch.images.registry_place import RegistryPlace
from polyarch.images.tally import Arrival
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_LAYER
from polyarch.oci.reference import parse as parse_reference
from polyarch.store.store import Store
from tests.support.machine.programs import Person
from tests.support.network.faults import Fault, fault_proxy
from tests.support.network.registry import registry_places
from tests.support.network.servers import RealRegistry, real_registry

DATA = random.Random(3).randbytes(9 << 20)
WHOLE = Descriptor(media_type=OCI_LAYER, digest=sha256(DATA), size=len(DATA))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with real_registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store", works=True) as found:
        yield found


@contextmanager
def early_push(host: str, name: str) -> Iterator[tuple[EarlyPush, RegistryPlace]]:
    place = registry_places().repository(parse_reference(f"{host}/{name}"))
    with EarlyPush(place) as early:
        early.begin()
        yield early, place


def write(store: Store, early: EarlyPush, data: bytes = DATA) -> Digest:
    """Write a blob by pieces of an odd size."""
    with store.blobs.writer() as writer, early.followed(writer) as sink:
        for start in range(0, len(data), 300_001):
            sink.write(data[start : start + 300_001])
    return writer.digest


def fail(store: Store, early: EarlyPush) -> None:
    with store.blobs.writer() as writer, early.followed(writer) as sink:
        sink.write(DATA)
        raise StoreError("the disk is full")


def asked(server: RealRegistry, name: str) -> list[str]:
    """Return the methods of all requests about a repository."""
    return [each.split()[0] for each in server.requests() if f"/v2/{name}/" in each]


def arrival(early: EarlyPush, place: RegistryPlace) -> Arrival | None:
    return early.arrival(place.name, WHOLE, lambda _size: None)


def test_a_blob_is_there_when_it_is_whole(store: Store, server: RealRegistry) -> None:
    with early_push(server.host, "early/whole") as (early, place):
        assert write(store, early) == WHOLE.digest
        assert arrival(early, place) is Arrival.UPLOADED
        assert early.arrival("other/repository", WHOLE, lambda _size: None) is None

        assert b"".join(place.open_blob(WHOLE).chunks()) == DATA
    # When it is asked whether it has the blob depends on who is quicker, and the last line may come after the answer.
    requests = [each for each in asked(server, "early/whole") if each not in {"HEAD", "GET"}]
    assert requests == ["POST", "PATCH", "PUT"]


def test_what_the_registry_has_is_given_up(store: Store, server: RealRegistry) -> None:
    with early_push(server.host, "early/there") as (early, place):
        write(store, early)
        arrival(early, place)
    with early_push(server.host, "early/there") as (early, place):
        write(store, early)
        assert arrival(early, place) is Arrival.THERE
    assert asked(server, "early/there").count("PUT") == 1


def test_small_blobs_and_those_of_no_push_are_left_to_the_push(
    store: Store, server: RealRegistry
) -> None:
    with early_push(server.host, "early/small") as (early, place):
        write(store, early, DATA[: 7 << 20])
        assert arrival(early, place) is None
    waiting = EarlyPush(place)
    with waiting:
        write(store, waiting)
        assert arrival(waiting, place) is None
    assert asked(server, "early/small") == []


def test_a_blob_that_fails_is_nobodys(store: Store, server: RealRegistry) -> None:
    with early_push(server.host, "early/broken") as (early, place):
        with pytest.raises(StoreError):
            fail(store, early)
        assert not place.holds(WHOLE)
        assert arrival(early, place) is None
    assert "PUT" not in asked(server, "early/broken")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(on="^PATCH", status=405),
        Fault(on="^PATCH", status=500),
        Fault(on="^POST", status=403),
        Fault(on="^PUT", status=400),
    ],
    ids=lambda fault: f"{fault.on[1:]}-{fault.status}",
)
def test_a_registry_that_refuses_gets_it_from_the_push(
    store: Store, server: RealRegistry, fault: Fault
) -> None:
    name = f"early/{fault.on[1:].lower()}-{fault.status}"
    with fault_proxy(server.host) as proxy:
        proxy.faults = [fault]
        with early_push(proxy.host, name) as (early, place):
            write(store, early)
            assert arrival(early, place) is None
            assert not place.holds(WHOLE)


@pytest.mark.runtime
@pytest.mark.root
def test_a_build_that_pushes(root: Person, server: RealRegistry) -> None:
    root.write("c/large", "")
    (root.work / "c/large").write_bytes(DATA)
    root.write("c/Dockerfile", "FROM scratch\nCOPY large /large\n")
    root.run("build", "c").check()

    name = f"{server.host}/early/built:1"
    told = root.run("build", "-t", name, "--push", "--progress=plain", "c").check().err

    assert "uploaded" in told
    assert "there already" not in told
    assert "PATCH" in asked(server, "early/built")
    output = "type=local,dest=out"
    root.run("build", "-o", output, "-", stdin=f"FROM {name}\n".encode()).check()
    assert (root.work / "out/large").read_bytes() == DATA
