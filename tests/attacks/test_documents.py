"""Documents and answers made by an attacker: each is an error about it, in bounds of memory, and never a bug.

JSON without an end of its depth, numbers, texts and lists where others belong, sizes that wrap or are a lie
(CVE-2021-41190: documents of two kinds), diff IDs that are paths, indexes in indexes, answers of servers that never
end (the kind of CVE-2023-45288 and CVE-2024-24791: heads and interim answers of Go's client), bodies larger than
anybody may send (CVE-2022-31030 and CVE-2023-25153: containerd's memory).
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polyarch.http.connection import Connection, ProtocolError
from tests.support.machine.programs import Ended, Person
from tests.support.network.plants import CONFIG, MANIFEST, Json, plant_image, tar_of
from tests.support.network.registry import Registry, digest_of, serving

pytestmark = [pytest.mark.root]

LAYER_TAR = tar_of([("file", {}, b"content")])
INDEX = "application/vnd.oci.image.index.v1+json"
DEEP = b"[" * 100_000
BAD: dict[str, bytes] = {
    "nothing": b"",
    "no object": b"[]",
    "deep lists": DEEP,
    "deep objects": b'{"config":' * 50_000,
    "deep value": b'{"config":%s' % DEEP,
    "NaN": b'{"config":{"size":NaN}}',
    "an endless number": b'{"manifests":[{"size":%s}]}' % (b"1" * 5000),
    "no UTF-8": b"\xff\xfe{\0}\0",
    "null": b"null",
    "cut short": b'{"manifests":[{',
}
MANIFESTS: dict[str, Callable[[Json], object]] = {
    "no config": lambda found: found.pop("config"),
    "a config that is a list": lambda found: found.update(config=[]),
    "layers that are an object": lambda found: found.update(layers={"a": 1}),
    "layers of texts": lambda found: found.update(layers=["sha256:a"]),
    "a digest that is a number": lambda found: found.update(layers=[{"digest": 5, "size": 1}]),
    "a digest that is a path": lambda found: found.update(
        layers=[{"digest": "sha256:../../../../tmp/x", "size": 1}]
    ),
    "a size below 0": lambda found: _size(found, -1),
    "a size of 64 bits": lambda found: _size(found, 1 << 63),
    "a size that is a text": lambda found: _size(found, "7"),
    "a size that is a bool": lambda found: _size(found, True),
    "a size that is no whole number": lambda found: _size(found, 1.5),
    "annotations of numbers": lambda found: found.update(annotations={"a": 1}),
    "a manifest that is an index": lambda found: found.update(manifests=[]),
}
CONFIGS: dict[str, Callable[[Json], object]] = {
    "no layers": lambda found: found.pop("rootfs"),
    "diff IDs that are an object": lambda found: found.update(rootfs={"diff_ids": {"a": 1}}),
    "diff IDs that are a number": lambda found: found.update(rootfs={"diff_ids": 5}),
    "a diff ID that is a path": lambda found: found.update(
        rootfs={"diff_ids": ["sha256:../../../../../tmp/polyarch-escape"]}
    ),
    "a diff ID that is null": lambda found: found.update(rootfs={"diff_ids": [None]}),
}
ODD: dict[str, Json] = {
    "texts": {"Env": "A=b", "Cmd": "sh", "Entrypoint": "sh", "OnBuild": "RUN x", "Shell": "sh"},
    "numbers": {"Env": [1], "Cmd": [2], "User": 3, "WorkingDir": 4, "Labels": 5, "StopSignal": 6},
    "lists": {"Labels": [1], "ExposedPorts": [2], "Volumes": [3], "Healthcheck": [4], "User": []},
    "halves": {"Env": ["\ud800=\udfff"], "Labels": {"\ud800": "\udfff"}, "WorkingDir": "/\ud800"},
    "nul": {"Env": ["A=\0"], "WorkingDir": "/\0", "User": "\0", "Labels": {"\0": "\0"}},
    "large": {"Env": ["A=" + "b" * 1_000_000] * 3, "Labels": {"a": "b" * 100_000}},
}


@pytest.fixture
def server() -> Iterator[Registry]:
    with serving() as found:
        yield found


def _size(manifest: Json, size: object) -> None:
    layers = manifest["layers"]
    assert isinstance(layers, list)
    layers[0]["size"] = size


def put_root(server: Registry, kind: str, data: bytes) -> None:
    server.manifests["app", "latest"] = (kind, data)
    server.manifests["app", digest_of(data)] = (kind, data)


def refused(who: Person, server: Registry) -> Ended:
    """Pull and build on the image; both say what is wrong with it."""
    who.write("Dockerfile", f"FROM {server.host}/app\nCOPY Dockerfile /\n")
    who.run("pull", f"{server.host}/app")
    ended = who.run("build", "-o", "out", ".")
    assert ended.status == 1
    assert "this is a bug" not in ended.err
    assert not [*Path("/tmp").glob("polyarch-escape*")]
    return ended


@pytest.mark.parametrize("kind", [MANIFEST, INDEX])
@pytest.mark.parametrize("case", BAD)
def test_a_root_that_is_no_document(root: Person, server: Registry, case: str, kind: str) -> None:
    put_root(server, kind, BAD[case])

    assert digest_of(BAD[case]) in refused(root, server).complaint()


@pytest.mark.parametrize("case", BAD)
def test_a_config_that_is_no_document(root: Person, server: Registry, case: str) -> None:
    plant_image(server, "app", LAYER_TAR)
    data = BAD[case]
    server.blobs["app", digest_of(data)] = data
    kind, whole = server.manifests["app", "latest"]
    manifest = json.loads(whole)
    manifest["config"] = {"mediaType": CONFIG, "digest": digest_of(data), "size": len(data)}
    put_root(server, kind, json.dumps(manifest).encode())

    complaint = refused(root, server).complaint()
    assert f"the image config {digest_of(data)} can't be read: the document is " in complaint


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_manifest_with_the_wrong_values(root: Person, server: Registry, case: str) -> None:
    plant_image(server, "app", LAYER_TAR)
    kind, whole = server.manifests["app", "latest"]
    manifest = json.loads(whole)
    MANIFESTS[case](manifest)
    put_root(server, kind, json.dumps(manifest).encode())

    assert "the manifest sha256:" in refused(root, server).complaint()


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_with_the_wrong_layers(root: Person, server: Registry, case: str) -> None:
    def change(_manifest: Json, config: Json) -> None:
        CONFIGS[case](config)

    plant_image(server, "app", LAYER_TAR, change)

    complaint = refused(root, server).complaint()
    assert "can't be read: rootfs.diff_ids" in complaint or "its config tells of 0" in complaint


@pytest.mark.runtime
@pytest.mark.parametrize("case", ODD)
def test_a_config_with_odd_settings_is_no_bug(root: Person, server: Registry, case: str) -> None:
    plant_image(server, "app", LAYER_TAR, lambda _, config: config.update(config=ODD[case]))
    root.write("Dockerfile", f"FROM {server.host}/app\nENV B=$A\nCOPY Dockerfile x/\n")
    built = root.run("build", "-o", "type=oci,dest=out.tar", ".")
    ran = root.run("run", f"{server.host}/app", "x")

    assert "this is a bug" not in built.err + ran.err
    assert built.status in {0, 1}, built.err
    assert ran.status in {1, 125, 126, 127}, ran.err


@pytest.mark.parametrize("part", ["config", "manifest"])
def test_a_large_document_is_not_even_asked_for(root: Person, server: Registry, part: str) -> None:
    size = 300 << 20
    digest = "sha256:" + "a" * 64
    plant_image(server, "app", LAYER_TAR)
    kind, whole = server.manifests["app", "latest"]
    document = json.loads(whole)
    document["config"] = {"mediaType": CONFIG, "digest": digest, "size": size}
    if part == "manifest":
        platform = {"os": "linux", "architecture": "amd64"}
        entry = {"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform}
        kind, document = INDEX, {"manifests": [entry]}
    put_root(server, kind, json.dumps(document).encode())

    assert f"{digest} is a document of {size} bytes" in refused(root, server).complaint()
    assert not [line for line in server.requests if digest in line]


def test_a_large_document_of_a_layout_is_not_copied(root: Person) -> None:
    directory = root.work / "layout/blobs/sha256"
    directory.mkdir(parents=True)
    (directory / ("a" * 64)).touch()
    os.truncate(directory / ("a" * 64), 300 << 20)
    entry = {"mediaType": MANIFEST, "digest": "sha256:" + "a" * 64, "size": 0}
    (root.work / "layout/index.json").write_text(json.dumps({"manifests": [entry]}))
    root.write("Dockerfile", "FROM base\n")
    ended = root.run("build", "--build-context", "base=oci-layout://layout", ".")

    assert "is a document of 314572800 bytes" in ended.complaint()


def test_indexes_are_not_followed_for_ever(root: Person, server: Registry) -> None:
    entry: Json = {"mediaType": MANIFEST, "digest": "sha256:" + "a" * 64, "size": 2}
    for _ in range(12):
        platform = {"os": "linux", "architecture": "amd64"}
        data = json.dumps({"manifests": [{**entry, "platform": platform}]}).encode()
        put_root(server, INDEX, data)
        entry = {"mediaType": INDEX, "digest": digest_of(data), "size": len(data)}

    assert "is more than 8 indexes, one in another" in refused(root, server).complaint()


# --- answers of servers ---

ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
    "a line": (b"HTTP/1.1 200 ", b"a" * 1000),
    "fields": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "large fields": (b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 60_000 + b"\r\n"),
    "folded lines": (b"HTTP/1.1 200 OK\r\nX: y\r\n", b" z\r\n"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "a chunk's extension": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1",
        b";x=y" * 1000,
    ),
    "a length": (b"HTTP/1.1 200 OK\r\nContent-Length: ", b"9" * 1000),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_answers_without_an_end_come_to_one(case: str) -> None:
    ours, theirs = socket.socketpair()
    start, more = ENDLESS[case]

    def send() -> None:
        with theirs:
            try:
                theirs.sendall(start)
                while True:
                    theirs.sendall(more)
            except OSError:
                pass  # nobody listens any longer

    sender = threading.Thread(target=send)
    sender.start()
    connection = Connection(ours)
    try:
        with pytest.raises(ProtocolError):
            list(connection.exchange("GET", "/", {"Host": "x"}, b"").stream(1 << 16))
    finally:
        connection.close()
        sender.join()


@pytest.mark.parametrize("length", ["9" * 19, "9" * 5000, "-1", "0x5", "1_0", "+5", "\xb2"])
def test_lengths_that_are_none(length: str) -> None:
    ours, theirs = socket.socketpair()
    connection = Connection(ours)
    with theirs:
        theirs.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode("latin-1"))
        with pytest.raises(ProtocolError, match="a body of the length"):
            connection.exchange("GET", "/", {"Host": "x"}, b"")
    connection.close()
