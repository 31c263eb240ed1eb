"""Files of web servers in ADD and as contexts, and what comes on standard input."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator

import pytest

from tests.support.machine.programs import Person
from tests.support.machine.users import for_one_user
from tests.support.network.web import Page, WebServer, web_server

pytestmark = [pytest.mark.runtime, pytest.mark.root]

DOCKERFILE = "FROM scratch\nCOPY file /\n"
DATED = {"Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT"}
DATE = 1_700_000_000


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def archive(kind: str, **files: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=f"w:{kind}") as tar:  # type: ignore[call-overload]
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(text), 5
            tar.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()


def added(who: Person, *words: str) -> tarfile.TarInfo:
    """Build an image; return the only file in its only layer."""
    who.run("build", *words, "-o", "type=oci,tar=false,dest=image", ".").check()
    directory = who.work / "image"
    (entry,) = json.loads((directory / "index.json").read_text())["manifests"]
    manifest = json.loads(blob(who, entry["digest"]))
    (layer,) = manifest["layers"]
    with tarfile.open(fileobj=io.BytesIO(blob(who, layer["digest"]))) as tar:
        (member,) = (each for each in tar if each.isfile())
    return member


def blob(who: Person, digest: str) -> bytes:
    return (who.work / "image/blobs" / digest.replace(":", "/")).read_bytes()


def test_what_a_file_is_like(root: Person, web: WebServer) -> None:
    web.pages["/dir/a%20b"] = Page(b"content", DATED)
    root.write("Dockerfile", f"FROM scratch\nADD {web.address}/dir/a%20b?x=y /d/\n")
    web.pages["/dir/a%20b?x=y"] = web.pages["/dir/a%20b"]

    file = added(root)

    assert (file.name, file.mode, file.uid, file.mtime) == ("d/a b", 0o600, 0, DATE)


def test_owner_and_mode_of_a_file(root: Person, web: WebServer) -> None:
    web.pages["/"] = Page(b"content")
    root.write("Dockerfile", f"FROM scratch\nADD --chown=5:6 --chmod=755 {web.address}/ /d/\n")

    file = added(root)

    assert (file.name, file.mode, file.uid, file.gid) == ("d/__unnamed__", 0o755, 5, 6)


def test_an_archive_that_is_unpacked(root: Person, web: WebServer) -> None:
    web.pages["/x"] = Page(archive("gz", inner="text"))
    root.write("Dockerfile", f"FROM scratch\nADD --unpack {web.address}/x /d/\n")

    assert added(root).name == "d/inner"


def test_an_archive_that_was_coded_on_the_way(root: Person, web: WebServer) -> None:
    headers = {"Content-Encoding": "gzip"}
    packed = archive("gz", inner="text")
    web.pages |= {"/x": Page(gzip.compress(packed), headers), "/y.tgz": Page(packed, headers)}
    checksum = f"sha256:{hashlib.sha256(packed).hexdigest()}"
    root.write(
        "Dockerfile",
        f"FROM scratch\nADD --unpack --checksum={checksum} {web.address}/x /d/\n"
        f"ADD {web.address}/y.tgz /\n",
    )

    root.run("build", "-o", "out", ".").check()

    assert (root.work / "out/d/inner").read_text() == "text"
    # What such a server calls a .tgz is a tar by the time it is here, as it is with BuildKit.
    assert tarfile.is_tarfile(root.work / "out/y.tgz")
    assert (root.work / "out/y.tgz").read_bytes() == gzip.decompress(packed)


@for_one_user
def test_a_context_that_was_coded_on_the_way(who: Person, web: WebServer) -> None:
    files = archive("", Dockerfile=DOCKERFILE, file="text")
    web.pages["/c.tar"] = Page(gzip.compress(files), {"Content-Encoding": "gzip"})

    who.run("build", "-o", "out", f"{web.address}/c.tar").check()

    assert (who.work / "out/file").read_text() == "text"


def test_a_secret_for_a_server(who: Person, web: WebServer) -> None:
    web.pages["/x"] = Page(b"content")
    who.environ["TOKEN"] = "b33f"
    who.write("Dockerfile", f"FROM scratch\nADD {web.address}/x /\n")

    words = ("--secret=id=HTTP_AUTH_TOKEN_127.0.0.1,env=TOKEN", "--progress=plain")
    ended = who.run("build", *words, "-o", "out", ".").check()

    assert web.asked[0].headers["Authorization"] == "Bearer b33f"
    assert "b33f" not in ended.err


@for_one_user
def test_an_archive_as_context(who: Person, web: WebServer) -> None:
    web.pages["/context.tgz"] = Page(archive("gz", Dockerfile=DOCKERFILE, file="text"))

    who.run("build", "-o", "out", f"{web.address}/context.tgz").check()

    assert (who.work / "out/file").read_text() == "text"


@for_one_user
def test_a_dockerfile_of_a_server_for_a_directory(who: Person, web: WebServer) -> None:
    web.pages["/df"] = Page(DOCKERFILE.encode())
    who.write("file", "text")

    who.run("build", "-f", f"{web.address}/df", "-o", "out", ".").check()

    assert (who.work / "out/file").read_text() == "text"


def test_a_dockerfile_on_standard_input_for_an_archive(root: Person, web: WebServer) -> None:
    web.pages["/x"] = Page(archive("", file="text"))

    words = ("-f", "-", "-o", "out", f"{web.address}/x")
    root.run("build", *words, stdin=DOCKERFILE.encode()).check()

    assert (root.work / "out/file").read_text() == "text"


@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz"])
def test_an_archive_on_standard_input(root: Person, kind: str) -> None:
    data = archive(kind, **{"other.df": DOCKERFILE}, file="text")

    root.run("build", "-f", "other.df", "-o", "out", "-", stdin=data).check()

    assert (root.work / "out/file").read_text() == "text"


def test_a_server_that_refuses(root: Person, web: WebServer) -> None:
    root.write("Dockerfile", f"FROM scratch\nADD {web.address}/none /\n")

    ended = root.run("build", ".")

    assert ended.status == 1
    assert "invalid response status 404" in ended.complaint()
    assert "Dockerfile:2" in ended.complaint()
