"""Secrets and passwords get to who needs them and nowhere else: not into logs, layers, records, errors."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from polyarch.errors import InvalidLayer
from polyarch.layer.compress import decompressed
from tests.support.machine.programs import Ended, Person
from tests.support.machine.users import for_users_each_with
from tests.support.network.registry import Registry, serving
from tests.support.network.servers import RealRegistry
from tests.support.network.web import Page, WebServer, web_server

pytestmark = [pytest.mark.runtime, pytest.mark.root]

SECRET = "the-owl-flies-at-4711"
PASSWORD = "the-mole-digs-at-4712"
TOKEN = "the-bat-hangs-at-4713"
VARIABLE = "the-fox-barks-at-4714"
GIT_TOKEN = "the-eel-swims-at-4715"
WEB_TOKEN = "the-ant-works-at-4716"


def forms_of(secret: bytes) -> set[bytes]:
    """Return how a secret may be written: plain, in hex, in base64 at any place, as others see text."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    found.add(secret.decode("latin-1").encode("utf-16-le"))
    for before in range(3):
        # Without the characters that what stands before and behind it has a part in.
        text = base64.b64encode(bytes(before) + secret)
        first, last = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
        found |= {text[first:last], text[first:last].translate(bytes.maketrans(b"+/", b"-_"))}
    return found


FORMS = frozenset[bytes]().union(
    *(forms_of(text.encode()) for text in (SECRET, PASSWORD, TOKEN, VARIABLE, GIT_TOKEN, WEB_TOKEN))
)


@pytest.fixture
def programmed() -> Iterator[Registry]:
    with serving() as server:
        yield server


def leaks(data: bytes, forms: frozenset[bytes] = FORMS) -> bool:
    return any(form in data for form in forms)


def unpacked(data: bytes) -> bytes:
    """Return what gzip and zstd packed, and all else as it is.

    Of what is damaged, as layers in the registry of all tests may be, it is what can be read.
    """
    if data[:3] != b"\x1f\x8b\x08" and data[:4] != b"\x28\xb5\x2f\xfd":
        return data
    # Some layers of other tests are large, and adding to bytes copies them.
    found = bytearray()
    with suppress(InvalidLayer), decompressed(io.BytesIO(data)) as source:
        while part := source.read(1 << 20):
            found += part
    return bytes(found)


def leaking_files(directory: Path, forms: frozenset[bytes] = FORMS) -> list[str]:
    """Return the files that hold one of the secrets, packed or not, or have it in their name."""
    return [
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if leaks_in(path, directory, forms)
    ]


def leaks_in(path: Path, directory: Path, forms: frozenset[bytes]) -> bool:
    data, content = str(path.relative_to(directory)).encode(), b""
    if path.is_symlink():
        data += bytes(path.readlink())
    elif path.is_file():
        content = path.read_bytes()
    whole = unpacked(content)
    return leaks(data, forms) or leaks(content, forms) or (whole != content and leaks(whole, forms))


@contextmanager
def nothing_leaks_into(registry: RealRegistry, forms: frozenset[bytes] = FORMS) -> Iterator[None]:
    """Look through what comes to the registry of all tests, which has much else, by the end of the block."""
    before = set(registry.directory.rglob("*"))
    yield
    new = [each for each in registry.directory.rglob("*") if each not in before]
    assert [each for each in new if leaks_in(each, registry.directory, forms)] == []


def is_silent(ended: Ended, forms: frozenset[bytes] = FORMS) -> bool:
    return not leaks((ended.out + ended.err).encode(), forms)


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(f"x{SECRET}x")
    (tmp_path / "b").write_bytes(gzip.compress(PASSWORD.encode()))
    (tmp_path / "c").write_bytes(b"x" + base64.b64encode(f"me:{PASSWORD}".encode()))
    (tmp_path / "d").write_text("nothing")
    (tmp_path / "e").write_text(f"xx{TOKEN.encode().hex()}")
    (tmp_path / "f").symlink_to(VARIABLE)
    (tmp_path / WEB_TOKEN).mkdir()
    subprocess.run(["zstd", "-q", "-o", tmp_path / "g"], input=GIT_TOKEN.encode(), check=True)
    (tmp_path / "h").write_bytes(gzip.compress(f"{PASSWORD}{os.urandom(1 << 17)!r}".encode())[:-9])

    assert sorted(leaking_files(tmp_path)) == ["a", "b", "c", "e", "f", "g", "h", WEB_TOKEN]


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz"])
def test_the_search_knows_base64_at_any_place(before: str) -> None:
    assert leaks(base64.b64encode(f"{before}{SECRET} behind".encode()))


@for_users_each_with("status", 0, 1, 0, 1)
def test_a_secret_of_a_step(who: Person, registry: RealRegistry, status: int) -> None:
    who.write("../key", SECRET)
    who.environ["KEY"] = VARIABLE
    name = f"{registry.host}/{who.user.name}/secret"
    mounts = " ".join(
        f"--mount=type=secret,id={each} --mount=type=secret,id={each},target=/etc/{each},env={each}"
        for each in ("file", "variable")
    )
    same = " && ".join(
        f'test "$(cat /run/secrets/{each})" = "${each}"' for each in ("file", "variable")
    )
    script = f"{same} && wc -c < /etc/file > /size && exit {status}"
    who.write("Dockerfile", f"FROM {registry.host}/library/busybox\nRUN {mounts} {script}\n")
    sources = ("--secret=id=file,src=../key", "--secret=id=variable,env=KEY")
    words = ("build", *sources, "-t", name, "--push", ".")

    with nothing_leaks_into(registry):
        first = who.run(*words, "--debug", "--metadata-file=../metadata")
        assert (first.status, is_silent(first)) == (status, True), first.err
        raw = who.run(*words, "--progress=rawjson")
        assert (raw.status, is_silent(raw)) == (status, True)

    assert leaking_files(who.root) == []
    if status == 0:
        assert not leaks((who.home / "metadata").read_bytes())
        assert str(len(SECRET)) in who.run("run", name, "cat", "/size").check().out


def test_a_secret_changes_no_cache_key(root: Person, registry: RealRegistry) -> None:
    step = "RUN --mount=type=secret,id=key cat /run/secrets/key | wc -c > /size"
    root.write("Dockerfile", f"FROM {registry.host}/library/busybox\n{step}\n")
    root.write("../key", SECRET)
    root.run("build", "--secret", "id=key,src=../key", ".").check()
    root.write("../key", SECRET + SECRET)

    again = root.run("build", "--secret", "id=key,src=../key", ".").check()

    assert "CACHED" in again.err


# --- what a step prints itself ---


def printing(who: Person, registry: RealRegistry, script: str) -> tuple[str, ...]:
    """Write a Dockerfile whose step prints secrets; return the words that give them."""
    who.write("../key", f"{SECRET}\n  {PASSWORD}\n")
    who.environ["KEY"] = TOKEN
    mounts = "--mount=type=secret,id=key --mount=type=secret,id=env,env=VARIABLE"
    who.write("Dockerfile", f"FROM {registry.host}/library/busybox\nRUN {mounts} {script}\n")
    return ("--secret=id=key,src=../key", "--secret=id=env,env=KEY", "--no-cache")


@for_users_each_with("status", 0, 1, 0, 1)
def test_a_secret_that_a_step_prints_is_masked(
    who: Person, registry: RealRegistry, status: int
) -> None:
    halves = f"printf %s {VARIABLE[:9]}; printf %s {VARIABLE[9:]}"
    script = (
        "cat /run/secrets/key; cat /run/secrets/key >&2; echo [$VARIABLE]; printf %s $VARIABLE | base64; "
        f"{halves}; base64 /run/secrets/key; echo; echo done; exit {status}"
    )
    who.environ["HALVES"] = VARIABLE
    words = (*printing(who, registry, script), "--secret=id=halves,env=HALVES")

    for progress in progresses(who):
        ended = run_with(who, progress, *words, ".")
        assert (ended.status, is_silent(ended)) == (status, True), ended.err
        assert not leaks(logged(ended))
        if progress == "plain":
            assert "[***]" in ended.err
            assert "done" in ended.err
    assert leaking_files(who.root) == []


def logged(ended: Ended) -> bytes:
    """Return what steps printed as `--progress=rawjson` tells of it."""
    lines = [json.loads(line) for line in ended.err.splitlines() if line.startswith('{"logs"')]
    return b"".join(base64.b64decode(each["data"]) for line in lines for each in line["logs"])


def test_masking_can_be_turned_off_and_changes_no_image(
    root: Person, registry: RealRegistry
) -> None:
    words = printing(root, registry, "echo [$VARIABLE] && cat /run/secrets/key > /kept")
    name = f"{registry.host}/kept"

    off = root.run("build", "--progress=plain", "--no-mask-secrets", *words, ".").check()
    root.run("build", *words, "-t", name, ".").check()

    assert f"[{TOKEN}]" in off.err
    assert leaking_files(root.root / "logs") == []
    assert root.run("run", name, "cat", "/kept").check().out == f"{SECRET}\n  {PASSWORD}\n"


def test_a_secret_that_another_build_has_kept_is_masked(
    root: Person, registry: RealRegistry
) -> None:
    words = printing(root, registry, "echo $VARIABLE > /kept")[:2]
    root.run("build", *words, ".").check()
    text = (root.work / "Dockerfile").read_text()
    root.write("Dockerfile", f"{text}RUN cat /kept && exit 1\n")

    ended = root.run("build", "--progress=plain", *words, ".")

    assert (ended.status, is_silent(ended)) == (1, True), ended.err
    assert "***" in ended.err


def test_secrets_are_masked_in_events(root: Person, registry: RealRegistry) -> None:
    printing(root, registry, "echo [$VARIABLE] && exit 1")
    script = (
        "import polyarch, polyarch.errors\n"
        "logs = []\n"
        "secret = polyarch.Secret(id='env', value=b'" + TOKEN + "')\n"
        "try:\n"
        "    polyarch.build('.', secrets=[secret], sink=lambda event: logs.append(repr(event)))\n"
        "except polyarch.errors.StepFailed as error:\n"
        "    print(error.tail, error, logs)\n"
    )

    ended = root.run_other(sys.executable, "-c", script).check()

    assert is_silent(ended)
    assert "[***]" in ended.out


# --- everything at once ---

PROGRESS = ("plain", "auto", "rawjson", "quiet", "none", "tty")


def progresses(who: Person) -> tuple[str, ...]:
    """Return how builds are shown: to root in all ways, to others in two, as what shows builds is nobody's in particular."""
    return PROGRESS if who.user.uid == 0 else ("plain", "rawjson")


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def serve_repository(who: Person, web: WebServer) -> None:
    """Serve a repository of one commit as files, which is all that git needs."""
    bare = who.home / "bare.git"
    git = ["git", "-C", str(bare), "-c", "user.name=me", "-c", "user.email=me@x"]
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", bare], check=True)
    tree = subprocess.run([*git, "mktree"], input=b"", check=True, capture_output=True).stdout
    commit = [*git, "commit-tree", "-m", "first", tree.decode().strip()]
    made = subprocess.run(commit, check=True, capture_output=True).stdout.decode().strip()
    subprocess.run([*git, "update-ref", "refs/heads/main", made], check=True)
    subprocess.run([*git, "update-server-info"], check=True)
    for path in bare.rglob("*"):
        if path.is_file():
            web.pages[f"/it.git/{path.relative_to(bare)}"] = Page(path.read_bytes())
    # git asks in this way first, for what a clever server would say.
    web.pages["/it.git/info/refs?service=git-upload-pack"] = web.pages["/it.git/info/refs"]


def make_key(who: Person) -> frozenset[bytes]:
    """Make the private key `id` at home; return what of it must not be seen."""
    path = who.home / "id"
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-C", "me", "-N", "", "-f", str(path)]
    subprocess.run([*who.become(), *words], check=True)
    lines = path.read_text().split("\n")[1:-2]
    # What is secret comes last, before the comment and the padding.
    seed = base64.b64decode("".join(lines))[-80:-48]
    return frozenset({lines[-2].encode(), *forms_of(seed)})


def everything(who: Person, registry: RealRegistry, web: WebServer, last: str) -> tuple[str, ...]:
    """Write a Dockerfile that uses all kinds of secrets; return the words that give them."""
    site = urlsplit(web.address)
    who.write("../key", SECRET)
    who.write("../web", WEB_TOKEN)
    who.environ.update(KEY=VARIABLE, GIT=GIT_TOKEN)
    mounts = (
        *("type=secret,id=key", "type=secret,id=env,env=VARIABLE", "type=tmpfs,target=/tmp"),
        *("type=secret,id=env,target=/etc/v,mode=0444,uid=0", "type=ssh,id=keys,required"),
    )
    script = (
        "cat /run/secrets/key /etc/v > /tmp/copy && test $VARIABLE = $(cat /etc/v) && "
        "test -S $SSH_AUTH_SOCK && wc -c < /tmp/copy > /size"
    )
    lines = (
        f"FROM {registry.host}/library/busybox",
        f"ADD {web.address}/file /file",
        f"ADD {web.address}/it.git#main /it",
        f"RUN {' '.join(f'--mount={mount}' for mount in mounts)} {script}",
        f"RUN --mount=type=secret,id=env,env=VARIABLE test -n $VARIABLE && {last}",
    )
    who.write("Dockerfile", "\n".join((*lines, "")))
    return (
        *("--secret=id=key,src=../key", "--secret=id=env,env=KEY", "--ssh=keys=../id"),
        f"--secret=id=GIT_AUTH_TOKEN.{site.netloc},env=GIT",
        f"--secret=id=HTTP_AUTH_TOKEN_{site.hostname},src=../web",
    )


def run_with(who: Person, progress: str, *words: str) -> Ended:
    """Build with a kind of progress; the one for terminals gets a terminal."""
    if progress == "quiet":
        return who.run("build", "--debug", "--quiet", *words)
    command = ("build", "--debug", f"--progress={progress}", *words)
    if progress != "tty":
        return who.run(*command)
    return who.run_other("script", "-qec", shlex.join(who.command(*command)), "/dev/null")


@for_users_each_with("status", 0, 1, 0, 1)
def test_no_secret_of_any_kind_is_anywhere(
    who: Person, registry: RealRegistry, web: WebServer, status: int
) -> None:
    """Neither in the store, archives, images, logs or metadata, nor in what is said, however it ends."""
    forms = FORMS | make_key(who)
    web.pages["/file"] = Page(b"content")
    serve_repository(who, web)
    secrets = everything(who, registry, web, f"exit {status}")
    who.environ["TMPDIR"] = str(who.write("../temporary/none", "").parent)
    name = f"{registry.host}/{who.user.name}/secrets"
    outputs = (f"--output=type=registry,name={name}", "--output=type=oci,tar=false,dest=../image")
    files = ("--metadata-file=../metadata", "--iidfile=../iid", "--no-cache")

    with nothing_leaks_into(registry, forms):
        for progress in progresses(who):
            ended = run_with(who, progress, *secrets, *outputs, *files, ".")
            assert (ended.status, is_silent(ended, forms)) == (status, True), ended.err

    for words in (("images",), ("du", "--verbose"), ("imagetools", "inspect", name)):
        assert is_silent(who.run(*words), forms)
    given = {"key", "web", "id"}
    assert [each for each in leaking_files(who.home, forms) if each not in given] == []
    sent = {asked.headers.get("Authorization", "") for asked in web.asked}
    token = base64.b64encode(f"x-access-token:{GIT_TOKEN}".encode()).decode()
    assert {f"Bearer {WEB_TOKEN}", f"basic {token}"} <= sent


@pytest.mark.parametrize("path", ["/file", "/it.git/info/refs?service=git-upload-pack"])
def test_a_server_that_refuses_a_token(
    root: Person, registry: RealRegistry, web: WebServer, path: str
) -> None:
    make_key(root)
    web.pages["/file"] = Page(b"content")
    serve_repository(root, web)
    web.pages[path] = Page(status=403)
    secrets = everything(root, registry, web, "true")

    for progress in PROGRESS:
        ended = run_with(root, progress, *secrets, ".")
        assert (ended.status, is_silent(ended)) == (1, True), ended.err
    assert leaking_files(root.root) == []


@pytest.mark.parametrize(
    ("spec", "spoil"),
    [
        ("id=key,src=../key", lambda path: path.write_text(SECRET * (600 << 10 >> 4))),
        ("id=other,src=../key", lambda _path: None),
    ],
)
def test_errors_about_secrets_do_not_quote_them(
    root: Person, registry: RealRegistry, spec: str, spoil: Callable[[Path], object]
) -> None:
    spoil(root.write("../key", SECRET))
    step = "RUN --mount=type=secret,id=key,required true\n"
    root.write("Dockerfile", f"FROM {registry.host}/library/busybox\n{step}")

    for progress in PROGRESS:
        ended = run_with(root, progress, "--secret", spec, ".")
        assert (ended.status, is_silent(ended)) == (1, True), ended.err
    assert leaking_files(root.root) == []


def test_what_a_step_puts_into_a_cache_on_purpose_is_there_alone(
    root: Person, registry: RealRegistry
) -> None:
    name = f"{registry.host}/cached"
    mounts = "--mount=type=secret,id=key --mount=type=cache,target=/c"
    step = f"RUN {mounts} cp /run/secrets/key /c/copy && echo done > /done"
    root.write("Dockerfile", f"FROM {registry.host}/library/busybox\n{step}\n")
    root.write("../key", SECRET)

    words = ("--secret=id=key,src=../key", f"--output=type=registry,name={name}")
    with nothing_leaks_into(registry):
        root.run("build", *words, "--output=type=oci,tar=false,dest=../image", ".").check()

    (only,) = leaking_files(root.root)
    assert re.fullmatch(r"snapshots/cache-[0-9a-f]{64}/.*copy", only)
    assert leaking_files(root.home / "image") == []


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
        assert (ended.status, is_silent(ended)) == (0 if right else 77, True), ended.err
    assert leaking_files(root.root) == []
    stray = [name for name in leaking_files(root.home) if name != ".docker/config.json"]
    assert stray == []
