"""Builds without a network: by the user's wish, and where it isn't there."""

from __future__ import annotations

import pytest

from tests.support.machine.programs import Person
from tests.support.network.plants import plant_image, tar_of
from tests.support.network.registry import serving
from tests.support.network.web import Page, web_server

pytestmark = [pytest.mark.root]

BASE = tar_of([("base", {}, b"base\n")])


def test_base_images_and_files_are_what_they_are_known_to_be(who: Person) -> None:
    with serving() as server, web_server() as web:
        plant_image(server, "base", BASE)
        web.pages["/file"] = Page(b"file\n")
        who.write("Dockerfile", f"FROM {server.host}/base\nADD {web.address}/file /\nCOPY new /\n")
        for number in ("1", "2"):
            who.write("new", number)
            words = ["-o", f"type=local,dest=out{number}", "."]
            ended = who.run("build", *(["--offline"] if number == "2" else []), *words).check()
            if number == "1":
                asked = len(server.requests), len(web.asked)
        assert asked == (len(server.requests), len(web.asked))
        assert "as of 20" in ended.err
        missing = who.run(
            "build", "--offline", "-f-", ".", stdin=f"FROM {server.host}/other\n".encode()
        )
        assert len(server.requests) == asked[0]

    assert {each.name for each in (who.work / "out2").iterdir()} == {"base", "file", "new"}
    assert f"{server.host}/other isn't here, and nothing is asked of others" in missing.complaint()
    assert f"hint: fetch it while there is a network: polyarch pull {server.host}/other" in (
        missing.complaint()
    )


def test_a_registry_that_is_gone(root: Person) -> None:
    with serving() as server:
        plant_image(server, "base", BASE)
        root.write("Dockerfile", f"FROM {server.host}/base\nCOPY Dockerfile /\n")
        root.run("build", "-o", "out", ".").check()
    root.write("Dockerfile", f"FROM {server.host}/base\nCOPY Dockerfile /copied\n")

    ended = root.run("build", "-o", "out", ".").check()
    pulled = root.run("build", "--pull", "-o", "out", ".")

    assert (root.work / "out/copied").exists()
    assert f"used is {server.host}/base as of 20" in ended.err
    assert pulled.status == 69


def test_images_of_the_store(root: Person) -> None:
    root.write("base/Dockerfile", "FROM scratch\nCOPY Dockerfile /base\n")
    platforms = "--platform=linux/amd64,linux/arm64"
    root.run("build", platforms, "-t", "registry.invalid/base", "base").check()

    root.write("Dockerfile", "FROM registry.invalid/base\nCOPY Dockerfile /\n")
    ended = root.run("build", "--offline", "-o", "out", ".").check()
    pulled = root.run("pull", "--offline", "registry.invalid/base").check()
    unknown = root.run("pull", "--offline", "registry.invalid/unknown")
    other = [
        root.run("build", *more, "--platform=linux/s390x", "-o", "out", ".").complaint()
        for more in ([], ["--offline"])
    ]

    assert "of the local store, since 20" in ended.err
    assert pulled.out.startswith("registry.invalid/base@sha256:")
    assert "registry.invalid/unknown isn't here" in unknown.complaint()
    for each in other:
        assert "registry.invalid/base, but not for linux/s390x: build it for that, too" in each


@pytest.mark.parametrize("flag", ["--pull", "--push"])
def test_what_asks_for_the_network_is_refused(root: Person, flag: str) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")

    ended = root.run("build", "--offline", flag, "-t", "registry.invalid/a", ".")

    assert (ended.status, "offline" in ended.complaint()) == (1, True)
