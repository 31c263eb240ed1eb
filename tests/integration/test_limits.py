"""What the command line says of every step takes effect inside of it, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.engine.programs import host_resolv_conf
from polyarch.runtime.step import Network
from tests.support.machine.engines import User
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

CGROUPS = Path("/sys/fs/cgroup")
RUNTIMES = ["sandbox", "runc"]


def said(who: Person, registry: RealRegistry, command: str, *words: str) -> list[str]:
    """Build a step and return what it printed."""
    who.write("Dockerfile", f"FROM {registry.host}/library/busybox\nRUN {command}\n")
    ended = who.run("build", "--progress=plain", *words, ".").check()
    lines = ended.err.split(f"RUN {command}\n", 1)[1].splitlines()
    return [
        line.split(" ", 2)[2] for line in lines if line.startswith("#") and " DONE " not in line
    ]


def left_behind(name: str) -> list[Path]:
    return list(CGROUPS.glob(f"**/{name}"))


@pytest.fixture
def ordinary(tmp_path: Path, user_with_many_ids: User) -> Person:
    return person(user_with_many_ids, tmp_path / "home")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_parent_of_all_cgroups(root: Person, registry: RealRegistry, runtime: str) -> None:
    root.environ["POLYARCH_RUNTIME"] = runtime
    here = Path("/proc/self/cgroup").read_text().splitlines()

    lines = said(root, registry, "cat /proc/self/cgroup", "--cgroup-parent=polyarch-parent/below")

    assert len(lines) == len(here)
    if not (CGROUPS / "cgroup.controllers").exists():
        assert all(":/polyarch-parent/below/buildkit/polyarch-" in line for line in lines)
    assert left_behind("polyarch-parent") == []


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_memory_has_a_limit(root: Person, registry: RealRegistry, runtime: str) -> None:
    root.environ["POLYARCH_RUNTIME"] = runtime
    step = "RUN x=a; while true; do x=$x$x; done"
    root.write("Dockerfile", f"FROM {registry.host}/library/busybox\n{step}\n")

    ended = root.run("build", "--memory=16m", "--memory-swap=16m", ".")

    assert ended.status == 1
    assert "did not complete successfully: exit code: 137" in ended.err
    assert "hint: the kernel killed the step for want of memory" in ended.err


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_processors_are_chosen(root: Person, registry: RealRegistry, runtime: str) -> None:
    root.environ["POLYARCH_RUNTIME"] = runtime

    lines = said(
        root, registry, "grep Cpus_allowed_list /proc/self/status", "--resource=cpuset-cpus=0"
    )

    assert lines == ["Cpus_allowed_list:\t0"]


def test_limits_do_not_make_another_result(root: Person, registry: RealRegistry) -> None:
    said(root, registry, "date > /now", "--memory=64m")

    assert "CACHED" in root.run("build", "--progress=plain", "--cpu-shares=100", ".").check().err


@pytest.mark.parametrize(
    ("flag", "wish"),
    [("--memory=64m", "its limits"), ("--cgroup-parent=polyarch-x", "the parent polyarch-x")],
)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_ordinary_user_is_told(
    ordinary: Person, registry: RealRegistry, runtime: str, flag: str, wish: str
) -> None:
    ordinary.environ["POLYARCH_RUNTIME"] = runtime
    ordinary.write("Dockerfile", f"FROM {registry.host}/library/busybox\nRUN true\n")

    ended = ordinary.run("build", flag, ".")

    assert ended.status == 1
    assert f"the step can't have a cgroup with {wish}: " in ended.err
    assert "hint: leave --resource, --memory" in ended.err
    assert left_behind("polyarch-x") == []


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_ulimits_memory_to_share_and_names(
    who: Person, registry: RealRegistry, runtime: str
) -> None:
    who.environ["POLYARCH_RUNTIME"] = runtime
    command = "ulimit -n; ulimit -c; stat -f -c %b /dev/shm; hostname; tail -n 2 /etc/hosts"

    lines = said(
        who,
        registry,
        command,
        *("--ulimit=nofile=77:99", "--ulimit=core=-1", "--shm-size=1m"),
        *("--add-host=here:host-gateway", "--add-host=six:[2001:db8::1]"),
        "--build-arg=BUILDKIT_SANDBOX_HOSTNAME=box",
    )

    assert lines == ["77", "unlimited", "256", "box", "127.0.0.1\there", "2001:db8::1\tsix"]


def test_a_step_without_a_network_gets_no_server_of_this_machine(
    root: Person, registry: RealRegistry
) -> None:
    lines = said(root, registry, "--network=none cat /etc/resolv.conf")

    assert lines == host_resolv_conf(Network.NONE).splitlines()
    assert not any(line.startswith("nameserver 127.") for line in lines)


def test_a_ulimit_that_cannot_be_raised(ordinary: Person, registry: RealRegistry) -> None:
    ordinary.write("Dockerfile", f"FROM {registry.host}/library/busybox\nRUN true\n")

    ended = ordinary.run("build", "--ulimit=nofile=1000000000", ".")

    assert ended.status == 1
    assert "ulimit nofile=1000000000:1000000000 can't be set: the hard limit is " in ended.err
