"""`doctor` on real machines' state, and after builds that were killed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from polyarch import syscalls
from polyarch.doctor.check import Grade
from polyarch.doctor.store import left_behind
from polyarch.namespaces.strays import MountedBelow, mounts_below
from polyarch.store.store import Store
from tests.support.machine.engines import User
from tests.support.machine.namespaces import in_mount_namespace
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

DOCKERFILE = """\
FROM {base} AS one
RUN --mount=type=cache,target=/cache echo a > /cache/a && echo made > /made
COPY . /copied
RUN ls -lR /bin /copied > /listed
FROM {base}
COPY --from=one /listed /
RUN echo more > /more
"""


def report(who: Person, *words: str) -> dict[str, Any]:
    ended = who.run("doctor", "--format", "json", *words)
    assert ended.out, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    assert ended.status == (0 if found["healthy"] else 1)
    return found


def status_of(found: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["status"] for check in found["checks"]}


def failures(found: dict[str, Any]) -> list[str]:
    return [check["text"] for check in found["checks"] if check["status"] == "fail"]


def test_everybody_is_told_what_works(who: Person) -> None:
    found = report(who)
    status = status_of(found)

    assert (found["healthy"], found["sound"]) == (True, True)
    essential = ("namespaces", "runtime", "store", "disk", "overlayfs", "emulation", "linux/amd64")
    assert {name: status[name] for name in essential} == dict.fromkeys(essential, "ok")
    assert ("user ids" in status) == (who.user.uid != 0)
    if who.user.uid:
        (ids,) = [check for check in found["checks"] if check["name"] == "user ids"]
        assert bool(ids["fix"]) == (ids["status"] == "warn") == who.user.name.endswith("one")


def test_without_a_runtime_or_emulators(root: Person) -> None:
    environ = {**root.environ, "POLYARCH_RUNTIME": "nonsense", "PATH": "/usr/bin:/bin"}
    broken = Person(user=root.user, home=root.home, environ=environ)
    found = report(broken)
    text = broken.run("doctor")

    assert status_of(found)["runtime"] == "fail"
    assert (text.status, text.out.splitlines()[-1]) == (1, "not all right: runtime")
    assert "-> sudo apt-get install runc" in text.out


def test_a_store_that_cannot_be_used(root: Person) -> None:
    with Store(root.root):
        pass
    (root.root / "version").write_text("99\n")
    found = report(root)

    assert (found["healthy"], found["sound"]) == (False, None)
    assert "has layout '99'" in next(
        check["text"] for check in found["checks"] if check["name"] == "store"
    )


def test_a_store_that_may_not_be_entered(user_with_one_id: User, tmp_path: Path) -> None:
    who = person(user_with_one_id, tmp_path / "home")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o700)
    shut_out = Person(
        user=who.user, home=who.home, environ={"POLYARCH_ROOT": str(locked / "store")}
    )
    found = report(shut_out)

    assert (found["healthy"], found["sound"]) == (False, None)
    assert {status_of(found)["disk"], status_of(found)["store"]} == {"fail"}


def test_damage_is_found_and_repaired(root: Person, registry: RealRegistry) -> None:
    root.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
    root.run("build", "--platform=linux/amd64", "-t", "app", ".").check()
    with Store(root.root, works=False) as store:
        largest = max(store.blobs, key=lambda blob: blob[1])[0]
        path = store.blobs.path(largest)
        data = bytearray(path.read_bytes())
        data[100] ^= 0xFF
        path.write_bytes(data)

    assert report(root)["sound"] is True
    assert report(root, "--deep")["sound"] is False
    assert report(root, "--deep", "--repair")["sound"] is True
    assert report(root, "--deep")["sound"] is True
    root.run("build", "--platform=linux/amd64", "-t", "app", ".").check()


MANY_KINDS = """\
FROM {base}
RUN mkdir /d /gone && echo a >/d/a && ln /d/a /d/linked && ln -s a /d/link && mkfifo /d/fifo && chown 5:6 /d/a
RUN cp /bin/busybox /d/b && chmod 4755 /d/b && touch /gone/file && mkdir /old && touch -d @1000000000 /d/a
RUN rm -r /gone && rm -r /old && mkdir /old && touch /old/new && rm /d/linked && chmod 700 /d
COPY --chown=7:8 Dockerfile /d/
"""


def test_a_snapshot_that_is_no_layer_any_more(who: Person, registry: RealRegistry) -> None:
    """Layers of all kinds are like their snapshots, until somebody changes a file of one."""
    who.write("Dockerfile", MANY_KINDS.format(base=f"{registry.host}/library/busybox"))
    who.run("build", "-t", "app", ".").check()
    sound = report(who, "--deep")
    changed = next(who.root.glob("snapshots/*/fs/d/Dockerfile"))
    status = changed.stat()
    changed.write_bytes(changed.read_bytes().replace(b"RUN", b"RAN"))
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    told = report(who, "--deep")
    report(who, "--repair")
    who.run("build", "-t", "again", ".").check()

    assert (sound["sound"], told["sound"]) == (True, False), failures(sound)
    assert any("/d/Dockerfile has other content" in each for each in failures(told)), failures(told)
    assert "RUN" in who.run("run", "--rm", "again", "cat", "/d/Dockerfile").check().out
    assert failures(report(who, "--deep")) == []


@pytest.mark.slow
def test_the_store_is_sound_whenever_a_build_is_killed(who: Person, registry: RealRegistry) -> None:
    who.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
    words = ("build", "--progress=plain", "--platform=linux/amd64", "-t", "app", ".")
    for number in range(4):
        # Each build is killed a few lines later than the one before, and starts where that ended.
        who.write("changing", str(number))
        running = who.start(*words)
        assert running.stderr is not None
        for _ in range(2 + 8 * number):
            running.stderr.readline()
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
        found = report(who, "--deep")

        assert (found["healthy"], found["sound"]) == (True, True), (number, failures(found))
        assert status_of(found)["processes"] == "ok"
    who.run(*words).check()
    assert who.run("run", "--rm", "app", "cat", "/more").check().out == "more\n"
    who.run("prune", "--all", "--force").check()
    assert report(who, "--deep")["sound"] is True


def hold_a_mount(place: Path) -> int:
    """Start a process with a mount of its own, and stop it; return its id."""
    place.mkdir(parents=True)
    holder = os.fork()
    if holder == 0:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("tmpfs", str(place), "tmpfs")
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    os.waitpid(holder, os.WUNTRACED)
    return holder


def test_nobody_is_told_to_kill_what_is_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = os.pidfd_open

    def open_of_what_ends_now(process: int) -> int:
        descriptor = really_open(process)
        os.kill(process, signal.SIGKILL)
        return descriptor

    def work() -> None:
        holder = hold_a_mount(tmp_path / "tmp/1-dead/merged")
        (check,) = left_behind(tmp_path)
        os.waitpid(holder, 0)
        assert (check.grade, check.fix) == (Grade.OK, "")

    monkeypatch.setattr(os, "pidfd_open", open_of_what_ends_now)
    in_mount_namespace(work)


def test_mounts_and_processes_are_found(tmp_path: Path) -> None:
    def work() -> None:
        place = tmp_path / "tmp/1-dead/merged with blank"
        holder = hold_a_mount(place)
        try:
            assert mounts_below(tmp_path) == (MountedBelow(path=place, process=holder),)
            (check,) = left_behind(tmp_path)
            assert check.fix == f"kill -9 {holder}"
            syscalls.mount("tmpfs", str(tmp_path / "tmp"), "tmpfs")
            (own,) = [each for each in left_behind(tmp_path) if each.name == "mounts"]
            assert own.fix == f"sudo umount {tmp_path}/tmp"
        finally:
            os.kill(holder, signal.SIGKILL)
            os.waitpid(holder, 0)

    in_mount_namespace(work)
    (check,) = left_behind(tmp_path)
    assert check.text == "no build has left any, nor mounts"
