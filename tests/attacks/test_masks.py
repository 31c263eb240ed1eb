"""Hidden and read-only paths of the system, devices, and roots that are made to miss them.

runc: CVE-2019-16884 and CVE-2019-19921 (/proc that isn't one), CVE-2023-27561, CVE-2025-31133 (a /dev/null that
isn't one), CVE-2025-52565, CVE-2025-52881 (writes to /proc that land elsewhere), CVE-2021-30465 (mounts through
links); Docker: CVE-2018-10892; containerd: CVE-2020-15257 (abstract sockets of the machine's network).
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine.stepping import Stepper

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

TRY_SYSTEM = """
cd /proc
for f in sys/kernel/core_pattern sysrq-trigger sys/vm/drop_caches sys/kernel/hostname; do
  [ -e $f ] && dd of=$f </dev/null 2>/dev/null && echo writable $f
done
head -c 1 kcore 2>/dev/null | wc -c; cat keys timer_list sched_debug 2>/dev/null | wc -c
ls acpi scsi asound /sys/firmware /sys/devices/virtual/powercap 2>/dev/null | grep -v : | grep -c .
for d in /sys /proc/sys /proc/irq /proc/bus /proc/fs; do
  mkdir $d/x 2>/dev/null && echo made $d/x
done
grep -c ' /proc/sys proc ro,' mounts
true
"""
KEPT = "0\n0\n0\n1\n"


def shell(stepper: Stepper, text: str, more: str = "") -> dict[str, Any]:
    answer = stepper.script(f"report(shell({text!r}, {more}))")
    assert isinstance(answer, dict)
    return answer


def test_the_system_is_hidden_and_read_only(stepper: Stepper) -> None:
    assert shell(stepper, TRY_SYSTEM)["stdout"] == KEPT


TRY_LINKS = """
import os
def attempt(name):
    os.symlink("a/real", f"{arguments['rootfs']}/{name}")
    answer = shell("echo OWNED", mounts=(Bind(source=arguments["host"], target="/a"),))
    os.unlink(f"{arguments['rootfs']}/{name}")
    wanted = f"/{name} of the image is no directory"
    return answer["status"], answer["stdout"], wanted in answer["refused"]
report([attempt(name) for name in ("proc", "dev", "sys")])
"""


def test_a_system_directory_that_is_a_link_is_refused(stepper: Stepper) -> None:
    (stepper.rootfs / "a/real").mkdir(parents=True)
    os.chown(stepper.rootfs / "a/real", stepper.user.uid, stepper.user.gid)

    assert stepper.script(TRY_LINKS) == [[1, "", True]] * 3
    assert sorted(os.listdir(stepper.host)) == ["empty", "file"]


TRY_PROC = """
def attempt(mount):
    answer = shell("echo OWNED", mounts=(mount,))
    return answer["status"], answer["stdout"]
report([
    attempt(mount)
    for target in ("/proc", "/link", "/proc/")
    for mount in (Bind(source=arguments["host"], target=target), Tmpfs(target=target))
])
"""


def test_nothing_is_mounted_on_proc(stepper: Stepper) -> None:
    (stepper.rootfs / "link").symlink_to("/proc")

    assert stepper.script(TRY_PROC) == [[1, ""]] * 6


def test_mounts_of_the_user_uncover_nothing(stepper: Stepper) -> None:
    for name, to in (("a", "/proc/sys"), ("b", "/sys/firmware"), ("c", "/sys/fs")):
        (stepper.rootfs / name).symlink_to(to)
    host = str(stepper.host)
    mounts = f"mounts=(Bind(source={host!r}, target='/b'), Tmpfs(target='/c'))"

    answer = shell(stepper, TRY_SYSTEM.replace("/sys/firmware", "/none"), mounts)

    assert answer["stdout"] == KEPT or answer["status"] == 1


def test_a_dev_of_the_image_is_covered(stepper: Stepper) -> None:
    """Files that are named like devices stand for nothing, and hide nothing badly."""
    (stepper.rootfs / "dev").mkdir()
    (stepper.rootfs / "dev/null").write_text("SECRET")
    (stepper.rootfs / "dev/pts").symlink_to("/tmp")

    answer = shell(stepper, "cat /dev/null /proc/keys; test -c /dev/null && ls /tmp")

    assert (answer["status"], answer["stdout"]) == (0, "")


def test_the_devices_of_the_machine_are_not_there(stepper: Stepper) -> None:
    known = {
        "core",
        "fd",
        "full",
        "mqueue",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
    }
    known |= {"stdout", "tty", "urandom", "zero", "console"}

    names = shell(stepper, "ls /dev")["stdout"].split()

    assert set(names) <= known


def test_abstract_sockets_are_of_the_network(stepper: Stepper) -> None:
    name = f"polyarch-test-{os.urandom(6).hex()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        answer = shell(stepper, f"grep -c {name} /proc/net/unix; true", "network=Network.NONE")

    assert answer["stdout"] == "0\n"


def test_the_machine_has_not_changed(stepper: Stepper) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern")
    before = pattern.read_text()

    shell(stepper, "echo '|/owned' >/proc/sys/kernel/core_pattern; chmod 0 /dev/null /dev/tty")

    assert pattern.read_text() == before
    assert Path("/dev/null").stat().st_mode & 0o777 == 0o666
