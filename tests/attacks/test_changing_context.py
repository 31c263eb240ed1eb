"""Build contexts that change between the look at a file and the reading of it, and links out of them.

Whoever may write to a context must not get files of this machine into an image (CVE-2021-41089 and
CVE-2018-15664 are of this class), nor make a build wait for ever.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.worker.copy import Copier
from polyarch.worker.steady import SteadyDirectory
from polyarch.worker.tree import SourceTree, find_path
from tests.support.machine.programs import Person

Change = Callable[[Path], object]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "dir").mkdir(parents=True)
    (root / "dir/file").write_text("public")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/file").write_text("secret")
    return root


def swap_directory(root: Path) -> None:
    (root / "dir").rename(root / "aside")
    (root / "dir").symlink_to(root.parent / "secrets")


def swap_file(root: Path) -> None:
    (root / "dir/file").unlink()
    (root / "dir/file").symlink_to(root.parent / "secrets/file")


def swap_for_pipe(root: Path) -> None:
    (root / "dir/file").unlink()
    os.mkfifo(root / "dir/file")


def grow(root: Path) -> None:
    with (root / "dir/file").open("a") as stream:
        stream.write("more")


def rewrite(root: Path) -> None:
    (root / "dir/file").write_text("PUBLIC")


def vanish(root: Path) -> None:
    (root / "dir/file").unlink()


CHANGES = [swap_directory, swap_file, swap_for_pipe, grow, rewrite, vanish]


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_seen_is_what_is_copied(context: Path, tmp_path: Path, change: Change) -> None:
    tree = SourceTree(root=context, is_context=True)
    entry = find_path(tree, "dir")
    tree.entries(entry.path)
    change(context)

    (tmp_path / "root").mkdir()
    with pytest.raises(InputError, match=r"dir/file changed while it was read$"):
        Copier(source=tree, root=tmp_path / "root").copy(entry, "/new")

    assert not list((tmp_path / "root").rglob("*secret*"))


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_seen_is_what_is_hashed(context: Path, change: Change) -> None:
    tree = SourceTree(root=context, is_context=True)
    ((name, status),) = tree.entries(context / "dir")
    change(context)

    with closing(SteadyDirectory(f"{context}/dir")) as directory:
        with pytest.raises(InputError, match=r"dir/file changed while it was read$"):
            os.close(directory.open(name, status))
        with pytest.raises(InputError, match=r"dir/file changed while it was read$"):
            directory.read(name, status)


def test_a_directory_that_became_a_link_is_not_listed(context: Path) -> None:
    tree = SourceTree(root=context, is_context=True)
    swap_directory(context)

    with pytest.raises(InputError, match=r"dir changed while it was read$"):
        tree.entries(context / "dir")


def test_a_link_that_became_another_is_not_read(context: Path) -> None:
    (context / "dir/link").symlink_to("file")
    tree = SourceTree(root=context, is_context=True)
    status = (context / "dir/link").lstat()
    swap_directory(context)

    with pytest.raises(InputError, match=r"link changed while it was read$"):
        tree.link(f"{context}/dir/link", status)


@pytest.mark.runtime
@pytest.mark.root
@pytest.mark.parametrize("target", ["../outside", "{work}/outside", "/etc/passwd"])
@pytest.mark.parametrize("name", ["Dockerfile", "dockerfile", "other"])
def test_a_dockerfile_does_not_lead_out(root: Person, target: str, name: str) -> None:
    root.write("outside", "FROM scratch\nLABEL secret=1\n")
    (root.work / "c").mkdir()
    (root.work / "c" / name).symlink_to(target.format(work=root.work))

    ended = root.run("build", "-f", f"c/{name}", "c")

    assert ended.status != 0
    assert f"failed to read dockerfile: open c/{name}: no such file or directory" in ended.err
    assert "secret" not in ended.err


@pytest.mark.runtime
@pytest.mark.root
def test_a_dockerfile_may_be_a_link_beside_it(root: Person) -> None:
    root.write("c/real/one", "FROM scratch\nLABEL a=b\n")
    (root.work / "c/Dockerfile").symlink_to("real/one")

    root.run("build", "c").check()


@pytest.mark.runtime
@pytest.mark.root
@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore"])
def test_a_pipe_is_not_waited_for(root: Person, name: str) -> None:
    root.write("c/Dockerfile", "FROM scratch\n")
    (root.work / "c" / name).unlink(missing_ok=True)
    os.mkfifo(root.work / "c" / name)

    ended = root.run("build", "c")

    assert f"{name} is a FIFO, and no regular file" in ended.err
    assert ended.status != 0


@pytest.mark.runtime
@pytest.mark.root
def test_an_ignore_file_does_not_lead_out(root: Person) -> None:
    root.write("outside", "*\n")
    root.write("c/Dockerfile", "FROM scratch\nCOPY file /\n")
    root.write("c/file", "content")
    (root.work / "c/.dockerignore").symlink_to("../outside")

    root.run("build", "-o", "out", "c").check()

    assert (root.work / "out/file").read_text() == "content"


@pytest.mark.runtime
@pytest.mark.root
def test_a_link_named_like_a_platform_is_not_followed(root: Person) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /file\n")
    (root.work / "elsewhere").mkdir()
    (root.work / "out").mkdir()
    (root.work / "out/linux_amd64").symlink_to(root.work / "elsewhere")

    platforms = "--platform=linux/amd64,linux/arm64"
    root.run("build", platforms, "-o", "out", ".").check()

    assert os.listdir(root.work / "elsewhere") == []
    assert (root.work / "out/linux_amd64/file").is_file()
