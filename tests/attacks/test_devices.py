"""Devices of the machine, wherever a step makes a node for one, and who may have nodes made.

runc: GHSA-g54h-m393-cpwq (rules of a cgroup that allow what they don't name). The kernel's rules stand in for a
root that is `nodev`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.machine.engines import ROOT, User
from tests.support.machine.stepping import RUNTIMES, Stepper

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

TRY_DISKS = """
mkdir -p /c /t
for d in / /tmp /c /t /dev /dev/shm /dev/mqueue; do
  for n in "b 254 0" "b 259 0" "b 8 0" "c 1 1" "c 1 4" "c 1 11" "c 10 229" "c 10 237" "c 5 3"; do
    mknod $d/node $n 2>/dev/null || continue
    head -c 1 $d/node >/dev/null 2>&1 && echo read $d $n
    dd if=/dev/null of=$d/node count=0 2>/dev/null && [ -b $d/node -o -c $d/node ] && echo written $d $n
    rm -f $d/node
  done
done
true
"""


@pytest.fixture
def cache(stepper: Stepper) -> Path:
    """A directory that a step sees as a cache, with nodes that an earlier step has left in it."""
    subprocess.run(["mknod", stepper.host / "left", "b", "254", "0"], check=True)
    subprocess.run(["mknod", stepper.host / "memory", "c", "1", "1"], check=True)
    return stepper.host


def test_disks_stay_closed(stepper: Stepper, cache: Path) -> None:
    mounts = f"mounts=(Bind(source={str(cache)!r}, target='/c'), Tmpfs(target='/t'))"
    left = "for n in left memory; do head -c 1 /c/$n 2>/dev/null && echo read $n; done; true"

    found = stepper.script(f"report([shell({TRY_DISKS!r}, {mounts}), shell({left!r}, {mounts})])")

    assert [answer["stdout"] for answer in found] == ["", ""]


def test_memory_has_no_way_in(stepper: Stepper) -> None:
    script = (
        "for n in kcore kmsg mem kallsyms; do head -c 1 /proc/$n >/dev/null 2>&1 && echo $n; done"
    )

    assert "kcore" not in stepper.script(f"report(shell({script!r}))")["stdout"]


# --- root's engine, whose steps make nodes ---


@pytest.fixture(params=["amd64", "arm64"])
def maker(
    request: pytest.FixtureRequest, rootfs_of: Callable[..., Path], tmp_path: Path
) -> Stepper:
    """Steps of root's engine in the sandbox, native and emulated."""
    return _stepper(ROOT, str(request.param), rootfs_of, tmp_path)


def _stepper(
    user: User, architecture: str, rootfs_of: Callable[..., Path], tmp_path: Path, runtime: str = ""
) -> Stepper:
    rootfs = rootfs_of(user, architecture)
    return Stepper(
        user=user,
        runtime=runtime or "sandbox",
        architecture=architecture,
        rootfs=rootfs,
        host=tmp_path,
    )


def out(stepper: Stepper, script: str, more: str = "") -> str:
    answer = stepper.script(f"report(shell({script!r}, {more}))")
    return str(answer["stdout"])


def test_nodes_are_made_and_of_use(maker: Stepper) -> None:
    script = """
mknod /n c 1 3 && echo x >/n && echo used
cd /tmp && umask 027 && mknod -m 640 disk b 254 0 && mknod zero c 1 5 && mknod p p
stat -c '%n %F %a %t:%T' disk zero p; head -c 2 zero | wc -c
grep ' / ' /proc/mounts | grep -c nodev
"""

    assert out(maker, script).splitlines() == [
        "used",
        "disk block special file 640 fe:0",
        "zero character special file 640 1:5",
        "p fifo 640 0:0",
        *("2", "0"),
    ]
    assert (maker.rootfs / "tmp/disk").is_block_device()


def test_errors_are_the_kernels(maker: Stepper) -> None:
    script = """
mkdir /d; for at in /none/x /bin/sh/x /d /d/$(printf %300s | tr ' ' x); do
  mknod $at c 1 3 2>&1 | sed 's/.*: //'
done
"""

    assert out(maker, script).splitlines() == [
        *("No such file or directory", "Not a directory", "File exists", "File name too long"),
    ]


def test_nodes_are_made_where_the_caller_is(maker: Stepper) -> None:
    """Below a root of the caller's own, in memory, and as the user that it has become."""
    script = """
mkdir -p /jail/bin /jail/sub && cp /bin/busybox /jail/bin/busybox
ln -s /sub /jail/link; ln -s ../../../../sub /jail/up
chroot /jail /bin/busybox mknod /link/a c 1 3; chroot /jail /bin/busybox mknod /up/b c 1 3
find / -xdev -name '[ab]' -type c | sort; ls -l /jail/sub | wc -l
mknod /mem/x c 1 3 && ls /mem
"""

    found = out(maker, script, "mounts=(Tmpfs(target='/mem'),)")

    assert found.splitlines() == ["/jail/sub/a", "/jail/sub/b", "3", "x"]


def test_callers_without_the_capability_get_nothing(maker: Stepper) -> None:
    script = "cd /tmp; mknod x c 1 3 2>/dev/null || echo no; mknod y p && echo fifo"

    assert out(maker, script, "uid=1000, gid=1000") == "no\nfifo\n"


def test_links_of_proc_lead_to_nothing_of_the_maker(maker: Stepper) -> None:
    """The process that makes nodes is outside: its own links in /proc mustn't be the step's."""
    script = """
for p in self thread-self 1; do for w in root cwd fd/0 fd/3; do
  mknod /proc/$p/$w/OWNED c 1 3 2>/dev/null
done; done
ls -d /OWNED /tmp/OWNED 2>/dev/null; true
"""

    out(maker, script)

    assert not any(
        Path(directory, "OWNED").exists() for directory in ("/", "/proc", "/dev", "/tmp")
    )


@pytest.mark.parametrize("hidden", ["unified", "all"])
def test_without_a_hierarchy_of_cgroups(
    hidden: str, rootfs_of: Callable[..., Path], tmp_path: Path
) -> None:
    """The older hierarchy's rules do as well; without any, nodes open nothing."""
    stepper = _stepper(ROOT, "amd64", rootfs_of, tmp_path)
    what = "/sys/fs/cgroup/unified" if hidden == "unified" else "/sys/fs/cgroup"
    prefix = ["unshare", "--mount", "--propagation=slave", "sh", "-c"]
    prefix += [f'mount -t tmpfs none {what} 2>/dev/null; exec "$@"', "sh"]
    script = "mknod /n c 1 3 && echo x >/n && echo used; " + TRY_DISKS

    answer = stepper.script(f"report(shell({script!r}))", prefix=prefix)

    works = hidden == "unified" and Path("/sys/fs/cgroup/devices").exists()
    assert answer["stdout"] == ("used\n" if works else "")


@pytest.mark.parametrize("runtime", RUNTIMES[:2])
def test_an_insecure_step_opens_everything(
    runtime: str, rootfs_of: Callable[..., Path], tmp_path: Path
) -> None:
    stepper = _stepper(ROOT, "amd64", rootfs_of, tmp_path, runtime)

    found = out(stepper, "mknod /m c 1 11; : </m && echo opened", "security=Security.INSECURE")

    assert found == "opened\n"
