"""Steps that reach nothing but a proxy, which tells what they fetched."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tests.integration.test_authorities import put_programs
from tests.support.images.rootfs import make_rootfs
from tests.support.machine.programs import Person
from tests.support.network.certificates import server_side
from tests.support.network.servers import RealRegistry
from tests.support.network.web import Page, web_server

pytestmark = [pytest.mark.root]


@pytest.mark.parametrize("user", ["root", "many ids"], indirect=True)
def test_what_steps_fetch_is_told(who: Person, tmp_path: Path, certificates: Path) -> None:
    rootfs = make_rootfs(tmp_path / "rootfs")
    put_programs(rootfs, ("/usr/bin/git", "/usr/lib/git-core/git-remote-https"))
    shutil.copytree(rootfs, who.work / "rootfs", symlinks=True)
    ca = who.write("ca.crt", (certificates / "ca.crt").read_text())
    # The machine's own loopback isn't the step's, so that a name has to stand for it.
    with web_server() as plain, web_server(server_side(certificates)) as secure:
        for server in (plain, secure):
            server.pages["/file"] = Page(b"text\n")
            server.pages["/r/info/refs"] = Page(b"")
        http, https = (each.address.replace("127.0.0.1", "localhost") for each in (plain, secure))
        port = plain.host.rpartition(":")[2]
        who.write(
            "Dockerfile",
            "FROM scratch\nCOPY rootfs /\n"
            "ENV NO_PROXY=mine\n"
            f"RUN unset NO_PROXY no_proxy; wget -qO /dev/null {http}/file"
            f" && git ls-remote {https}/r && ! nc -w1 127.0.0.1 {port} < /dev/null\n"
            f"RUN --network=none ! wget -qO- {http}/file\n",
        )
        words = ("--proxy-network", "--ca", str(ca), "--metadata-file", "told", "--attest")
        ended = who.run("build", *words, "type=provenance,mode=max", "-o", "out", ".").check()

    lines = [line.split(" ", 2)[-1] for line in ended.err.splitlines()]
    start = lines.index("proxy network requests:")
    assert lines[start : start + 3] == [
        "proxy network requests:",
        f"- GET {http}/file -> 200",
        f"- GET {https}/r/info/refs?service=git-upload-pack -> 200",
    ]
    told = json.loads((who.work / "told").read_text())
    [provenance] = [value for key, value in told.items() if "provenance" in key]
    assert hashlib.sha256(b"text\n").hexdigest() in json.dumps(provenance)
    assert secure.asked[0].path == "/r/info/refs?service=git-upload-pack"


def test_emulated_steps(root: Person, registry: RealRegistry) -> None:
    with web_server() as plain:
        plain.pages["/file"] = Page(b"text\n")
        http = plain.address.replace("127.0.0.1", "localhost")
        root.write(
            "Dockerfile",
            f"FROM {registry.host}/library/busybox\n"
            f"RUN unset NO_PROXY no_proxy; wget -qO /file {http}/file\n",
        )
        words = ("--proxy-network", "--platform=linux/arm64", "-o", "out", ".")
        ended = root.run("build", *words).check()

    assert f"- GET {http}/file -> 200" in ended.err
    assert (root.work / "out/file").read_text() == "text\n"
