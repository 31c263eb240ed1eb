"""The process that records owners for a step is outside of it, and root of the engine's user namespace.

It opens what a step names (CVE-2024-21626: a descriptor of ours; CVE-2018-15664: a path that becomes another), and
writes to the step's memory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from polyarch.inroot import OWNER_XATTR
from tests.support.machine.engines import User
from tests.support.machine.stepping import Stepper

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]


@pytest.fixture
def stepper(user_with_one_id: User, rootfs_of: Callable[..., Path], tmp_path: Path) -> Stepper:
    """Steps beside a directory of their user's: the process could change that one."""
    host = tmp_path / "host"
    host.mkdir()
    (host / "file").touch()
    for path in (host, host / "file"):
        os.chown(path, user_with_one_id.uid, user_with_one_id.gid)
    return Stepper(
        user=user_with_one_id,
        runtime="sandbox",
        architecture="amd64",
        rootfs=rootfs_of(user_with_one_id),
        host=host,
    )


def out(stepper: Stepper, script: str, more: str = "") -> str:
    return str(stepper.script(f"report(shell({script!r}, {more}))")["stdout"])


def test_no_path_leads_out_of_the_root(stepper: Stepper) -> None:
    """By `..`, by links, by links of /proc, from directories and from roots of the step's own."""
    host = str(stepper.host)
    script = f"""
mkdir -p /jail/bin /a/b; cp /bin/busybox /jail/bin; ln -s ../../../../../..{host} /up; ln -s {host} /abs
cd /a/b
for p in {host} ../../../../../../..{host} /up /abs /proc/1/root{host} /proc/self/root{host} \\
  /proc/self/cwd/../../../..{host} /proc/1/cwd/../..{host} /proc/$$/root/..{host}; do
  chown 5:6 $p/file $p; chown -h 5:6 $p; chroot /jail /bin/busybox chown 5:6 $p/file
  chroot /jail /bin/busybox chown 5:6 ../../../..$p/file; su -s /bin/sh nobody -c "touch $p/made; mkdir $p/dir"
done 2>/dev/null
true
"""

    out(stepper, script)

    assert sorted(path.name for path in stepper.host.iterdir()) == ["file"]
    for path in (stepper.host, stepper.host / "file"):
        assert os.listxattr(path) == []


def test_what_is_swapped_all_the_time_leads_nowhere(stepper: Stepper) -> None:
    """A directory that becomes a link to the machine's while its files are given away."""
    host = str(stepper.host)
    script = f"""
mkdir -p /d{host} /e; echo >/d{host}/file; ln -s / /link; mv /d /real
(while :; do ln -sfn /real /d; ln -sfn /../../../.. /d; ln -sfn /proc/1/root /d; done) 2>/dev/null & loop=$!
for i in $(seq 300); do chown $i:$i /d{host}/file /d{host}; done 2>/dev/null
kill $loop
"""

    out(stepper, script)

    assert [os.listxattr(path) for path in (stepper.host, stepper.host / "file")] == [[], []]


def test_what_is_lent_read_only_keeps_its_owner(stepper: Stepper) -> None:
    mounts = f"mounts=(Bind(source={str(stepper.host)!r}, target='/lent', read_only=True),)"

    found = out(stepper, "chown 5:6 /lent/file 2>&1; chown 5 /lent 2>&1; true", mounts)

    assert found.count("Read-only file system") == 2
    assert os.listxattr(stepper.host / "file") == []


def test_nothing_of_the_engine_is_opened_by_a_descriptor(stepper: Stepper) -> None:
    """Numbers that are open in the process outside, and not in the step."""
    script = """
for n in 0 1 2 3 4 5 6 7 8 9 10 11 12; do
  chown 5:6 /proc/self/fd/$n /dev/fd/$n; stat -Lc %n:%F /proc/self/fd/$n
done 2>/dev/null | sort | uniq -c | wc -l
"""

    assert int(out(stepper, script)) <= 5


def test_addresses_that_are_none_are_errors(stepper: Stepper) -> None:
    """The process goes on to answer after calls with pointers to nowhere."""
    program = stepper.rootfs / "bin/wild"
    program.write_bytes(_wild_program())
    program.chmod(0o755)
    os.chown(program, stepper.user.uid, stepper.user.gid)

    assert out(stepper, "/bin/wild; echo $?; chown 5 /bin/wild; stat -c %u /bin/wild") == "14\n5\n"


def _wild_program() -> bytes:
    """Return a program that ends with the error of lchown(1, 0, 0), getgroups(9, 1) or else the first."""
    import struct  # noqa: PLC0415

    code = bytes.fromhex(
        "b85e000000bf0100000031f631d20f05"  # lchown(1, 0, 0)
        "4989c4"
        "b873000000bf09000000be010000000f05"  # getgroups(9, 1)
        "b806000000bf01000000be010000000f05"  # lstat(1, 1)
        "4489e7f7df"
        "b83c0000000f05"  # exit(-first)
    )
    base = 0x400000
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        *(b"\x7fELF\x02\x01\x01", 2, 62, 1, base + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0),
    )
    size = 120 + len(code)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 4096)
    return header + segment + code


def test_a_limit_that_a_step_sets_itself_makes_it_nobody_else(stepper: Stepper) -> None:
    """What stands for no credentials stands for those that every step begins with."""
    script = """
ulimit -x 506363345100603500 2>/dev/null; id -u; id -u
"""

    assert set(out(stepper, script).split()) == {"0"}


def test_devices_of_the_machine_keep_their_owner(stepper: Stepper) -> None:
    before = Path("/dev/null").stat()

    found = out(stepper, "chown 5:6 /dev/null; stat -c '%u' /dev/null")

    after = Path("/dev/null").stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (
        before.st_uid,
        before.st_gid,
        stat.S_IMODE(before.st_mode),
    )
    assert found.strip() == "65534"
    assert OWNER_XATTR not in os.listxattr("/dev/null")
