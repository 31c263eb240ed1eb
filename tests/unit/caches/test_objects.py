"""Caches in stores of objects: S3 by moto's server, Azure's storage by one made from its protocol."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import boto3
import pytest
from moto.server import ThreadedMotoServer

from polyarch.caches.azblob import open_azblob
from polyarch.caches.objects import ChunkFile, ObjectPlace
from polyarch.caches.s3 import open_s3
from polyarch.digest import sha256
from polyarch.errors import Cancelled, InputError, NotFound, RemoteError
from polyarch.images.pieces import Memory
from polyarch.images.place import read_blob
from polyarch.oci.descriptor import Descriptor
from tests.support.network.azure import ACCOUNT, KEY, Azure, azure

DATA = random.Random(1).randbytes(9 << 20)
BLOB = Descriptor(media_type="application/octet-stream", digest=sha256(DATA), size=len(DATA))
DOCUMENT = b'{"layers":[],"records":[]}'
S3_ATTRIBUTES = {
    "bucket": "caches",
    "region": "us-east-1",
    "use_path_style": "true",
    "access_key_id": "id",
    "secret_access_key": "secret",
    "name": "one;two",
    "prefix": "here/",
    "retry_mode": "standard",
    "retry_max_attempts": "1",
}


@pytest.fixture(scope="module")
def amazon() -> Iterator[str]:
    """Serve S3 with a bucket; gives the address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    client = bucket(address)
    client.create_bucket(Bucket="caches")
    yield address
    server.stop()


def bucket(address: str) -> boto3.session.Session:
    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="id",
        aws_secret_access_key="secret",
    )


@pytest.fixture
def microsoft() -> Iterator[Azure]:
    with azure() as kept:
        yield kept


def at_azure(kept: Azure, **more: str) -> ObjectPlace:
    given = {"account_url": kept.address, "account_name": ACCOUNT, "secret_access_key": KEY}
    return open_azblob({**given, "name": "one;two", "prefix": "here", **more})


def put(place: ObjectPlace) -> None:
    """Put a cache as an export does, twice: what is there isn't sent again."""
    for _ in range(2):
        place.take_blob(BLOB, Memory(DATA), lambda _bytes: None)
        place.tag("", BLOB, DOCUMENT)


def check(place: ObjectPlace) -> None:
    assert place.holds(BLOB)
    assert read_blob(place, BLOB, BLOB.size) == DATA
    assert place.load("")[1] == DOCUMENT


def test_a_bucket_has_what_buildkit_would_put_there(amazon: str) -> None:
    place = open_s3({**S3_ATTRIBUTES, "endpoint_url": amazon})
    assert not place.holds(BLOB)
    with pytest.raises(NotFound, match="manifests/one"):
        place.load("")

    put(place)

    check(place)
    listed = bucket(amazon).list_objects_v2(Bucket="caches")["Contents"]
    assert [each["Key"] for each in listed] == [
        f"here/blobs/{BLOB.digest}",
        "here/manifests/one",
        "here/manifests/two",
    ]


def test_what_is_old_is_made_young_again(amazon: str) -> None:
    place = open_s3(
        {**S3_ATTRIBUTES, "endpoint_url": amazon, "touch_refresh": "-1s", "prefix": "t/"}
    )
    put(place)

    check(place)


def test_a_bucket_that_is_not_there_is_an_error_of_the_cache(amazon: str) -> None:
    place = open_s3({**S3_ATTRIBUTES, "endpoint_url": amazon, "bucket": "none"})

    with pytest.raises(RemoteError, match=r"s3://none: .*bucket does not exist"):
        place.tag("", BLOB, DOCUMENT)
    closed = open_s3({**S3_ATTRIBUTES, "endpoint_url": "http://127.0.0.1:1"})
    with pytest.raises(RemoteError, match="Could not connect"):
        closed.holds(BLOB)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"retry_mode": "often"}, 'retry_mode must be "standard" or "adaptive"'),
        ({"retry_max_attempts": "0"}, "retry_max_attempts must be a positive integer"),
        ({"upload_parallelism": "many"}, "upload_parallelism must be a positive integer"),
    ],
)
def test_attributes_that_can_not_be(attributes: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        open_s3({**S3_ATTRIBUTES, **attributes})

    assert str(caught.value) == message


def test_a_container_has_what_buildkit_would_put_there(microsoft: Azure) -> None:
    place = at_azure(microsoft)
    assert not place.holds(BLOB)
    with pytest.raises(NotFound, match="manifests/one"):
        place.load("")

    put(place)

    check(place)
    assert set(microsoft.blobs) == {
        f"buildkit-cache/here/blobs/{BLOB.digest}",
        "buildkit-cache/here/manifests/one",
        "buildkit-cache/here/manifests/two",
    }
    assert sum("PUT" in each and "blobs" in each for each in microsoft.log) == 1


def test_an_account_without_a_name() -> None:
    with pytest.raises(InputError, match="unable to retrieve account name"):
        open_azblob({"account_url": "nowhere", "secret_access_key": KEY})


def test_chunks_are_read_as_a_file() -> None:
    seen: list[int] = []
    file = ChunkFile(iter((b"abc", b"defg", b"h")), seen.append)

    assert [file.read(2), file.read(4), file.read(), file.read(1)] == [b"ab", b"cdef", b"gh", b""]
    assert seen == [2, 6, 8, 8]


def test_an_export_that_is_cancelled_ends_in_the_middle(microsoft: Azure) -> None:
    def stop(done: int) -> None:
        if done:
            raise Cancelled("enough")

    class Slowly(Memory):
        def _chunks(self) -> Iterator[bytes]:  # type: ignore[override]
            yield DATA[: 1 << 20]
            yield DATA[1 << 20 :]

    with pytest.raises(Cancelled):
        at_azure(microsoft).take_blob(BLOB, Slowly(DATA), stop)


@contextmanager
def rude() -> Iterator[str]:
    """Give the address of somebody who hangs up on all who come."""

    def hang_up() -> None:
        with suppress(OSError):
            while True:
                server.accept()[0].close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=hang_up)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_who_hangs_up_is_no_bug_of_ours() -> None:
    with rude() as address:
        place = open_s3({**S3_ATTRIBUTES, "endpoint_url": address})
        with pytest.raises(RemoteError, match="s3://caches: Connection was closed"):
            place.take_blob(BLOB, Memory(DATA), lambda _: None)
        with pytest.raises(RemoteError, match="s3://caches: Connection was closed"):
            place.load("one")
