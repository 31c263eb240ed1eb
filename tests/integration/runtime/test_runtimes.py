"""The same steps through our sandbox and through runc, by root and by ordinary users."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.machine.engines import ROOT, User, in_engine

pytestmark = [pytest.mark.runtime, pytest.mark.root]
RootfsOf = Callable[..., Path]


@pytest.fixture(params=["sandbox", "runc"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(user: User, runtime: str, rootfs: Path, words: str) -> dict[str, object]:
    """Run one step; `words` are the arguments of `run` as Python."""
    script = f"report(run({words}))"
    answer = in_engine(user, script, runtime=runtime, rootfs=str(rootfs))
    assert isinstance(answer, dict)
    return answer


def shell(user: User, runtime: str, rootfs: Path, script: str, more: str = "") -> list[str]:
    answer = run(user, runtime, rootfs, f"'sh', '-c', {script!r}, {more}")
    assert (answer["status"], answer["stderr"]) == (0, "")
    return str(answer["stdout"]).splitlines()


def test_output_and_status(user: User, runtime: str, rootfs_of: RootfsOf) -> None:
    answer = run(user, runtime, rootfs_of(user), "'sh', '-c', 'echo out; echo err >&2; exit 42'")

    assert answer == {
        "status": 42,
        "refused": "",
        "oom": False,
        "stdout": "out\n",
        "stderr": "err\n",
    }


def test_identity_and_surroundings(user: User, runtime: str, rootfs_of: RootfsOf) -> None:
    script = (
        "id -u; id -g; umask; hostname; pwd; echo $HOME; cat; echo $$; ls /proc/self/fd | wc -l"
    )

    lines = shell(user, runtime, rootfs_of(user), script, "cwd='/work/here', hostname='box'")

    assert lines == ["0", "0", "0022", "box", "/work/here", "/root", "1", "4"]


def test_privileges(user: User, runtime: str, rootfs_of: RootfsOf) -> None:
    script = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status"

    lines = shell(user, runtime, rootfs_of(user), script)

    assert dict(line.split(":\t") for line in lines) == {
        "CapInh": "0000000000000000",
        "CapPrm": "00000000a80425fb",
        "CapEff": "00000000a80425fb",
        "CapBnd": "00000000a80425fb",
        "CapAmb": "0000000000000000",
        "NoNewPrivs": "0",
        "Seccomp": "2",
    }


def test_an_insecure_step_is_refused_nothing(user: User, runtime: str, rootfs_of: RootfsOf) -> None:
    """It has no filter, but where owners are recorded, by one that hands over some calls and refuses none."""
    script = "grep Seccomp: /proc/self/status; mount -t tmpfs none /tmp && echo mounted"

    lines = shell(user, runtime, rootfs_of(user), script, "security=Security.INSECURE")

    has_listener = runtime == "sandbox" and user.name.endswith("one")
    assert lines == [f"Seccomp:\t{2 if has_listener else 0}", "mounted"]


def test_mounting_is_refused(user: User, runtime: str, rootfs_of: RootfsOf) -> None:
    answer = run(user, runtime, rootfs_of(user), "'mount', '-t', 'tmpfs', 'none', '/tmp'")

    assert answer["status"] == 1


def test_another_user(runtime: str, rootfs_of: RootfsOf, user_with_many_ids: User) -> None:
    script = "id -u; id -g; id -G; grep CapEff /proc/self/status; echo also >/dev/stdout"
    more = "uid=1000, gid=1001, groups=(1002, 1003)"
    wanted = ["1000", "1001", "1001 1002 1003", "CapEff:\t0000000000000000", "also"]

    for user in (ROOT, user_with_many_ids):
        rootfs = rootfs_of(user, "amd64" if user is ROOT else "386")
        assert shell(user, runtime, rootfs, script, more) == wanted


def test_another_user_with_a_single_id(
    runtime: str, rootfs_of: RootfsOf, user_with_one_id: User
) -> None:
    script = """
try:
    report(run("id", "-u", uid=5)["stdout"])
except Exception as error:
    report([type(error).__name__, str(error), error.hint])
"""
    rootfs = rootfs_of(user_with_one_id)
    found = in_engine(user_with_one_id, script, runtime=runtime, rootfs=str(rootfs))

    if runtime == "sandbox":  # which has somebody outside of the step remember who it is
        assert found == "5\n"
        return
    name, message, hint = found
    assert name == "NamespaceForbidden"
    assert message == "the step is to run as 5:0, but only 1 user ids exist"
    assert hint.startswith(
        "leave POLYARCH_RUNTIME out, or give your user subordinate ids; as root: "
    )


def test_network_none_has_a_loopback_only(user: User, runtime: str, rootfs_of: RootfsOf) -> None:
    script = "ls /sys/class/net /proc/net/dev >/dev/null; grep -c : /proc/net/dev; ip -o link 2>/dev/null | cat"

    lines = shell(user, runtime, rootfs_of(user), script, "network=Network.NONE")

    assert lines[0] == "1"
    assert "lo: <LOOPBACK,UP" in lines[1]


def test_mounts(user: User, runtime: str, rootfs_of: RootfsOf) -> None:
    rootfs = rootfs_of(user)
    source = rootfs.parent / "source"
    source.mkdir()
    source.chmod(0o777)
    (source / "file").write_text("content\n")
    mounts = (
        f"Bind(source={str(source)!r}, target='/new/ro', read_only=True), "
        f"Bind(source={str(source / 'file')!r}, target='/etc/one', read_only=True), "
        "Tmpfs(target='/new/mem', size=1 << 20, mode=0o700), "
        f"Bind(source={str(source)!r}, target='/new/mem/below')"
    )
    script = (
        "cat /etc/one /new/ro/file; touch /new/ro/x 2>/dev/null || echo read-only; "
        "stat -c %a /new/mem; touch /new/mem/below/made; ls /new/ro"
    )

    lines = shell(user, runtime, rootfs, script, f"mounts=({mounts},)")

    assert lines == ["content", "content", "read-only", "700", "file", "made"]
    assert sorted(os_entries(rootfs)) == ["bin", "dev", "etc", "proc", "sys", "tmp"]
    assert sorted(os_entries(rootfs / "etc")) == ["group", "passwd"]


def os_entries(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def test_nothing_of_mount_points_is_left_but_system_directories(
    user: User, runtime: str, rootfs_of: RootfsOf
) -> None:
    rootfs = rootfs_of(user)
    before = sorted((*os_entries(rootfs), "dev", "proc", "sys"))
    more = "mounts=(Tmpfs(target='/run/x/y'), Tmpfs(target='/bin/z'), Tmpfs(target='/dev/extra/x'))"

    assert run(user, runtime, rootfs, f"'true', {more}")["status"] == 0
    assert sorted(os_entries(rootfs)) == [each for each in before if each != "dev"]
    assert run(user, runtime, rootfs, "'true',")["status"] == 0

    assert sorted(os_entries(rootfs)) == before
    assert [os_entries(rootfs / name) for name in ("dev", "proc", "sys")] == [[], [], []]


def test_hidden_and_read_only_paths(user: User, runtime: str, rootfs_of: RootfsOf) -> None:
    script = (
        "cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l; "
        "echo 1 2>/dev/null >/proc/sys/vm/drop_caches || echo refused"
    )

    assert shell(user, runtime, rootfs_of(user), script) == ["0", "0", "refused"]


def test_devices(user: User, runtime: str, rootfs_of: RootfsOf) -> None:
    script = (
        "cd /dev; for d in null zero full random urandom tty; do test -c $d && echo $d; done; "
        "head -c 3 /dev/zero | wc -c; readlink fd; readlink ptmx; "
        "mknod /tmp/disk b 254 0 2>/dev/null; head -c 1 /tmp/disk 2>/dev/null | wc -c; rm -f /tmp/disk"
    )

    lines = shell(user, runtime, rootfs_of(user), script)

    assert lines == [
        *("null", "zero", "full", "random", "urandom", "tty"),
        *("3", "/proc/self/fd", "pts/ptmx", "0"),
    ]


def test_ulimits_and_shared_memory(user: User, runtime: str, rootfs_of: RootfsOf) -> None:
    script = "ulimit -n; stat -f -c %b /dev/shm"
    more = "ulimits=(Ulimit(name='nofile', soft=77, hard=99),), shm_size=1 << 20"

    assert shell(user, runtime, rootfs_of(user), script, more) == ["77", "256"]


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ("", "shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k"),
        ("shm_size=(64 << 20) + 1", "tmpfs /dev/shm tmpfs rw,nosuid,relatime,size=65540k"),
    ],
)
def test_shared_memory_is_mounted_as_by_buildkit(
    user: User, runtime: str, rootfs_of: RootfsOf, more: str, shown: str
) -> None:
    lines = shell(user, runtime, rootfs_of(user), "grep /dev/shm /proc/mounts", more)

    assert lines[0].startswith(shown)


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ("'nothing',", 'exec: "nothing": executable file not found in $PATH'),
        ("'/no/where',", "no such file or directory"),
        ("'/etc/passwd',", "permission denied"),
    ],
)
def test_what_cannot_be_started_has_status_1(
    argv: str, reason: str, runtime: str, rootfs_of: RootfsOf
) -> None:
    answer = run(ROOT, runtime, rootfs_of(ROOT), argv)

    assert answer["status"] == 1
    assert reason in str(answer["refused"])
    assert reason in str(answer["stderr"])


def test_a_hostile_root_cannot_redirect_mounts(runtime: str, rootfs_of: RootfsOf) -> None:
    rootfs = rootfs_of(ROOT)
    outside = rootfs.parent / "outside"
    outside.mkdir()
    (rootfs / "dev").symlink_to(outside)
    (rootfs / "sys").symlink_to("../../../../" + str(outside))

    run(ROOT, runtime, rootfs, "'true',")

    assert os_entries(outside) == []


def test_killed_by_a_signal(runtime: str, rootfs_of: RootfsOf) -> None:
    script = "sh -c 'kill -TERM $$'; exit $?"

    assert run(ROOT, runtime, rootfs_of(ROOT), f"'sh', '-c', {script!r}")["status"] == 143


def test_cancelling_ends_every_process(user: User, runtime: str, rootfs_of: RootfsOf) -> None:
    script = """
import threading
from polyarch.errors import Cancelled
def started(stream, data):
    threading.Thread(target=token.cancel).start()
try:
    run("sh", "-c", "sleep 1000 & (trap '' TERM INT; echo started; sleep 1000)", on_output=started)
except Cancelled:
    commands = {path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")}
    # The engine itself and what it forked have this script on their command line.
    own = Path("/proc/self/cmdline").read_bytes()
    report([each.decode() for each in commands - {own} if b"sleep" in each])
"""
    rootfs = rootfs_of(user)

    assert in_engine(user, script, runtime=runtime, rootfs=str(rootfs)) == []


def test_many_at_once(runtime: str, rootfs_of: RootfsOf) -> None:
    script = """
from concurrent.futures import ThreadPoolExecutor
def step(n):
    return run("sh", "-c", f"echo {n}; exit {n}", rootfs=arguments["rootfs"] + f"-{n}")
with ThreadPoolExecutor(8) as pool:
    answers = list(pool.map(step, range(16)))
report([[answer["status"], answer["stdout"]] for answer in answers])
"""
    rootfs = rootfs_of(ROOT)
    for number in range(16):  # a root is of one step at a time: mount points come and go in it
        copy = rootfs.with_name(f"{rootfs.name}-{number}")
        shutil.copytree(rootfs, copy, symlinks=True, copy_function=os.link)

    answers = in_engine(ROOT, script, runtime=runtime, rootfs=str(rootfs))

    assert answers == [[number, f"{number}\n"] for number in range(16)]


def test_memory_limit(runtime: str, rootfs_of: RootfsOf) -> None:
    more = "resources=Resources(memory=16 << 20, memory_swap=16 << 20)"
    script = "x=a; while true; do x=$x$x; done"

    answer = run(ROOT, runtime, rootfs_of(ROOT), f"'sh', '-c', {script!r}, {more}")

    assert (answer["status"], answer["oom"]) == (137, True)


def test_cpu_seconds_of_all_processes(user: User, rootfs_of: RootfsOf) -> None:
    busy = "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done"
    script = f"report(run('sh', '-c', '({busy}; true) & wait')['cpu'])"

    cpu = in_engine(user, script, runtime="sandbox", rootfs=str(rootfs_of(user)), cpu=True)

    assert cpu > 0.02
