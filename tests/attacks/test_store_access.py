"""What lies in a store, in the hands of another user of the machine.

CVE-2021-41091 (moby: others could enter the data directory and run setuid programs of unpacked images),
CVE-2021-21284 (moby: the modes of that directory), CVE-2021-41103 and CVE-2024-25621 (containerd: the same).
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from polyarch.cli.frame.report import report_crash
from polyarch.errors import StoreError
from polyarch.store.store import Store
from tests.support.images.soundness import faults
from tests.support.machine.boxes import boxed
from tests.support.machine.engines import User, interpreter
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

DOCKERFILE = """\
FROM {base}
ARG TOKEN
RUN cp /bin/busybox /root-shell && chmod 4755 /root-shell && echo $TOKEN >/dev/null
COPY --chmod=644 data /data
"""
AS_NOBODY = """\
USER nobody
RUN id -u && cat /data /etc/resolv.conf /etc/hosts >/dev/null && cd /tmp && echo mine >mine
USER root
"""
MORE = """\
WORKDIR /a/b
COPY data c/d/
RUN --mount=type=tmpfs,target=/q/r mkdir /e && touch /f
"""
NOBODY = User(name="nobody", uid=65534, gid=65534, home=Path("/nonexistent"))


@pytest.fixture
def built(who: Person, registry: RealRegistry) -> Person:
    """Somebody who has built an image with a setuid program and a build argument."""
    who.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
    who.write("data", "data")
    who.run("build", "--build-arg", "TOKEN=hunter2", "-t", "app", ".").check()
    return who


def as_nobody(program: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    ids = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
    words = (*ids, interpreter(NOBODY), "-c", program, *map(str, arguments))
    return subprocess.run(words, cwd="/", capture_output=True, check=False)


LOOK = """
import os, sys
for directory, names, files in os.walk(sys.argv[1]):
    print(directory, *names, *files)
os.listdir(sys.argv[1])
"""
TAKE = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX)"
READ = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"


def test_another_user_sees_nothing_of_it(built: Person) -> None:
    looked = as_nobody(LOOK, built.root)
    programs = list(built.root.glob("snapshots/*/fs/root-shell"))
    ran = as_nobody("import os, sys; os.execv(sys.argv[1], ['sh', '-c', 'id'])", programs[0])

    assert (looked.stdout, b"PermissionError" in looked.stderr) == (b"", True)
    assert programs[0].stat().st_mode & stat.S_ISUID
    assert (ran.stdout, b"PermissionError" in ran.stderr) == (b"", True)


def test_another_user_reads_no_records_and_takes_no_locks(built: Person) -> None:
    # What was written last may stand in the log of writes beside it.
    assert any(b"hunter2" in path.read_bytes() for path in built.root.glob("state.db*"))

    for path in built.root.glob("state.db*"):
        assert b"PermissionError" in as_nobody(READ, path).stderr
    for path in built.root.glob("locks/*"):
        assert b"PermissionError" in as_nobody(TAKE, path).stderr


def test_what_has_no_modes_of_its_own_is_private_by_itself(built: Person) -> None:
    """Also where somebody has opened the directory since."""
    paths = [built.root, *built.root.glob("*"), *built.root.glob("locks/*")]
    paths += [*built.root.glob("blobs/**/*"), *built.root.glob("snapshots/*")]

    assert [path for path in paths if path.stat().st_mode & 0o077 and path.name != "version"] == []


def test_a_store_that_others_can_enter_is_mended(built: Person) -> None:
    for path in (built.root, *built.root.glob("*"), *built.root.glob("locks/*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    kept = {path: path.lstat().st_mode for path in built.root.glob("snapshots/*/fs/*")}

    built.run("du").check()

    test_another_user_sees_nothing_of_it(built)
    test_what_has_no_modes_of_its_own_is_private_by_itself(built)
    assert {path: path.lstat().st_mode for path in kept} == kept
    again = built.run("build", "--build-arg", "TOKEN=hunter2", "-t", "app", ".").check()
    assert "CACHED" in again.err


def test_a_store_of_somebody_else_is_refused(who: Person) -> None:
    who.root.mkdir()
    os.chown(who.root, 4242, 4242)

    refused = who.run("du")

    said = f"ERROR: can't open the store {who.root}: it belongs to somebody else"
    assert (refused.status, refused.err.splitlines()[-1]) == (1, said)
    assert "hint: set POLYARCH_ROOT to a directory of your own" in refused.err


@pytest.mark.parametrize("mode", [0o1777, 0o755])
def test_a_directory_for_all_is_not_made_a_store(who: Person, mode: int) -> None:
    who.root.mkdir()
    (who.root / "of others").touch()
    os.chown(who.root, who.user.uid, who.user.gid)
    who.root.chmod(mode)

    refused = who.run("du")

    assert (refused.status, "only its owner may enter a store" in refused.err) == (1, True)
    assert stat.S_IMODE(who.root.stat().st_mode) == mode


def test_what_others_put_into_an_open_store_is_refused(tmp_path: Path) -> None:
    Store(tmp_path / "store").close()
    (tmp_path / "store").chmod(0o777)
    (tmp_path / "store/locks/work").touch()
    os.chown(tmp_path / "store/locks/work", NOBODY.uid, NOBODY.gid)

    with pytest.raises(StoreError, match="work in it was put there by somebody else"):
        Store(tmp_path / "store")


def dockerfile(registry: RealRegistry) -> str:
    """Return one with a step of nobody."""
    return DOCKERFILE.format(base=f"{registry.host}/library/busybox") + AS_NOBODY + MORE


@pytest.mark.parametrize("before", ["store", "TMPDIR"])
def test_reports_of_crashes_are_private(tmp_path: Path, before: str) -> None:
    """Also where there is no store yet, and where none can be made."""
    (tmp_path / "TMPDIR").mkdir()
    root = tmp_path / "store"
    if before == "TMPDIR":
        root.touch()
    report_crash(
        ValueError("hunter2"), {"POLYARCH_ROOT": str(root), "TMPDIR": f"{tmp_path}/TMPDIR"}
    )

    (path,) = tmp_path.rglob("crash-*")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert before == "TMPDIR" or stat.S_IMODE(root.stat().st_mode) == 0o700
    if before == "store":
        Store(root).close()


def test_nothing_of_a_killed_trial_stays(who: Person, registry: RealRegistry) -> None:
    """What tries a runtime is in the scratch directory, which the next to open the store removes."""
    directory = who.home / "tmp"
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    who.environ.update(TMPDIR=str(directory))
    who.write("Dockerfile", f"FROM {registry.host}/library/busybox\nRUN true\n")
    with boxed(who, "build", "--progress=plain", ".") as box:
        while not list(who.root.glob("tmp/*/probe-*/rootfs")) and box.child.poll() is None:
            pass
        os.kill(box.child.pid, signal.SIGKILL)
        box.wait_until_empty()

    assert list(directory.iterdir()) == []
    assert faults(who) == [[], []]


@pytest.mark.parametrize("runtime", ["sandbox", "runc"])
@pytest.mark.parametrize("snapshotter", ["overlay", "native"])
def test_steps_of_all_users_work_in_it(
    user: User, tmp_path: Path, registry: RealRegistry, runtime: str, snapshotter: str
) -> None:
    who = person(user, tmp_path / "home")
    who.environ.update(POLYARCH_RUNTIME=runtime, POLYARCH_SNAPSHOTTER=snapshotter)
    text = dockerfile(registry)
    if runtime == "runc" and user.name.endswith("one"):  # only the sandbox has other users there
        text = text.replace(AS_NOBODY, "")
    who.write("Dockerfile", text)
    who.write("data", "data")

    who.run("build", "--progress=plain", "-t", "app", ".").check()

    assert who.run("run", "--rm", "app", "cat", "/data").check().out == "data"


@pytest.mark.parametrize("mask", ["000", "077"])
def test_the_umask_changes_no_image(
    who: Person, registry: RealRegistry, mask: str, tmp_path: Path
) -> None:
    """What keeps files from others must not get into what is built, nor keep steps from theirs."""
    who.write("Dockerfile", dockerfile(registry))
    who.write("data", "data")
    found = []
    for each in ("022", mask):
        apart = Person(
            user=who.user, home=who.home, environ={"POLYARCH_ROOT": f"{who.home}/{each}"}
        )
        words = apart.command("build", "-q", "-o", f"type=tar,dest={each}.tar", ".")
        apart.run_other("sh", "-c", f'umask {each} && exec "$@"', "sh", *words).check()
        listed = subprocess.run(
            ("tar", "-tvf", who.work / f"{each}.tar"), capture_output=True, check=True
        )
        found.append(
            [(*line.split()[:3], *line.split()[5:]) for line in listed.stdout.splitlines()]
        )

    assert found[0] == found[1]
    assert found[0]
