"""What an emulated step can do and see, against the same step natively: probe by probe, for all kinds of users.

What differs is in docs/guides/emulation.md, with its reason, and nothing else may.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.machine.engines import User
from tests.support.machine.stepping import Stepper

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

PAGE = Path(__file__).parents[3] / "docs/guides/emulation.md"
PROBES = {
    "capabilities": "grep Cap /proc/self/status",
    "ids": "id; cat /proc/self/uid_map | wc -l",
    "chown": "echo >a; chown 5:6 a; stat -c '%u:%g' a",
    "setuid bit": "cp /bin/busybox b; chown 0:7 b; chmod 6755 b; stat -c '%a %u:%g' b",
    "su": "echo app:x:1000:1000::/:/bin/sh >>/etc/passwd; su app -c id",
    "nodes": "mknod n c 1 3 && echo x >n && stat -c '%F %t:%T' n; mknod d b 8 0 && head -c 1 d; mkfifo f && stat -c %F f",
    "devices": "ls /dev; head -c 4 /dev/zero | wc -c; echo x >/dev/full",
    "memory": "head -c 1 /dev/mem; head -c 1 /proc/kcore; head -c 1 /dev/kmsg",
    "mount": "mkdir -p m; mount -t tmpfs none m; mount --bind /etc m; umount /proc",
    "namespaces": "unshare -m true; unshare -U true; unshare -n true; chroot / /bin/busybox true && echo chroot",
    "sysctl": "cat /proc/sys/kernel/ostype /proc/sys/kernel/pid_max; echo 1 >/proc/sys/kernel/pid_max",
    "sysrq": "echo h >/proc/sysrq-trigger; ls /proc/acpi /proc/scsi /sys/firmware",
    "host name": "hostname; hostname other; hostname",
    "ping": "ping -c 1 -W 1 127.0.0.1 >/dev/null && echo ping",
    "network": "cat /proc/net/route | wc -l; ls /sys/class/net; ip link set lo down",
    "limits": "ulimit -a; ulimit -n 100; ulimit -n; ulimit -c unlimited; ulimit -c",
    "priorities": "nice -n 5 nice; nice -n -5 nice",
    "signals": "sleep 9 & kill -9 $!; wait $!; echo $?; kill -0 1 && echo init; sh -c 'kill -11 $$'; echo $?",
    "timers": "timeout 1 sleep 9; echo $?; usleep 1000 && date +%Z",
    "files": "umask; touch -d @1 t; stat -c '%Y %h' t; ln t u; ln -s t v; readlink v; truncate -s 5 t; stat -c %s t",
    "locks": "flock t -c 'echo locked'; df -P / | wc -l",
    "attributes": "chmod 1777 a; stat -c %a a; touch /proc/x; ls /proc/self/fd | wc -l",
    "mounts": "cut -d' ' -f2-4 /proc/mounts | grep -v binfmt",
    "groups of control": "cat /proc/self/cgroup | wc -l; ls /sys/fs/cgroup | wc -l",
    "processes": "cat /proc/1/comm; kill -0 99999; ps | grep -c [s]leep",
    "machine": "uname -m; grep -c ^processor /proc/cpuinfo; head -c 20 /proc/version",
    "program": "readlink /proc/self/exe; tr '\\0' ' ' </proc/self/cmdline",
    "clock": "date -s @0 2>&1 | head -1; cat /proc/uptime >/dev/null && echo up",
}
DIFFERS = {"machine", "mounts", "namespaces", "ping", "signals"}
INSECURE = ("capabilities", "mount", "host name", "namespaces", "nodes", "devices", "ping")
NATIVE, EMULATED = "amd64", "arm64"

Ran = Callable[[str, str], list[str]]


@pytest.fixture
def probe(
    user: User, rootfs_of: Callable[..., Path], tmp_path: Path
) -> Callable[[str, tuple[str, ...], str], list[str]]:
    """Return what runs probes for an architecture, with more of a step, and returns what each said."""

    def run(architecture: str, names: tuple[str, ...], more: str) -> list[str]:
        stepper = Stepper(
            user=user,
            runtime="sandbox",
            architecture=architecture,
            rootfs=rootfs_of(user, architecture),
            host=tmp_path,
        )
        scripts = [f'mkdir -p /p; cd /p; exec 2>&1; {PROBES[name]}; echo "= $?"' for name in names]
        script = f"report([shell(each, {more}) for each in {scripts!r}])"
        return [str(answer["stdout"]) for answer in stepper.script(script)]

    return run


@pytest.mark.parametrize("security", ["SANDBOX", "INSECURE"])
def test_emulated_steps_do_and_see_what_native_ones_do(
    probe: Callable[[str, tuple[str, ...], str], list[str]], security: str
) -> None:
    names = tuple(PROBES) if security == "SANDBOX" else INSECURE
    more = f"security=Security.{security}"

    native, emulated = (probe(each, names, more) for each in (NATIVE, EMULATED))

    found = {
        name: (one, other)
        for name, one, other in zip(names, native, emulated, strict=True)
        if one != other
    }
    assert {name: each for name, each in found.items() if name not in DIFFERS} == {}


def test_what_differs_is_told() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert all(f"| {name} |" in page for name in DIFFERS)
