"""Commits of a real repository, by the real program."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from polyarch.errors import InputError, IntegrityError, NotFound, RemoteError
from polyarch.graph.op import GitOp
from polyarch.progress import CancelToken
from polyarch.store.store import Store
from polyarch.worker.secrets import Secrets, SecretSource
from polyarch.worker.source_git import GitSource, GitTree
from tests.support.network.servers import git_daemon

FIRST, SECOND = 1_600_000_000, 1_700_000_000


def git(directory: Path, *arguments: str, date: int = FIRST) -> str:
    who = {"NAME": "me", "EMAIL": "me@example.com", "DATE": f"{date} +0000"}
    env = {
        f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()
    }
    env |= {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": str(directory)}
    env |= {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "protocol.file.allow",
        "GIT_CONFIG_VALUE_0": "always",
    }
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env=env, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def repository(directory: Path, files: Mapping[str, str], *arguments: str) -> Path:
    directory.mkdir()
    git(directory, "init", "-q", "-b", "main", *arguments)
    for name, text in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    git(directory, "add", ".")
    git(directory, "commit", "-q", "-m", "first")
    return directory


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A repository with two commits: `v1` is a tag of the first, `old` a branch at it."""
    directory = repository(tmp_path / "remote", {"file": "one", "sub/deep": "deep"})
    git(directory, "branch", "old")
    git(directory, "tag", "-a", "v1", "-m", "the first")
    (directory / "file").write_text("two")
    git(directory, "commit", "-q", "-a", "-m", "second", date=SECOND)
    return directory


@pytest.fixture
def source(tmp_path: Path) -> Iterator[GitSource]:
    with Store(tmp_path / "store") as store:
        yield GitSource(store=store, secrets=Secrets(), environ=os.environ)


def fetch(source: GitSource, remote: Path, **fields: object) -> GitTree:
    op = GitOp(remote=f"file://{remote}", **fields)  # type: ignore[arg-type]
    return source.fetch(op, CancelToken())


@pytest.mark.parametrize(
    ("ref", "content"),
    [
        ("", "two"),
        ("main", "two"),
        ("refs/heads/main", "two"),
        ("old", "one"),
        ("v1", "one"),
        ("refs/tags/v1", "one"),
    ],
)
def test_refs(source: GitSource, remote: Path, ref: str, content: str) -> None:
    tree = fetch(source, remote, ref=ref)

    assert (tree.root / "file").read_text() == content
    assert sorted(os.listdir(tree.root)) == ["file", "sub"]
    assert tree.made == (SECOND if content == "two" else FIRST)


def test_a_commit_that_no_ref_names(source: GitSource, remote: Path) -> None:
    first = git(remote, "rev-parse", "old")

    assert (fetch(source, remote, ref=first).root / "file").read_text() == "one"
    assert (fetch(source, remote, checksum=first).root / "file").read_text() == "one"


def test_checksums(source: GitSource, remote: Path) -> None:
    commit = git(remote, "rev-parse", "main")
    assert fetch(source, remote, checksum=commit[:8]).commit == commit

    with pytest.raises(IntegrityError, match=f"expected checksum to match {commit}, got"):
        fetch(source, remote, ref="v1", checksum=commit)
    with pytest.raises(InputError, match="invalid checksum nonsense for Git URL"):
        fetch(source, remote, checksum="nonsense")


def test_an_unknown_ref(source: GitSource, remote: Path) -> None:
    with pytest.raises(NotFound, match="repository does not contain ref refs/heads/v1"):
        fetch(source, remote, ref="refs/heads/v1")


def test_no_repository(source: GitSource, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="git ls-remote: fatal"):
        fetch(source, tmp_path / "nowhere")


def test_subdirectories(source: GitSource, remote: Path) -> None:
    assert os.listdir(fetch(source, remote, subdir="sub").root) == ["deep"]

    with pytest.raises(InputError, match="git subdir 'none' is no directory"):
        fetch(source, remote, subdir="none")


def test_a_link_is_no_subdirectory(source: GitSource, remote: Path) -> None:
    (remote / "link").symlink_to("sub")
    git(remote, "add", "link")
    git(remote, "commit", "-q", "-m", "link")

    with pytest.raises(InputError, match="is no directory of the repository"):
        fetch(source, remote, subdir="link")


def test_git_s_own_directory_stays_if_asked_for(source: GitSource, remote: Path) -> None:
    tree = fetch(source, remote, keep_git_dir=True)

    assert (tree.root / ".git/HEAD").read_text() == f"{tree.commit}\n"
    assert git(tree.root, "status", "--porcelain") == ""


def test_files_may_have_the_time_of_the_commit(source: GitSource, remote: Path) -> None:
    root = fetch(source, remote, mtime="commit").root

    times = {path.stat().st_mtime for path in (root, root / "file", root / "sub/deep")}
    assert times == {SECOND}


def test_submodules(source: GitSource, remote: Path, tmp_path: Path) -> None:
    repository(tmp_path / "module", {"inner": "inner"})
    with git_daemon(tmp_path) as address:
        git(remote, "submodule", "add", f"{address}/module", "module")
        git(remote, "commit", "-q", "-m", "module")

        assert (fetch(source, remote).root / "module/inner").read_text() == "inner"
        assert os.listdir(fetch(source, remote, submodules=False).root / "module") == []


def test_a_submodule_is_no_directory_of_this_machine(
    source: GitSource, remote: Path, tmp_path: Path
) -> None:
    module = repository(tmp_path / "module", {"inner": "inner"})
    git(remote, "submodule", "add", f"file://{module}", "module")
    git(remote, "commit", "-q", "-m", "module")

    with pytest.raises(RemoteError, match="transport 'file' not allowed"):
        fetch(source, remote)


def test_repositories_of_sha256(source: GitSource, tmp_path: Path) -> None:
    remote = repository(tmp_path / "long", {"file": "long"}, "--object-format=sha256")

    tree = fetch(source, remote, ref="main")

    assert (tree.root / "file").read_text() == "long"
    assert len(tree.commit) == 64


def test_secrets_become_headers_of_their_host(source: GitSource, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    secrets = Secrets(sources={"GIT_AUTH_TOKEN.h": SecretSource(path=str(tmp_path / "token"))})
    source = GitSource(store=source.store, secrets=secrets, environ={})

    env = source._environment("https://h/r.git", {})

    assert "http.https://h/r.git.extraheader" in env.values()
    assert "Authorization: basic eC1hY2Nlc3MtdG9rZW46YWJj" in env.values()
    assert (
        "http.https://other/.extraheader"
        not in source._environment("https://other/r.git", {}).values()
    )


def test_the_token_of_github_is_for_all_of_it(source: GitSource, tmp_path: Path) -> None:
    secrets = Secrets(sources={"GIT_AUTH_TOKEN": SecretSource(value=b"abc")})
    source = GitSource(store=source.store, secrets=secrets, environ={})

    env = source._environment("https://github.com/org/repo.git", {})

    assert "http.https://github.com/.extraheader" in env.values()


def test_a_branch_goes_before_a_tag_of_its_name(source: GitSource, remote: Path) -> None:
    git(remote, "tag", "main", "old")

    assert (fetch(source, remote, ref="main").root / "file").read_text() == "two"
    assert (fetch(source, remote, ref="refs/tags/main").root / "file").read_text() == "one"
    assert (fetch(source, remote, ref="tags/main").root / "file").read_text() == "one"


def test_a_beginning_of_a_commit_is_no_ref(source: GitSource, remote: Path) -> None:
    with pytest.raises(NotFound, match="repository does not contain ref"):
        fetch(source, remote, ref=git(remote, "rev-parse", "--short", "main"))


def test_the_checksum_of_an_annotated_tag_or_its_commit(source: GitSource, remote: Path) -> None:
    tag, commit = git(remote, "rev-parse", "v1"), git(remote, "rev-parse", "v1^{commit}")

    for checksum in (tag, commit, tag[:8]):
        assert fetch(source, remote, ref="v1", checksum=checksum).commit == commit
    with pytest.raises(IntegrityError, match=f"to match ab, got {tag} or {commit}"):
        fetch(source, remote, ref="v1", checksum="ab")


def test_the_commit_itself_whatever_the_branch_is_by_now(source: GitSource, remote: Path) -> None:
    first = git(remote, "rev-parse", "old")

    tree = fetch(source, remote, ref="refs/heads/main", checksum=first, fetch_by_commit=True)

    assert (tree.root / "file").read_text() == "one"
    with pytest.raises(InputError, match="requires a full commit hash"):
        fetch(source, remote, ref="main", fetch_by_commit=True)


def test_a_commit_that_is_not_there(source: GitSource, remote: Path) -> None:
    with pytest.raises(NotFound, match=f"the repository has no commit {'a' * 40}"):
        fetch(source, remote, ref="a" * 40)


def test_a_repository_without_a_branch(source: GitSource, tmp_path: Path) -> None:
    directory = tmp_path / "empty"
    directory.mkdir()
    git(directory, "init", "-q")

    with pytest.raises(NotFound, match="could not find default branch"):
        fetch(source, directory)


def test_a_kept_directory_knows_its_branch_or_tag(source: GitSource, remote: Path) -> None:
    by_branch = fetch(source, remote, ref="main", keep_git_dir=True)
    by_tag = fetch(source, remote, ref="v1", keep_git_dir=True)

    assert git(by_branch.root, "branch", "--points-at=HEAD", "--format=%(refname)").endswith("main")
    assert git(by_tag.root, "describe") == "v1"
    assert not (by_tag.root / ".git/FETCH_HEAD").exists()


def test_without_git_lfs_its_pointers_stay(source: GitSource, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "sh"):
        os.symlink(str(shutil.which(name)), programs / name)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 3\n"
    files = {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "x.bin": pointer}
    remote = repository(tmp_path / "large", files)
    bare = GitSource(store=source.store, secrets=Secrets(), environ={"PATH": str(programs)})

    assert (fetch(bare, remote, submodules=False).root / "x.bin").read_text() == pointer
