"""The ladder of places: what of a build works for root, for ordinary users, and where no namespaces can be had.

The table in docs/places.md says what these tests show.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.machine.containers import contained
from tests.support.machine.engines import ROOT, User
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

COPIES = """\
FROM {base}
COPY --chown=5:6 given /five/
LABEL kind=copied
ENV ONE=1
"""
STEPS = f"""{COPIES}
RUN --mount=type=cache,target=/c --mount=type=secret,id=word --mount=type=bind,target=/ctx --mount=type=tmpfs,target=/t \\
    cat /run/secrets/word /ctx/given >/seen; echo again >>/c/log; cat /c/log >>/seen; touch /t/x; echo x >/dev/null; \\
    chown 7:8 /seen; cat /etc/resolv.conf >/dev/null; cat /proc/sys/kernel/ostype >>/seen; (sleep 600 &) ; ln -s a /link
RUN echo app:x:1000:1000::/app:/bin/sh >>/etc/passwd; mkdir /app; chown app /app
USER app
RUN id -u >/app/id; ls /c /t /ctx /run/secrets >/app/left 2>/dev/null; ls /dev /proc >>/tmp/listing; rm /tmp/listing
"""
OUTPUT = "type=oci,dest=out.tar,rewrite-timestamp=true"

Place = Callable[[], Person]


@pytest.fixture(params=["root", "many ids", "one id", "container", "user in a container"])
def place(
    request: pytest.FixtureRequest,
    user_with_many_ids: User,
    user_with_one_id: User,
    tmp_path: Path,
) -> tuple[str, Person]:
    users = {"many ids": user_with_many_ids, "one id": user_with_one_id}
    users["user in a container"] = user_with_one_id
    name = str(request.param)
    who = person(users.get(name, ROOT), tmp_path / "home")
    return name, contained(who) if "container" in name else who


def digest(who: Person, registry: RealRegistry, text: str) -> str:
    """Build the Dockerfile and return the digest of the image's archive."""
    who.write("Dockerfile", text.format(base=f"{registry.host}/library/busybox"))
    who.write("given", "content\n")
    who.environ.update(SOURCE_DATE_EPOCH="1700000000", WORD="secret")
    words = ("--secret", "id=word,env=WORD", "--provenance=false", "-o", OUTPUT)
    who.run("build", *words, ".").check()
    return hashlib.sha256((who.work / "out.tar").read_bytes()).hexdigest()


@pytest.fixture
def of_root(registry: RealRegistry, tmp_path: Path) -> Callable[[str], str]:
    who = person(ROOT, tmp_path / "other")
    return lambda text: digest(who, registry, text)


def test_files_and_configuration(
    place: tuple[str, Person], registry: RealRegistry, of_root: Callable[[str], str]
) -> None:
    """Works everywhere, and gives the image that root's build gives."""
    _, who = place

    assert digest(who, registry, COPIES) == of_root(COPIES)


def test_steps(
    place: tuple[str, Person], registry: RealRegistry, of_root: Callable[[str], str]
) -> None:
    """Work wherever there are namespaces, or chroot, and give root's image; else they are refused with the reason."""
    name, who = place
    if name == "user in a container":
        who.write("Dockerfile", f"FROM {registry.host}/library/busybox\nRUN true\n")
        ended = who.run("build", ".")
        assert ended.status == 1
        assert "RUN can't be done here: namespaces for the build can't be made" in ended.err
        return

    assert digest(who, registry, STEPS) == of_root(STEPS)
    commands = [
        path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _is_ours(path, who)
    ]
    assert not any(b"sleep\x00600" in command for command in commands)


def _is_ours(path: Path, who: Person) -> bool:
    try:
        return os.stat(path).st_uid in {who.user.uid, 0} and bool(path.read_bytes())
    except OSError:
        return False


@pytest.mark.parametrize(
    ("flags", "step", "said"),
    [
        (("--network=none",), "RUN true", "a network of its own"),
        (("--resource=memory=64m",), "RUN true", "limits of a cgroup"),
    ],
)
def test_what_chroot_cannot_have_is_refused(
    root: Person, registry: RealRegistry, flags: tuple[str, ...], step: str, said: str
) -> None:
    who = contained(root)
    who.write("Dockerfile", f"FROM {registry.host}/library/busybox\n{step}\n")

    ended = who.run("build", *flags, ".")

    assert ended.status == 1
    assert f"the step wants {said}" in ended.err


def test_doctor_names_the_place(place: tuple[str, Person]) -> None:
    expected = {
        "root": "root: everything works",
        "many ids": "rootless, with many ids",
        "one id": "rootless, with one id",
        "container": "root without namespaces",
        "user in a container": "no namespaces and no chroot: all but RUN works",
    }
    name, who = place

    ended = who.run("doctor")

    found = re.search(r"^\[\w+\] +place +(.*)\n(?: +-> (.*)\n)?", ended.out, re.MULTILINE)
    assert found
    assert found[1].startswith(expected[name])
    assert bool(found[2]) == (name not in {"root", "many ids"}), "the command that lifts it"
    assert ended.status == (1 if name == "user in a container" else 0)
