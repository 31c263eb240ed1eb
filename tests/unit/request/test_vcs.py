"""What git says of a build context, read from its files; git itself makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from polyarch.request.make import make_request
from polyarch.request.values import BuildRequest
from polyarch.request.vcs import with_git


def git(directory: Path, *words: str) -> str:
    done = subprocess.run(
        ("git", "-c", "user.name=n", "-c", "user.email=e@example", "-C", str(directory), *words),
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working tree with one commit, a remote with a password in its address, and a Dockerfile below."""
    top = tmp_path_factory.mktemp("tree")
    git(top, "init", "-q", "-b", "main")
    (top / "app").mkdir()
    (top / "app" / "Dockerfile").write_text("FROM scratch\n")
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "one")
    git(top, "remote", "add", "upstream", "https://other.example/app.git")
    git(top, "remote", "add", "origin", "https://me:secret@git.example/app.git")
    return top


def asked(context: Path, *, dockerfile: str = "", **environ: str) -> BuildRequest:
    return with_git(make_request(str(context), dockerfile=dockerfile), environ)


def test_commit_remote_and_places(tree: Path) -> None:
    request = asked(tree / "app")

    assert request.vcs == {
        "vcs:revision": git(tree, "rev-parse", "HEAD"),
        "vcs:source": "https://xxxxx:xxxxx@git.example/app.git",
        "vcs:localdir:context": "app",
        "vcs:localdir:dockerfile": "app",
    }
    assert request.labels == {}


def test_labels_for_those_who_want_them(tree: Path) -> None:
    request = asked(
        tree, dockerfile=str(tree / "app/Dockerfile"), BUILDX_GIT_LABELS="full", BUILDX_GIT_INFO="0"
    )

    assert request.vcs == {}
    assert request.labels == {
        "org.opencontainers.image.revision": git(tree, "rev-parse", "HEAD"),
        "org.opencontainers.image.source": "https://xxxxx:xxxxx@git.example/app.git",
        "com.docker.image.source.entrypoint": "app/Dockerfile",
    }


def test_packed_branches_and_detached_heads_are_found(tree: Path) -> None:
    commit = git(tree, "rev-parse", "HEAD")

    git(tree, "pack-refs", "--all")
    packed = asked(tree).vcs["vcs:revision"]
    git(tree, "checkout", "-q", "--detach")
    detached = asked(tree).vcs["vcs:revision"]
    git(tree, "checkout", "-q", "main")

    assert (packed, detached) == (commit, commit)


def test_the_remote_that_a_branch_follows_comes_first(tree: Path) -> None:
    git(tree, "config", "branch.main.remote", "upstream")
    try:
        assert asked(tree).vcs["vcs:source"] == "https://other.example/app.git"
    finally:
        git(tree, "config", "--unset", "branch.main.remote")


def test_another_working_tree_of_the_same_repository(tree: Path, tmp_path: Path) -> None:
    git(tree, "worktree", "add", "-q", str(tmp_path / "second"), "-b", "side")
    git(tmp_path / "second", "commit", "-q", "--allow-empty", "-m", "two")

    found = asked(tmp_path / "second").vcs

    assert found["vcs:revision"] == git(tmp_path / "second", "rev-parse", "HEAD")
    assert found["vcs:source"] == "https://xxxxx:xxxxx@git.example/app.git"


def test_changes_mark_the_commit_if_that_is_wanted(tree: Path) -> None:
    commit = git(tree, "rev-parse", "HEAD")
    clean = asked(tree, BUILDX_GIT_CHECK_DIRTY="1").vcs["vcs:revision"]
    (tree / "new").touch()
    try:
        dirty = asked(tree, BUILDX_GIT_CHECK_DIRTY="1").vcs["vcs:revision"]
        unasked = asked(tree).vcs["vcs:revision"]
    finally:
        (tree / "new").unlink()

    assert (clean, dirty, unasked) == (commit, f"{commit}-dirty", commit)


def test_a_repository_without_a_commit_has_its_remote(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "remote", "add", "origin", "git@git.example:app.git")

    assert asked(tmp_path).vcs == {
        "vcs:source": "git@git.example:app.git",
        "vcs:localdir:context": ".",
        "vcs:localdir:dockerfile": ".",
    }


def test_what_is_no_working_tree_says_nothing(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")

    assert asked(tmp_path).vcs == {}
    assert with_git(make_request("https://git.example/app.git"), {}).vcs == {}
