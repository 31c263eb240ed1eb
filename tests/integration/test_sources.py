"""What a build takes from other machines, by root and by ordinary users; and checks."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine.programs import Person
from tests.support.machine.users import for_one_user
from tests.support.network.servers import git_daemon
from tests.support.network.web import Page, WebServer, web_server

pytestmark = [pytest.mark.runtime, pytest.mark.root]

DATED = {"ETag": '"1"', "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT"}
DATE = 1_700_000_000


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def repositories(tmp_path: Path) -> Iterator[str]:
    """The address of `app`, whose branch `topic` holds a Dockerfile and two files in `sub`."""
    directory = tmp_path / "repositories/app"
    (directory / "sub").mkdir(parents=True)
    (directory / "sub/Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (directory / "sub/file").write_text("text")
    identity = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in {"NAME": "me", "EMAIL": "me@host", "DATE": f"{DATE} +0000"}.items()
    }
    for words in ("init -q -b topic", "add .", "commit -q -m first"):
        subprocess.run(
            ["git", *words.split()],
            cwd=directory,
            env={"PATH": os.environ["PATH"], "HOME": str(directory), **identity},
            check=True,
        )
    with git_daemon(directory.parent) as address:
        yield f"{address}/app"


def listed(who: Person) -> dict[str, tuple[str, int]]:
    """Return the files of the output `out`: their content and their time."""
    found = {}
    for path in sorted((who.work / "out").rglob("*")):
        if path.is_file() and ".git" not in path.parts:
            name = str(path.relative_to(who.work / "out"))
            found[name] = (path.read_text(), int(path.stat().st_mtime))
    return found


@for_one_user
def test_files_of_web_servers(who: Person, web: WebServer) -> None:
    web.pages["/file"] = Page(b"content", DATED)
    who.write(
        "Dockerfile", f"FROM scratch\nADD {web.address}/file /a/\nADD {web.address}/file /b\n"
    )

    who.run("build", "-o", "out", ".").check()
    again = who.run("build", "-o", "out", ".").check()

    assert listed(who) == {"a/file": ("content", DATE), "b": ("content", DATE)}
    assert again.err.count("CACHED") == 2
    assert [each.headers.get("If-None-Match") for each in web.asked] == [None, '"1"']


@for_one_user
def test_a_commit_as_build_context(who: Person, repositories: str) -> None:
    words = ("build", "-o", "out", "--build-arg", "SOURCE_DATE_EPOCH=context")

    who.run(*words, f"{repositories}#topic:sub").check()

    text = "FROM scratch\nCOPY . /\n"
    assert listed(who) == {"Dockerfile": (text, DATE), "file": ("text", DATE)}


def test_a_commit_that_is_added(who: Person, repositories: str) -> None:
    who.write("Dockerfile", f"FROM scratch\nADD --keep-git-dir {repositories}?branch=topic /app\n")

    who.run("build", "-o", "out", ".").check()

    assert sorted(listed(who)) == ["app/sub/Dockerfile", "app/sub/file"]
    assert (who.work / "out/app/.git/HEAD").is_file()


def test_a_checksum_that_is_wrong(root: Person, web: WebServer) -> None:
    web.pages["/file"] = Page(b"content")
    digest = "sha256:" + "0" * 64
    root.write("Dockerfile", f"FROM scratch\nADD --checksum={digest} {web.address}/file /\n")

    ended = root.run("build", "-o", "out", ".")

    assert ended.status != 0
    assert "digest mismatch" in ended.complaint()
    assert "Dockerfile:2" in ended.complaint()


def test_checks(root: Person) -> None:
    root.write("Dockerfile", "FROM scratch AS one\nCMD a\nFROM scratch as two\nADD b /\n")

    shown = root.run("build", "--call=check,format=json", ".")
    fine = root.run("build", "--check", "--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=all", ".")
    strict = root.run("build", "--build-arg=BUILDKIT_DOCKERFILE_CHECK=error=true", ".")

    rules = [warning["ruleName"] for warning in json.loads(shown.out)["warnings"]]
    assert (shown.status, rules) == (1, ["FromAsCasing", "JSONArgsRecommended"])
    assert (fine.status, fine.out) == (0, "Check complete, no warnings found.\n")
    assert "lint violation found for rules: FromAsCasing" in strict.complaint()


def test_an_index_of_one_platform(root: Person) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    words = ("build", "--build-arg=BUILDKIT_MULTI_PLATFORM=1", "--platform=linux/arm64")
    root.run(*words, "-o", "out", ".").check()
    root.run(*words, "--annotation=index:a=b", "-o", "type=oci,tar=false,dest=image", ".").check()

    assert list(listed(root)) == ["linux_arm64/Dockerfile"]
    (entry,) = json.loads((root.work / "image/index.json").read_text())["manifests"]
    digest = entry["digest"].removeprefix("sha256:")
    index = json.loads((root.work / f"image/blobs/sha256/{digest}").read_text())
    assert index["annotations"] == {"a": "b"}
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["arm64"]
