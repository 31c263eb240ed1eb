"""`RUN --mount` in a real build: what the step sees, what is left of it, and who waits for whom."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine.programs import Ended, Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]


def build(who: Person, registry: RealRegistry, *lines: str, words: tuple[str, ...] = ()) -> Ended:
    base = f"FROM {registry.host}/library/busybox AS base"
    who.write("Dockerfile", "\n".join((base, *lines, "")))
    return who.run("build", "--progress=plain", *words, ".")


def printed(ended: Ended) -> list[str]:
    """What the steps of a build printed between angle brackets."""
    lines = ended.check().err.splitlines()
    return [
        line.split("<", 1)[1][:-1] for line in lines if line.startswith("#") and line[-1:] == ">"
    ]


def files_of_last_layer(archive: Path) -> list[str]:
    """Return what is in the topmost layer of an image in an OCI layout."""
    with tarfile.open(archive) as tar:

        def document(digest: str) -> Any:
            stream = tar.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
            assert stream is not None
            return stream

        index = tar.extractfile("index.json")
        assert index is not None
        manifest = json.load(document(json.load(index)["manifests"][0]["digest"]))
        with tarfile.open(fileobj=document(manifest["layers"][-1]["digest"])) as layer:
            return layer.getnames()


@pytest.mark.parametrize("runtime", ["sandbox", "runc"])
def test_parents_are_mounted_first_whatever_their_order(
    root: Person, registry: RealRegistry, runtime: str
) -> None:
    root.environ["POLYARCH_RUNTIME"] = runtime
    root.write("file", "text")
    mounts = "--mount=target=/a/b/file,source=file --mount=type=tmpfs,target=/a"

    ended = build(root, registry, f'RUN {mounts} touch /a/new; echo "<$(cat /a/b/file)>"')

    assert printed(ended) == ["text"]


@pytest.mark.parametrize("runtime", ["sandbox", "runc"])
def test_nothing_of_mounts_gets_into_the_layer(
    who: Person, registry: RealRegistry, runtime: str
) -> None:
    who.environ["POLYARCH_RUNTIME"] = runtime
    who.write("file", "text")
    mounts = (
        *("target=/etc/group,source=file", "target=/new/file,source=file"),
        *(
            "target=/etc/hosts,source=file",
            "type=tmpfs,target=/etc/deep/in",
            "type=cache,target=/c",
        ),
        *("type=cache,target=/c/sub,id=two", "type=tmpfs,target=/tmp", "type=secret,id=none"),
        *("type=secret,id=key,target=/deep/secret", "type=secret,id=key,target=/proc.d/secret"),
        *("target=/ctx,rw", "type=tmpfs,target=/dev/extra", "type=cache,target=/run/x/y"),
    )
    who.write("../key", "key")
    flags = " ".join(f"--mount={mount}" for mount in mounts)
    step = f"RUN {flags} touch /made /ctx/lost /c/kept /tmp/lost /etc/deep/in/lost"
    lines = ("FROM scratch AS empty", "FROM base", step)

    words = ("--output=type=oci,dest=../image.tar", "--secret=id=key,src=../key")
    build(who, registry, *lines, words=words).check()

    # BuildKit leaves directories of the system's, too, but those that a mount is in.
    assert files_of_last_layer(who.home / "image.tar") == ["made", "proc", "sys"]
    assert not (who.work / "lost").exists()


def test_a_cache_is_kept_and_shown_as_it_began(root: Person, registry: RealRegistry) -> None:
    seed = "--mount=type=cache,target=/c,from=seeded,source=/seed"
    owned = "--mount=type=cache,target=/d,from=seeded,uid=5,mode=700"
    lines = (
        "FROM base AS seeded",
        "RUN mkdir -m 750 /seed && chown 3:4 /seed && echo first > /seed/file",
        "FROM base",
        f"RUN {seed} echo \"<$(stat -c '%a %u:%g' /c) $(cat /c/file)>\"; echo more >> /c/file",
        f'RUN {seed} echo "<$(tail -n 1 /c/file)>"',
        f"RUN {owned} echo \"<$(stat -c '%a %u' /d) $(ls /d)>\"",
    )

    assert printed(build(root, registry, *lines)) == ["750 3:4 first", "more", "700 5 "]


def test_without_the_cache_caches_begin_anew(root: Person, registry: RealRegistry) -> None:
    """Once in a build: its steps share what they put there, as with BuildKit."""
    step = "RUN --mount=type=cache,target=/c{0} ls /c{0} | tr '\\n' ' ' >> /seen; touch /c{0}/{1}\n"
    base = f"FROM {registry.host}/library/busybox AS"
    root.write(
        "Dockerfile",
        f"{base} a\n{step.format('', 'one')}{step.format('', 'two')}"
        f"{base} b\nCOPY --from=a /seen /\n{step.format('', 'three')}{step.format('/other', 'x')}",
    )

    def seen(*words: str) -> str:
        root.run("build", *words, "-o", "out", ".").check()
        return (root.work / "out/seen").read_text()

    assert seen() == "one one two "
    assert seen("--no-cache") == "one one two "
    assert seen("--no-cache-filter=b") == "one "


def test_a_locked_cache_may_be_there_twice(root: Person, registry: RealRegistry) -> None:
    cache = "--mount=type=cache,id=it,sharing=locked,target="
    step = f'RUN {cache}/one {cache}/two echo x > /one/file; echo "<$(cat /two/file)>"'

    assert printed(build(root, registry, step)) == ["x"]


@pytest.mark.parametrize(
    ("sharing", "counts"), [("locked", ["1", "2", "3"]), ("private", ["1", "1", "1"])]
)
def test_builds_side_by_side_share_a_cache_as_it_says(
    root: Person, registry: RealRegistry, sharing: str, counts: list[str]
) -> None:
    """Each step waits, as long as it can, for the others to be in the cache with it."""
    script = (
        "ls /b > /dev/null; n=$(cat /c/n 2>/dev/null || echo 0); touch /b/$N; "
        "for i in $(seq 20); do [ $(ls /b | wc -l) = 3 ] && break; sleep 0.1; done; "
        'echo $((n + 1)) > /c/n; echo "<$((n + 1))>"'
    )
    mounts = f"--mount=type=cache,target=/c,sharing={sharing} --mount=type=cache,target=/b"
    base = f"FROM {registry.host}/library/busybox\nARG N\nRUN {mounts} {script}\n"
    root.write("Dockerfile", base)

    def run(number: int) -> list[str]:
        return printed(root.run("build", "--progress=plain", f"--build-arg=N={number}", "."))

    with ThreadPoolExecutor(3) as pool:
        found = sorted(line for lines in pool.map(run, range(3)) for line in lines)

    assert found == counts


@pytest.mark.parametrize("runtime", ["sandbox", "runc"])
def test_memory_that_is_limited_and_read_only(
    root: Person, registry: RealRegistry, runtime: str
) -> None:
    root.environ["POLYARCH_RUNTIME"] = runtime
    step = (
        "RUN --mount=type=tmpfs,target=/t,size=64k --mount=type=tmpfs,target=/r,ro "
        "head -c 100000 /dev/zero > /t/x 2>/dev/null; touch /r/x 2>/dev/null || "
        'echo "<$(stat -c %s /t/x)>"'
    )

    assert printed(build(root, registry, step)) == ["65536"]


def test_what_stands_above_what_in_the_environment(root: Person, registry: RealRegistry) -> None:
    root.write("../key", "secret")
    script = 'echo "<$http_proxy $HTTP_PROXY $(echo $KEY | tr a-z A-Z) $SSH_AUTH_SOCK>"'
    lines = (
        "ENV http_proxy=env KEY=env SSH_AUTH_SOCK=env",
        f"RUN --mount=type=secret,id=key,env=KEY --mount=type=ssh {script}",
        "FROM base",
        'RUN --mount=type=ssh,target=/a --mount=type=ssh echo "<$SSH_AUTH_SOCK>"',
    )
    words = ("--secret=id=key,src=../key", "--build-arg=http_proxy=given")

    first = build(root, registry, *lines[:2], words=words)
    second = build(root, registry, *lines[2:])

    assert printed(first) == ["given given SECRET env"]
    assert printed(second) == ["/a"]


def test_the_order_of_the_environment(root: Person, registry: RealRegistry) -> None:
    """What writes its environment into a file makes the layer that it makes with BuildKit."""
    root.write("../key", "secret")
    names = "echo \"<$(tr '\\0' '\\n' < /proc/$$/environ | cut -d= -f1 | xargs)>\""
    lines = (
        "RUN " + (step := f"--mount=type=secret,id=key,env=KEY --mount=type=ssh {names}"),
        "ENV A=1 SSH_AUTH_SOCK=env http_proxy=env",
        "ARG C=2",
        "FROM base",
        "ARG D=3",
        f"RUN {step}",
    )
    words = ("--secret=id=key,src=../key", "--build-arg=http_proxy=p")

    ended = build(root, registry, *lines, words=words)

    # The environment of the stage before, with the image's own behind what only the stage had.
    assert printed(ended) == [
        "PATH SSH_AUTH_SOCK HTTP_PROXY http_proxy KEY HOME",
        "C PATH A SSH_AUTH_SOCK http_proxy D HTTP_PROXY KEY HOME",
    ]


# --- ssh ---


@pytest.fixture
def agent(who: Person) -> Iterator[Path]:
    """An agent of the person's with one key, `in-agent`."""
    socket = who.home / "agent"
    key = make_key(who, "in-agent")
    words = [*who.become(), "ssh-agent", "-D", "-a", str(socket)]
    server = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert server.stdout is not None
    server.stdout.readline()
    words = [*who.become(), "env", f"SSH_AUTH_SOCK={socket}", "ssh-add", "-q", key]
    subprocess.run(words, check=True)
    try:
        yield socket
    finally:
        server.terminate()
        server.communicate()


def make_key(who: Person, name: str) -> str:
    path = str(who.home / name)
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-C", name, "-N", "", "-f", path]
    subprocess.run([*who.become(), *words], check=True)
    return path


def put_ssh_add(who: Person) -> str:
    """Put this machine's ssh-add into the context; return the mounts with which a step can run it."""
    program = shutil.which("ssh-add")
    assert program
    told = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    for path in (program, *re.findall(r"(/\S+) \(", told)):
        copy = who.work / "ssh" / path.removeprefix("/usr").lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
        copy.chmod(0o755)
    directories = (path for path in (who.work / "ssh").iterdir() if path.name != "bin")
    binds = (f"--mount=source=ssh/{path.name},target=/{path.name}" for path in directories)
    return " ".join((*binds, "--mount=source=ssh/bin/ssh-add,target=/ssh-add"))


def test_agents_and_keys_by_id(who: Person, registry: RealRegistry, agent: Path) -> None:
    keys = [make_key(who, name) for name in ("one", "two")]
    mounts = put_ssh_add(who)
    script = "/ssh-add -L | sed 's/.* \\(.*\\)/<\\1>/'"
    lines = (
        f"RUN --mount=type=ssh,required {mounts} {script}; /ssh-add -D 2>/dev/null || echo '<no>'",
        f"RUN --mount=type=ssh,id=keys,required {mounts} {script}",
        f"RUN --mount=type=ssh,id=none {mounts} {script}",
    )
    words = (f"--ssh=default={agent}", f"--ssh=keys={keys[0]},{keys[1]}")

    ended = build(who, registry, *lines, words=words)

    assert printed(ended) == ["in-agent", "no", "one", "two"]


def test_an_agent_that_is_required(root: Person, registry: RealRegistry) -> None:
    ended = build(root, registry, "RUN --mount=type=ssh,id=mine,required true")

    assert ended.status == 1
    assert "unset ssh forward key mine\nhint: give it with --ssh mine" in ended.complaint()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x=Dockerfile", "failed to parse Dockerfile: it is no private key"),
        ("x=no-file", "can't use no-file for ssh: No such file or directory"),
    ],
)
def test_what_is_no_key(root: Person, registry: RealRegistry, value: str, message: str) -> None:
    ended = build(root, registry, "RUN true", words=("--ssh", value))

    assert ended.status == 1
    assert message in ended.err
