"""Bake files of other machines: a repository's, an archive's, and those that a bake file here includes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine.programs import Person
from tests.support.network.gitweb import GitWeb, git_web, new_repository
from tests.support.network.web import Page, web_server

pytestmark = [pytest.mark.runtime, pytest.mark.root]

TOKEN = "b33f-t0ken"
FILES = {
    "docker-bake.hcl": """
target "default" {
  context = "app"
  contexts = { other = "other", here = "cwd://mine" }
  output = ["type=local,dest=out"]
}
target "reads" {
  context = "app"
  dockerfile = "cwd:///etc/passwd"
}
""",
    "app/Dockerfile": "FROM scratch\nCOPY file /\nCOPY --from=other file /other\nCOPY --from=here file /here\n",
    "app/file": "app",
    "other/file": "other",
}
BUILT = {"file": "app", "other": "other", "here": "mine"}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[GitWeb]:
    new_repository(tmp_path / "repositories/images", FILES)
    with git_web(tmp_path / "repositories", password=TOKEN) as server:
        yield server


def built(who: Person) -> dict[str, str]:
    return {each.name: each.read_text() for each in (who.work / "out").iterdir()}


@pytest.mark.parametrize("user", ["many ids"], indirect=True)
def test_a_repository(who: Person, web: GitWeb) -> None:
    who.environ["BUILDX_BAKE_GIT_AUTH_TOKEN"] = TOKEN
    who.write("mine/file", "mine")
    address = f"{web.address}/images.git#main"

    printed = json.loads(who.run("bake", "--print", address).check().out)
    ended = who.run("bake", "--progress=plain", address).check()
    refused = who.run("bake", address, "reads")

    assert printed["target"]["default"] == {
        "context": f"{address}:app",
        "contexts": {"here": "cwd://mine", "other": "other"},
        "dockerfile": "Dockerfile",
        "output": [{"dest": "out", "type": "local"}],
    }
    assert built(who) == BUILT
    assert TOKEN not in ended.err
    assert refused.status == 1
    assert " - Read access to path /etc/passwd\n" in refused.err


@pytest.mark.parametrize("user", ["one id"], indirect=True)
def test_an_archive_and_a_file_of_a_web_server(who: Person) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    who.write("mine/file", "mine")
    single = 'target "default" {\n dockerfile-inline = "FROM scratch\\nCOPY mine/file /\\n"\n output = ["out2"]\n}'
    with web_server() as server:
        server.pages["/x.tar.gz"] = Page(packed.getvalue(), headers={"ETag": '"1"'})
        server.pages["/one.hcl"] = Page(single.encode())
        server.pages["/large.hcl"] = Page(b"#" * (2 << 20) + b"\n")
        who.write("docker-bake.hcl", f'include = ["{server.address}/x.tar.gz"]\n')

        who.run("bake", f"{server.address}/x.tar.gz").check()
        who.run("bake", f"{server.address}/one.hcl").check()
        large = who.run("bake", f"{server.address}/large.hcl")
        refused = who.run("bake", "x")
        included = who.run("bake", "--print", f"--allow=include={server.address}/", "x").check()

    assert built(who) == BUILT
    assert (who.work / "out2/file").read_text() == "mine"
    assert "bigger than maximum allowed size (2.097MB)" in large.err
    assert f" - Reading bake files from {server.address}/x.tar.gz\n" in refused.err
    assert json.loads(included.out)["target"]["x"]["context"] == f"{server.address}/x.tar.gz#:app"
