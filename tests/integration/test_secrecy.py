"""Secrets and passwords get to who needs them and nowhere else: not into logs, layers, records, errors."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from programs import Ended, Person
from registry import Registry, serving
from servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

SECRET = "the-owl-flies-at-4711"
PASSWORD = "the-mole-digs-at-4712"
TOKEN = "the-bat-hangs-at-4713"
FORMS = (
    *tuple(
        form
        for text in (SECRET, PASSWORD, TOKEN)
        for form in (text.encode(), base64.b64encode(text.encode()), text.encode("utf-16-le"))
    ),
    base64.b64encode(f"me:{PASSWORD}".encode()),
)


@pytest.fixture
def programmed() -> Iterator[Registry]:
    with serving() as server:
        yield server


def leaks(data: bytes) -> bool:
    return any(form in data for form in FORMS)


def leaking_files(folder: Path) -> list[str]:
    """Return the files that hold one of the secrets, packed or not."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            if leaks(data) or (data[:2] == b"\x1f\x8b" and leaks(gzip.decompress(data))):
                found.append(str(path.relative_to(folder)))
    return found


def is_silent(ended: Ended) -> bool:
    return not leaks((ended.out + ended.err).encode())


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(f"x{SECRET}x")
    (tmp_path / "b").write_bytes(gzip.compress(PASSWORD.encode()))
    (tmp_path / "c").write_bytes(b"x" + base64.b64encode(f"me:{PASSWORD}".encode()))
    (tmp_path / "d").write_text("nothing")

    assert sorted(leaking_files(tmp_path)) == ["a", "b", "c"]


@pytest.mark.parametrize("source", ["src=../key", "env=KEY"])
@pytest.mark.parametrize("status", [0, 1])
def test_a_secret_of_a_step(who: Person, registry: RealRegistry, source: str, status: int) -> None:
    who.write("../key", SECRET)
    who.environ["KEY"] = SECRET
    name = f"{registry.host}/{who.user.name}/secret"
    step = (
        "RUN --mount=type=secret,id=key --mount=type=secret,id=key,target=/etc/key,env=VARIABLE "
        f'test "$(cat /run/secrets/key)" = "$VARIABLE" && wc -c < /etc/key > /size && exit {status}'
    )
    who.write("Dockerfile", f"FROM {registry.host}/library/busybox\n{step}\n")
    words = ("build", "--secret", f"id=key,{source}", "-t", name, "--push", ".")

    first = who.run(*words, "--debug", "--metadata-file=../metadata")
    assert (first.status, is_silent(first)) == (status, True), first.err
    raw = who.run(*words, "--progress=rawjson")
    assert (raw.status, is_silent(raw)) == (status, True)

    assert leaking_files(who.root) == []
    assert leaking_files(registry.folder) == []
    if status == 0:
        assert SECRET not in (who.home / "metadata").read_text()
        assert str(len(SECRET)) in who.run("run", name, "cat", "/size").check().out


def test_a_secret_changes_no_cache_key(root: Person, registry: RealRegistry) -> None:
    step = "RUN --mount=type=secret,id=key cat /run/secrets/key | wc -c > /size"
    root.write("Dockerfile", f"FROM {registry.host}/library/busybox\n{step}\n")
    root.write("../key", SECRET)
    root.run("build", "--secret", "id=key,src=../key", ".").check()
    root.write("../key", SECRET + SECRET)

    again = root.run("build", "--secret", "id=key,src=../key", ".").check()

    assert "CACHED" in again.err


@pytest.mark.parametrize("kind", ["basic", "token"])
@pytest.mark.parametrize("right", [True, False])
def test_a_password(root: Person, programmed: Registry, kind: str, *, right: bool) -> None:
    programmed.users = {"me": PASSWORD if right else "another"}
    programmed.token = TOKEN if kind == "token" else ""
    auth = {"auth": base64.b64encode(f"me:{PASSWORD}".encode()).decode()}
    config = json.dumps({"auths": {programmed.host: auth}})
    root.write("../.docker/config.json", config)
    root.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    name = f"{programmed.host}/app"

    for words in (
        ("build", "--debug", "-t", name, "--push", "."),
        ("--debug", "pull", name),
        ("--debug", "imagetools", "inspect", name),
        ("--debug", "login", "-u", "me", "-p", PASSWORD, programmed.host),
        ("build", "--progress=rawjson", "-t", name, "--push", "."),
    ):
        ended = root.run(*words)
        assert (ended.status, is_silent(ended)) == (0 if right else 1, True), ended.err
    assert leaking_files(root.root) == []
    stray = [name for name in leaking_files(root.home) if name != ".docker/config.json"]
    assert stray == []
