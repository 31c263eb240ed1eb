"""Special files where a small one is read: nothing waits, nothing but regular files is opened, and no more is read.

A FIFO as `/etc/passwd` or as Dockerfile, a device node in a context, files without an end, and links out of a root
or through /proc (the kind of CVE-2018-15664 of Docker and CVE-2024-23651 of BuildKit).
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.inroot import open_regular, read_small
from polyarch.worker.users import account, owner
from tests.support.machine.programs import Person
from tests.support.network.plants import Member, plant_image, tar_of
from tests.support.network.registry import serving
from tests.support.network.servers import RealRegistry


def make_large(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def link_to_device(path: Path) -> None:
    os.mknod(path.parent / "dev", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    path.symlink_to("dev")


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "FIFO": (os.mkfifo, "a FIFO"),
    "device": (lambda path: os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5)), "a device"),
    "link to a device": (link_to_device, "a device"),
    "large": (make_large, "larger"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    directory = tmp_path / "tree"
    (directory / "etc").mkdir(parents=True)
    return directory


@pytest.mark.root
@pytest.mark.parametrize("name", ["passwd", "group"])
@pytest.mark.parametrize("kind", KINDS)
def test_files_of_users_are_regular(tree: Path, kind: str, name: str) -> None:
    make, what = KINDS[kind]
    make(tree / "etc" / name)
    text = "bob" if name == "passwd" else "7:staff"
    for ask in (account, owner):
        with pytest.raises(InputError, match=f"/etc/{name} is {what}"):
            ask(tree, text)


def test_no_link_leads_out_of_a_root(tree: Path) -> None:
    (tree.parent / "victim").write_text("of the host")
    (tree / "up").symlink_to("../../victim")
    (tree / "magic").symlink_to("/proc/self/root/etc/passwd")
    (tree / "victim").write_text("of the image")

    assert read_small("up", 100, "file", root=tree) == b"of the image"
    for path in ("magic", "/../../victim/x"):
        with pytest.raises(OSError, match=r"No such file|Not a directory"):
            open_regular(path, root=tree)


def test_magic_links_are_no_links(tree: Path) -> None:
    """Those of /proc lead wherever the process itself may go, a root or not."""
    with pytest.raises(OSError, match="Too many levels"):
        open_regular("self/exe", root=Path("/proc"))


@pytest.mark.root
@pytest.mark.runtime
@pytest.mark.parametrize(
    "name", ["Dockerfile", ".dockerignore", "Dockerfile.dockerignore", "Dockerfile.rego"]
)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "link to a device"])
def test_a_context_of_special_files_is_refused(root: Person, kind: str, name: str) -> None:
    if name != "Dockerfile":
        root.write("Dockerfile", "FROM scratch\nCOPY . /\n")
    make, what = KINDS[kind]
    make(root.work / name)
    ended = root.run("build", "-o", "out", ".", seconds=60)

    assert ended.status == 1
    assert f"{name} is {what}" in ended.complaint()


@pytest.mark.root
@pytest.mark.runtime
@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_a_special_dockerfile_on_standard_input_is_not_opened(root: Person, kind: bytes) -> None:
    device: dict[str, object] = {"type": kind, "devmajor": 1, "devminor": 5}
    ended = root.run("build", "-", stdin=tar_of([("Dockerfile", device, b"")]), seconds=60)

    assert ended.status == 1
    assert "Dockerfile is a " in ended.complaint()


@pytest.mark.root
@pytest.mark.runtime
def test_a_link_in_an_archive_leads_to_its_own_files(root: Person) -> None:
    link: dict[str, object] = {"type": tarfile.SYMTYPE, "linkname": "/../../etc/inner"}
    inner: Member = ("etc/inner", {}, b"FROM scratch\nCOPY etc /found\n")
    root.run("build", "-o", "out", "-", stdin=tar_of([("Dockerfile", link, b""), inner])).check()

    assert os.listdir(root.work / "out/found") == ["inner"]


@pytest.mark.root
@pytest.mark.runtime
@pytest.mark.parametrize("text", ["USER bob", "USER 7:staff", "COPY --chown=bob Dockerfile /"])
def test_an_image_with_a_fifo_of_users(root: Person, text: str) -> None:
    fifo: dict[str, object] = {"type": tarfile.FIFOTYPE}
    members = [(f"etc/{name}", fifo, b"") for name in ("passwd", "group")]
    with serving() as server:
        plant_image(server, "app", tar_of(members))
        root.write("Dockerfile", f'FROM {server.host}/app\n{text}\nRUN ["/x"]\n')
        ended = root.run("build", ".", seconds=60)

    assert ended.status == 1
    assert "is a FIFO, and no regular file" in ended.complaint()


@pytest.mark.root
@pytest.mark.runtime
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_a_step_that_leaves_a_fifo_stops_nobody(
    who: Person, registry: RealRegistry, platform: str
) -> None:
    base = f"{registry.host}/library/busybox"
    lines = (f"FROM {base}", "RUN rm /etc/passwd && mkfifo /etc/passwd", "RUN echo $HOME")
    who.write("Dockerfile", "\n".join(lines))
    ended = who.run("build", "--platform", platform, ".", seconds=60)

    assert ended.status == 1
    assert "/etc/passwd is a FIFO, and no regular file" in ended.complaint()


@pytest.mark.root
@pytest.mark.parametrize("name", ["index.json", "blob"])
def test_a_layout_of_special_files_is_refused(root: Person, name: str) -> None:
    directory = root.work / "layout/blobs/sha256"
    directory.mkdir(parents=True)
    entry = (
        b'{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":2}'
    )
    (root.work / "layout/index.json").write_bytes(b'{"manifests":[%s]}' % (entry % (b"a" * 64)))
    os.mkfifo(directory / ("a" * 64))
    if name == "index.json":
        (root.work / "layout/index.json").unlink()
        os.mkfifo(root.work / "layout/index.json")
    root.write("Dockerfile", "FROM base\n")
    ended = root.run("build", "--build-context", "base=oci-layout://layout", ".", seconds=60)

    assert ended.status == 1
    assert ("it has no index.json" if name == "index.json" else "is a FIFO") in ended.complaint()


def test_the_limit_is_one_of_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))

    assert len(read_small(path, 1 << 20, "file")) == 1 << 20
    path.write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(InputError, match=r"/file is larger than 1 MiB: that is no file$"):
        read_small(path, 1 << 20, "file")
    with io.FileIO(open_regular(path)) as stream:
        assert stream.read(1) == b"\0"
