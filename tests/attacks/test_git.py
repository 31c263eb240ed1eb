"""Repositories made by an attacker: nothing of theirs is run, read or written outside of the checkout.

Submodules whose address is a command (CVE-2017-1000117, CVE-2018-17456), whose name or path leads elsewhere
(CVE-2018-11235, CVE-2025-48384), that say how they want to be updated, that lie on this machine
(CVE-2022-39253), or whose place is a link (CVE-2021-21300, CVE-2024-32002); refs that are read as options
(CVE-2019-13139); subdirectories that are links (CVE-2026-33748); filters, hooks and settings that
a repository brings along.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.errors import InputError, PolyarchError
from polyarch.graph.op import GitOp
from polyarch.progress import CancelToken
from polyarch.store.store import Store
from polyarch.worker.secrets import Secrets
from polyarch.worker.source_git import GitSource, GitTree
from tests.support.network.gitweb import commit, new_repository
from tests.support.network.servers import git_daemon

VICTIM = "of the host"


@pytest.fixture
def source(tmp_path: Path) -> Iterator[GitSource]:
    with Store(tmp_path / "store") as store:
        yield GitSource(store=store, secrets=Secrets(), environ=os.environ)


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "remote", {"file": "one"})


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A directory of the host whose one file nobody may read or change."""
    directory = tmp_path / "victim"
    directory.mkdir()
    (directory / "file").write_text(VICTIM)
    return directory


def fetch(source: GitSource, remote: Path, **fields: object) -> GitTree:
    op = GitOp(remote=f"file://{remote}", **fields)  # type: ignore[arg-type]
    return source.fetch(op, CancelToken())


def add_submodule(remote: Path, settings: str, path: str, number: str = "") -> None:
    """Commit a submodule as only somebody who means ill writes it."""
    number = number or commit(remote, "rev-parse", "HEAD")
    (remote / ".gitmodules").write_text(settings)
    commit(remote, "add", ".gitmodules")
    commit(remote, "update-index", "--add", "--cacheinfo", f"160000,{number},{path}")
    commit(remote, "commit", "-q", "-m", "module")


@pytest.mark.parametrize(
    "settings",
    [
        '[submodule "m"]\n path = m\n url = "ext::sh -c touch% {mark}"\n',
        '[submodule "m"]\n path = m\n url = "--upload-pack=touch {mark}"\n',
        '[submodule "m"]\n path = m\n url = "-utouch\\t{mark}"\n',
        '[submodule "m"]\n path = m\n url = "ssh://-oProxyCommand=touch\\t{mark}/x"\n',
        '[submodule "m"]\n path = m\n url = "git://h/x\\n;touch {mark}"\n',
        '[submodule "m"]\n path = m\n url = "fd::17/../{mark}"\n',
        '[submodule "m"]\n path = m\n url = {fine}\n update = "!touch {mark}"\n',
        '[submodule "m"]\n path = m\n url = {fine}\n branch = "--exec=touch {mark}"\n',
        '[submodule "m"]\n path = m\n url = {fine}\n fetchRecurseSubmodules = "!touch {mark}"\n',
        '[submodule "../../m"]\n path = m\n url = {fine}\n',
        '[submodule "../modules/m"]\n path = m\n url = {fine}\n',
        '[submodule "--upload-pack=touch {mark}"]\n path = m\n url = {fine}\n',
    ],
)
def test_submodules_run_no_commands(
    source: GitSource, remote: Path, tmp_path: Path, settings: str
) -> None:
    number = commit(new_repository(tmp_path / "fine", {"inner": "inner"}), "rev-parse", "HEAD")
    mark = tmp_path / "mark"
    with git_daemon(tmp_path) as address:
        text = settings.format(mark=mark, fine=f"{address}/fine")
        add_submodule(remote, text, "m", number)

        with contextlib.suppress(PolyarchError):
            fetch(source, remote)

    assert not mark.exists()


@pytest.mark.parametrize("path", ["m\r", "hooks\r", "m\n", "--m", "-"])
def test_a_path_of_a_submodule_with_signs_that_git_reads_otherwise(
    source: GitSource, remote: Path, tmp_path: Path, path: str
) -> None:
    """A hook would be run if the checkout went through the link to where hooks lie."""
    mark = tmp_path / "mark"
    fine = new_repository(tmp_path / "fine", {"post-checkout": f"#!/bin/sh\ntouch {mark}\n"})
    (fine / "post-checkout").chmod(0o755)
    commit(fine, "commit", "-q", "-a", "-m", "executable")
    os.symlink(".git/modules/m/hooks", remote / path.rstrip("\r\n"))
    commit(remote, "add", "--", path.rstrip("\r\n"))
    with git_daemon(tmp_path) as address:
        escaped = path.replace("\n", "\\n")
        text = f'[submodule "m"]\n\tpath = "{escaped}"\n\turl = {address}/fine\n'
        add_submodule(remote, text, path, commit(fine, "rev-parse", "HEAD"))

        with contextlib.suppress(PolyarchError):
            fetch(source, remote)

    assert not mark.exists()


@pytest.mark.parametrize("scheme", ["file://", ""])
def test_a_submodule_is_no_repository_of_this_machine(
    source: GitSource, remote: Path, tmp_path: Path, scheme: str
) -> None:
    private = new_repository(tmp_path / "private", {"file": VICTIM})
    text = f'[submodule "m"]\n path = m\n url = {scheme}{private}\n'
    add_submodule(remote, text, "m", commit(private, "rev-parse", "HEAD"))

    with pytest.raises(PolyarchError, match="not allowed"):
        fetch(source, remote)


def test_a_submodule_in_the_place_of_a_link(
    source: GitSource, remote: Path, tmp_path: Path, victim: Path
) -> None:
    number = commit(new_repository(tmp_path / "fine", {"file": "theirs"}), "rev-parse", "HEAD")
    os.symlink(victim, remote / "link")
    commit(remote, "add", "link")
    with git_daemon(tmp_path) as address:
        text = f'[submodule "m"]\n path = link/m\n url = {address}/fine\n'
        add_submodule(remote, text, "m", number)
        commit(remote, "config", "-f", ".gitmodules", "submodule.m.path", "link")
        commit(remote, "commit", "-q", "-a", "-m", "the link itself")

        with contextlib.suppress(PolyarchError):
            fetch(source, remote)

    assert [path.name for path in victim.iterdir()] == ["file"]
    assert (victim / "file").read_text() == VICTIM


@pytest.mark.parametrize(
    "ref",
    [
        "--upload-pack=touch {mark}",
        "--exec=touch {mark}",
        "-utouch {mark}",
        "refs/heads/--upload-pack=touch {mark}",
        "main;touch {mark}",
        "$(touch {mark})",
        "main\n--upload-pack=touch {mark}",
    ],
)
def test_a_ref_is_no_option(source: GitSource, remote: Path, tmp_path: Path, ref: str) -> None:
    mark = tmp_path / "mark"

    with pytest.raises(PolyarchError):
        fetch(source, remote, ref=ref.format(mark=mark))

    assert not mark.exists()


@pytest.mark.parametrize(
    "remote", ["--upload-pack=touch {mark}", "ext::sh -c touch% {mark}", "-oProxyCommand=touch@x"]
)
def test_an_address_is_no_option(source: GitSource, tmp_path: Path, remote: str) -> None:
    mark = tmp_path / "mark"

    with pytest.raises(PolyarchError):
        source.fetch(GitOp(remote=remote.format(mark=mark)), CancelToken())

    assert not mark.exists()


@pytest.mark.parametrize("subdir", ["link", "link/../link", "inside/link", "inside/link/deep"])
def test_a_subdirectory_is_no_link(
    source: GitSource, remote: Path, victim: Path, subdir: str
) -> None:
    (remote / "inside").mkdir()
    for place in ("link", "inside/link"):
        os.symlink(victim, remote / place)
    commit(remote, "add", ".")
    commit(remote, "commit", "-q", "-m", "links")

    with pytest.raises(InputError, match="is no directory of the repository"):
        fetch(source, remote, subdir=subdir)


def test_a_subdirectory_above_the_repository_is_the_repository(
    source: GitSource, remote: Path, victim: Path
) -> None:
    del victim

    with pytest.raises(InputError, match="is no directory of the repository"):
        fetch(source, remote, subdir="../../victim")


def test_files_that_git_goes_through_are_no_links(
    source: GitSource, remote: Path, victim: Path
) -> None:
    """A tree that names both a link and something below it can only be written by hand."""
    blob = commit(remote, "hash-object", "-w", "file")
    made = f"040000 tree {tree(remote, f'100644 blob {blob}', 'file')}\tlink\n"
    (remote / "target").write_text(str(victim))
    link = commit(remote, "hash-object", "-w", "target")
    whole = mktree(remote, f"120000 blob {link}\tlink\n{made}")
    number = commit(remote, "commit-tree", whole, "-m", "both")
    commit(remote, "update-ref", "refs/heads/main", number)

    with contextlib.suppress(PolyarchError):
        fetch(source, remote)

    assert (victim / "file").read_text() == VICTIM


def tree(remote: Path, entry: str, name: str) -> str:
    return mktree(remote, f"{entry}\t{name}\n")


def mktree(remote: Path, entries: str) -> str:
    """Write a tree of git with whatever entries."""
    done = subprocess.run(
        ["git", "mktree"], cwd=remote, input=entries, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_what_a_repository_brings_along_is_not_run(
    source: GitSource, remote: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    settings = {
        ".gitattributes": "* filter=evil diff=evil merge=evil\n*.bin filter=lfs\n",
        ".gitconfig": f'[filter "evil"]\n\tsmudge = touch {mark}\n',
        ".lfsconfig": f"[lfs]\n\turl = file://{tmp_path}/remote\n[core]\n\tsshCommand = touch {mark}\n",
        "hooks/post-checkout": f"#!/bin/sh\ntouch {mark}\n",
        "config": f"[core]\n\tfsmonitor = touch {mark}\n\tworktree = /\n",
        "HEAD": "ref: refs/heads/main\n",
        "objects/x": "",
        "refs/x": "",
    }
    for name, text in settings.items():
        (remote / name).parent.mkdir(exist_ok=True)
        (remote / name).write_text(text)
        (remote / name).chmod(0o755)
    commit(remote, "add", ".")
    commit(remote, "commit", "-q", "-m", "settings")

    found = fetch(source, remote)

    assert (found.root / "file").read_text() == "one"
    assert not mark.exists()


@pytest.mark.parametrize("url", ["file://{victim}", "{victim}", "ssh://-oProxyCommand=touch"])
def test_large_files_come_from_no_directory_of_this_machine(
    source: GitSource, remote: Path, victim: Path, url: str
) -> None:
    """The pointer names a file that a repository of the host keeps, whose digest the attacker guessed."""
    private = new_repository(victim.parent / "private", {"file": VICTIM})
    digest = hashlib.sha256(VICTIM.encode()).hexdigest()
    place = private / ".git/lfs/objects" / digest[:2] / digest[2:4]
    place.mkdir(parents=True)
    (place / digest).write_text(VICTIM)
    (remote / ".lfsconfig").write_text(f"[lfs]\n\turl = {url.format(victim=private)}\n")
    (remote / ".gitattributes").write_text("*.bin filter=lfs\n")
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(VICTIM)}\n"
    )
    (remote / "a.bin").write_text(pointer)
    commit(remote, "add", ".")
    commit(remote, "commit", "-q", "-m", "large")

    with contextlib.suppress(PolyarchError):
        assert VICTIM not in (fetch(source, remote).root / "a.bin").read_text()
