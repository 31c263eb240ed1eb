"""Policies of builds: what they deny isn't fetched, what they pin is used, and daemons ask them, too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_peers import short_directory
from tests.support.machine.programs import Person
from tests.support.machine.users import for_one_user
from tests.support.network.servers import RealRegistry, git_daemon
from tests.support.network.web import Page, WebServer, web_server

pytestmark = [pytest.mark.runtime, pytest.mark.root]

BEGINNING = "package docker\ndefault allow := false\nallow if input.local\n"
END = 'decision := {"allow": allow, "deny_msg": [m | not allow; m := "this isn\'t ours"]}\n'


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def write_policy(who: Person, rules: str, name: str = "Dockerfile.rego") -> None:
    who.write(name, f"{BEGINNING}{rules}\n{END}")


@for_one_user
def test_what_is_denied_isnt_fetched(who: Person, web: WebServer) -> None:
    web.pages["/file"] = Page(b"text")
    who.write("Dockerfile", f"FROM scratch\nADD {web.address}/file /\n")
    write_policy(who, 'allow if input.http.path == "/other"')

    denied = who.run("build", "-o", "out", ".")
    assert not web.asked
    allowed = who.run("build", "-o", "out", "--policy", "reset=true,filename=all.rego", ".")
    who.write("all.rego", 'package docker\ndecision := {"allow": true}\n')
    allowed = who.run("build", "-o", "out", "--policy", "reset=true,filename=all.rego", ".")

    lines = denied.err.splitlines()
    assert lines[-2:] == [
        "Policy: this isn't ours",
        f'ERROR: failed to build: failed to solve: source "{web.address}/file" not allowed by policy: action DENY',
    ]
    allowed.check()
    assert (who.work / "out/file").read_text() == "text"


@for_one_user
def test_the_digest_of_a_file_is_found_out(who: Person, web: WebServer) -> None:
    web.pages["/file"] = Page(b"text")
    who.write("Dockerfile", f"FROM scratch\nADD {web.address}/file /\n")
    digest = "sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
    write_policy(who, f'allow if input.http.checksum == "{digest}"')

    who.run("build", "-o", "out", ".").check()

    web.pages["/file"] = Page(b"another")
    assert "not allowed by policy" in who.run("build", "-o", "out", ".").err


@for_one_user
def test_images_are_pinned_and_looked_at(who: Person, registry: RealRegistry) -> None:
    name = f"{registry.host}/policies/app:1"
    digests = []
    for text in ("first", "second"):
        who.write("base.df", f"FROM scratch\nLABEL made={text}\nCOPY made /\n")
        who.write("made", text)
        who.run(
            "build",
            "-f",
            "base.df",
            "-t",
            name,
            "--push",
            "--provenance=mode=min",
            "--metadata-file",
            "m.json",
            ".",
        ).check()
        digests.append(json.loads((who.work / "m.json").read_text())["containerimage.digest"])
    who.write("Dockerfile", f"FROM {name}\n")

    write_policy(who, f'allow if pin_image(input.image, "{digests[0]}")')
    who.run("build", "-o", "out", ".").check()
    pinned = (who.work / "out/made").read_text()
    write_policy(who, 'allow if input.image.labels.made == "first"')
    denied = who.run("build", "-o", "out", ".")
    write_policy(who, 'allow if { input.image.labels.made == "second"; input.image.hasProvenance;'
                      ' input.image.provenance.predicateType == "https://slsa.dev/provenance/v1" }')  # fmt: skip
    who.run("build", "-o", "out", ".").check()

    assert pinned == "first"
    assert "not allowed by policy" in denied.err
    assert (who.work / "out/made").read_text() == "second"


@for_one_user
def test_commits_are_signed_by_a_key(who: Person, tmp_path: Path) -> None:
    for each in ("mine", "theirs"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / each)], check=True
        )
        who.write(f"{each}.pub", (tmp_path / f"{each}.pub").read_text())
    directory = tmp_path / "repositories/app"
    directory.mkdir(parents=True)
    (directory / "file").write_text("text")
    environ = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    settings = {
        "user.name": "me",
        "user.email": "me@host",
        "gpg.format": "ssh",
        "user.signingkey": str(tmp_path / "mine"),
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    for words in ("init -q -b main", "add file", "commit -q -S -m first"):
        subprocess.run(["git", *options, *words.split()], cwd=directory, env=environ, check=True)
    rule = 'allow if { input.git.commit.sshSignature; verify_git_signature(input.git.commit, "%s.pub") }'

    with git_daemon(directory.parent) as address:
        who.write("Dockerfile", f"FROM scratch\nADD {address}/app#main /\n")
        write_policy(who, rule % "mine")
        who.run("build", "-o", "out", ".").check()
        write_policy(who, rule % "theirs")
        denied = who.run("build", "-o", "other", ".")

    assert (who.work / "out/file").read_text() == "text"
    assert "not allowed by policy" in denied.err


@for_one_user
def test_targets_of_bake_have_policies(who: Person) -> None:
    who.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    who.write("no.rego", 'package docker\ndecision := {"allow": false}\n')
    who.write(
        "docker-bake.hcl",
        'target "no" {\n policy = [{ filename = "no.rego" }]\n output = ["type=cacheonly"]\n}\n'
        'target "yes" {\n output = ["type=cacheonly"]\n}\n',
    )

    assert "not allowed by policy" in who.run("bake", "no").err
    who.run("bake", "yes").check()
    who.run("bake", "--policy", "disabled=true", "no").check()


@for_one_user
def test_daemons_ask_about_sources(who: Person, web: WebServer) -> None:
    web.pages["/file"] = Page(b"text")
    who.write("Dockerfile", f"FROM scratch\nADD {web.address}/file /\n")
    write_policy(who, 'allow if input.http.path == "/other"')
    with short_directory() as directory:
        os.chmod(directory, 0o777)
        address = f"unix://{directory}/s"
        with who.start("serve", "--addr", address) as server:
            try:
                assert server.stderr is not None
                assert server.stderr.readline().startswith(b"serving at")
                who.run("create", "--driver", "remote", "--name", "far", address).check()
                denied = who.run("build", "--builder", "far", "-o", "out", ".")
            finally:
                server.send_signal(signal.SIGTERM)
                server.communicate()

    assert not web.asked
    assert "Policy: this isn't ours\n" in denied.err
    assert f'source "{web.address}/file" not allowed by policy: action DENY' in denied.err


@for_one_user
def test_a_policy_is_tried_and_tested(who: Person) -> None:
    write_policy(who, 'allow if input.image.repo == "busybox"')
    who.write(
        "Dockerfile_test.rego",
        "package docker\n"
        'test_busybox if { x := decision with input as {"image": {"repo": "busybox"}}; x.allow }\n'
        'test_others if { x := decision with input as {"image": {"repo": "other"}}; x.allow }\n',
    )

    tested = who.run("policy", "test", ".")
    denied = who.run("policy", "eval", "docker-image://alpine")

    who.run("policy", "eval", "docker-image://busybox").check()
    who.run("policy", "test", "--run", "busybox", ".").check()
    assert tested.status == 1
    assert tested.out.splitlines()[:2] == [
        "test_busybox: PASS (allow=true)",
        "test_others: FAIL (allow=false, deny_msg=this isn't ours)",
    ]
    assert denied.err == "ERROR: policy denied: this isn't ours\n"
