"""Repositories of a web server and of a machine behind ssh, as contexts and in ADD."""

from __future__ import annotations

import contextlib
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine.programs import Person
from tests.support.machine.users import for_one_user
from tests.support.network.gitweb import DATE, GitWeb, commit, git_web, large_file, new_repository

pytestmark = [pytest.mark.runtime, pytest.mark.root]

TOKEN = "b33f-t0ken"
EPOCH = 1_750_000_000
OUTPUT = "type=oci,tar=false,dest=image,rewrite-timestamp=true"


@pytest.fixture
def repositories(tmp_path: Path) -> Path:
    """A directory with `app`, whose submodule `../library` is beside it, and a tag `v1`."""
    directory = tmp_path / "repositories"
    new_repository(directory / "library", {"inner": "inner"})
    app = new_repository(
        directory / "app", {"Dockerfile": "FROM scratch\nCOPY . /\n", "sub/file": "one"}
    )
    commit(app, "tag", "-a", "v1", "-m", "one")
    commit(app, "submodule", "--quiet", "add", "../library", "library")
    commit(app, "config", "-f", ".gitmodules", "submodule.library.url", "../library.git")
    (app / "sub/file").write_text("two")
    commit(app, "commit", "-q", "-a", "-m", "second")
    return directory


@pytest.fixture
def web(repositories: Path) -> Iterator[GitWeb]:
    with git_web(repositories) as server:
        yield server


def files(who: Person) -> dict[str, str]:
    """Return what a build put into `out`, but for what git keeps there."""
    out = who.work / "out"
    found = (path.relative_to(out) for path in sorted(out.rglob("*")) if path.is_file())
    kept = (path for path in found if not path.parts[0].startswith(".git"))
    return {str(path): (out / path).read_text() for path in kept}


def test_a_context_with_a_submodule_beside_it(who: Person, web: GitWeb) -> None:
    who.run("build", "-o", "out", f"{web.address}/app.git").check()

    assert files(who)["library/inner"] == "inner"
    assert files(who)["sub/file"] == "two"


@for_one_user
def test_a_tag_without_submodules(who: Person, web: GitWeb) -> None:
    who.write("Dockerfile", f"FROM scratch\nADD {web.address}/app.git?tag=v1&subdir=sub /\n")

    who.run("build", "-o", "out", ".").check()

    assert files(who) == {"file": "one"}


def test_submodules_that_are_not_wanted(root: Person, web: GitWeb) -> None:
    root.run("build", "-o", "out", f"{web.address}/app.git?submodules=0").check()

    assert "library/inner" not in files(root)


def test_a_named_context(root: Person, web: GitWeb) -> None:
    root.write("Dockerfile", "FROM app AS base\nFROM scratch\nCOPY --from=base sub /\n")

    root.run("build", f"--build-context=app={web.address}/app.git#v1", "-o", "out", ".").check()

    assert files(root) == {"file": "one"}


@pytest.mark.parametrize(
    ("query", "dates"), [("", {DATE}), ("?mtime=commit", {DATE}), ("?mtime=checkout", {EPOCH})]
)
def test_dates_of_files(root: Person, web: GitWeb, query: str, dates: set[int]) -> None:
    words = (f"--build-arg=SOURCE_DATE_EPOCH={EPOCH}", "-o", OUTPUT)

    root.run("build", *words, f"{web.address}/app.git{query}#v1").check()

    assert layer_dates(root.work / "image") == dates


def layer_dates(image: Path) -> set[int]:
    """Return the times of all files in the layers of a layout."""
    found = set()
    for path in (image / "blobs/sha256").iterdir():
        with contextlib.suppress(tarfile.ReadError), tarfile.open(path) as archive:
            found |= {int(member.mtime) for member in archive if member.isfile()}
    return found


def test_a_token_opens_a_repository_and_is_written_nowhere(who: Person, web: GitWeb) -> None:
    web.password = TOKEN
    who.environ["GIT_AUTH_TOKEN"] = TOKEN
    who.write("Dockerfile", f"FROM scratch\nADD --keep-git-dir {web.address}/app.git#v1 /\n")
    words = ("build", "--secret=id=GIT_AUTH_TOKEN", "--progress=plain", "-o", "out", ".")

    ended = who.run(*words).check()

    assert files(who)["sub/file"] == "one"
    assert TOKEN not in ended.err + ended.out
    assert not holding(who.work / "out", TOKEN.encode())
    assert not holding(who.root, TOKEN.encode())


def test_a_password_in_the_address_is_written_nowhere(root: Person, web: GitWeb) -> None:
    web.password = TOKEN
    address = web.address.replace("//", f"//x-access-token:{TOKEN}@")
    words = ("build", "--progress=plain", "-o", "out", f"{address}/app.git?keep-git-dir=1#v1")

    ended = root.run(*words).check()

    assert TOKEN not in ended.err + ended.out
    assert f"{web.address}/app.git" in (root.work / "out/.git/config").read_text()
    assert not holding(root.work / "out", TOKEN.encode())


def test_a_repository_that_stays_closed(root: Person, web: GitWeb) -> None:
    web.password = TOKEN
    root.environ["T"] = "wr0ng"
    secret = f"--secret=id=GIT_AUTH_TOKEN.{web.address.rpartition('/')[2]},env=T"

    for words in ((), (secret,)):
        ended = root.run("build", *words, f"{web.address}/app.git")

        assert ended.status == 1
        assert "--secret id=GIT_AUTH_TOKEN" in ended.complaint()
        assert "wr0ng" not in ended.err


def test_a_ref_that_is_not_there(root: Person, web: GitWeb) -> None:
    ended = root.run("build", f"{web.address}/app.git#none")

    assert ended.status == 1
    assert "repository does not contain ref none" in ended.complaint()


def test_a_program_is_built_from_source_into_the_directory(who: Person, repositories: Path) -> None:
    new_repository(
        repositories / "program",
        {
            "Dockerfile": "FROM scratch AS source\nARG TARGETPLATFORM\nCOPY main.sh /src/\n"
            "FROM scratch AS binaries\nCOPY --from=source --chmod=755 /src/main.sh /program\n",
            "main.sh": "#!/bin/sh\necho hello\n",
        },
    )
    with git_web(repositories) as web:
        who.run("build", "--platform=local", "-o", ".", f"{web.address}/program.git").check()

    assert who.run_other("./program").check().out == "hello\n"


def test_ssh_wants_an_agent(root: Person) -> None:
    ended = root.run("build", "git@127.0.0.1:app.git")

    assert ended.status == 1
    assert 'invalid empty ssh agent socket for "default"' in ended.complaint()


def test_a_repository_behind_ssh(root: Person, repositories: Path) -> None:
    """A stand-in for ssh notes how it was called, and runs what the other machine would."""
    script = '#!/bin/sh\nenv >seen\necho "$@" >>seen\nfor last; do :; done\neval "$last"\n'
    root.write("bin/ssh", script.replace("seen", str(root.work / "seen")), mode=0o755)
    root.environ["PATH"] = f"{root.work}/bin:{root.environment()['PATH']}"
    root.environ["SSH_AUTH_SOCK"] = str(root.work / "agent")
    commit(repositories / "app", "config", "uploadpack.allowFilter", "true")

    with contextlib.closing(socket.socket(socket.AF_UNIX)) as agent:
        agent.bind(root.environ["SSH_AUTH_SOCK"])
        address = f"git@host:{repositories}/app?submodules=0"
        root.run("build", "-o", "out", address).check()

    seen = (root.work / "seen").read_text()
    assert files(root)["sub/file"] == "two"
    assert f"SSH_AUTH_SOCK={root.work}/agent" in seen
    assert "BatchMode=yes" in seen
    assert "IdentityFile=none" in seen
    assert f'"{root.home}/.ssh/known_hosts"' in seen
    assert not (root.home / ".ssh").exists()


def holding(directory: Path, text: bytes) -> list[Path]:
    """Return the files that hold a text."""
    found = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in found if text in path.read_bytes()]


@pytest.fixture
def large(repositories: Path, web: GitWeb) -> bytes:
    """The content of `picture.bin` in the repository `pictures`, which is kept by git LFS."""
    content = b"a large picture"
    digest, pointer = large_file(content)
    web.large_files[digest] = content
    new_repository(
        repositories / "pictures",
        {
            "Dockerfile": "FROM scratch\nCOPY picture.bin .git* /\n",
            ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
            "picture.bin": pointer,
        },
    )
    return content


@for_one_user
def test_large_files_of_a_repository(who: Person, web: GitWeb, large: bytes) -> None:
    who.run("build", "-o", "out", f"{web.address}/pictures.git").check()

    assert (who.work / "out/picture.bin").read_bytes() == large


@for_one_user
def test_large_files_for_those_who_know_a_password(who: Person, web: GitWeb, large: bytes) -> None:
    web.password = TOKEN
    secret = who.work / "token"
    secret.write_text(TOKEN)

    who.run(
        "build",
        "-o",
        "out",
        f"--secret=id=GIT_AUTH_TOKEN,src={secret}",
        f"{web.address}/pictures.git",
    ).check()

    assert (who.work / "out/picture.bin").read_bytes() == large


@for_one_user
def test_a_kept_repository_says_nothing_of_large_files(
    who: Person, web: GitWeb, large: bytes
) -> None:
    address = f"{web.address}/pictures.git?keep-git-dir=1"
    who.write("Dockerfile", f"FROM scratch\nADD {address} /r/\n")

    who.run("build", "-o", "out", ".").check()

    assert (who.work / "out/r/picture.bin").read_bytes() == large
    assert not (who.work / "out/r/.git/lfs").exists()
    assert "lfs" not in (who.work / "out/r/.git/config").read_text()


@for_one_user
def test_a_large_file_that_the_server_lacks(who: Person, web: GitWeb, large: bytes) -> None:
    web.large_files.clear()

    ended = who.run("build", "-o", "out", f"{web.address}/pictures.git")

    assert ended.status == 1
    assert "smudge filter lfs failed" in ended.complaint()
    assert "hint: the server of the repository has to give its large files" in ended.complaint()
