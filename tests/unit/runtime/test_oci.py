"""A step as a container: what it gets, and what differs where the engine isn't the machine's root."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.record import replace
from polyarch.request.limits import Resources, Ulimit
from polyarch.runtime.configuration import MountPoint
from polyarch.runtime.oci import base_devices, bound_devices, oci_config
from polyarch.runtime.step import Bind, DeviceNode, Host, Network, Security, Step, Tmpfs

STEP = Step(argv=("/bin/sh", "-c", "true"), rootfs="/r")
ROOT = Host(rootless=False)
USER = Host(rootless=True, mapped_ids=65537)
ALONE = Host(rootless=True, mapped_ids=1, cgroup2=False)

TARGETS = st.sampled_from(["/proc", "/dev/shm", "/sys", "/cache", "/run/secrets/a", "/etc/hosts"])
MOUNTS = st.lists(
    st.builds(Bind, source=st.just("/s"), target=TARGETS, read_only=st.booleans())
    | st.builds(Tmpfs, target=TARGETS, size=st.integers(0, 9)),
    max_size=4,
).map(tuple)
STEPS = st.builds(
    Step,
    argv=st.just(("true",)),
    rootfs=st.just("/r"),
    env=st.just(("A=1",)),
    uid=st.integers(0, 9),
    groups=st.lists(st.integers(0, 9), max_size=2).map(tuple),
    network=st.sampled_from(Network),
    security=st.sampled_from(Security),
    mounts=MOUNTS,
    user_namespace=st.sampled_from(["", "/proc/1/ns/user"]),
)
HOSTS = st.sampled_from([ROOT, USER, ALONE])


NODE = DeviceNode(
    path="/dev/mine", source="/dev/theirs", kind="c", major=10, minor=2, mode=0o640, gid=7
)


NOTHING = {"allow": False, "access": "rwm"}


def test_root_makes_devices_and_may_use_them() -> None:
    step = replace(STEP, devices=(NODE,))

    linux = oci_config(bound_devices(step, ROOT), ROOT)["linux"]

    numbers = {"type": "c", "major": 10, "minor": 2}
    made = {"path": "/dev/mine", **numbers, "fileMode": 0o640, "uid": 0, "gid": 7}
    assert linux["devices"] == [made]
    assert linux["resources"] == {"devices": [NOTHING, {"allow": True, **numbers, "access": "rwm"}]}


def test_an_ordinary_user_lends_devices() -> None:
    step = bound_devices(replace(STEP, devices=(NODE,)), USER)

    config = oci_config(step, USER)

    assert step.mounts == (Bind(source="/dev/theirs", target="/dev/mine"),)
    assert (config["linux"]["devices"], config["linux"].get("resources")) == ([], None)


def test_a_device_elsewhere_is_lent_as_its_node_would_stay() -> None:
    step = bound_devices(replace(STEP, devices=(replace(NODE, path="/opt/it"),)), ROOT)

    assert step.mounts == (Bind(source="/dev/theirs", target="/opt/it"),)
    assert oci_config(step, ROOT)["linux"]["devices"] == []


def test_a_limit_that_is_none_is_the_greatest_number() -> None:
    step = replace(STEP, ulimits=(Ulimit(name="core", soft=5, hard=-1),))

    assert oci_config(step, ROOT)["process"]["rlimits"] == [
        {"type": "RLIMIT_CORE", "soft": 5, "hard": (1 << 64) - 1}
    ]


def test_a_file_system_in_memory_may_be_read_only() -> None:
    step = replace(STEP, mounts=(Tmpfs(target="/t", read_only=True),))

    assert mounts(step, ROOT)["/t"]["options"] == ["nosuid", "ro", "mode=1777"]


def mounts(step: Step, host: Host) -> dict[str, MountPoint]:
    return {mount["destination"]: mount for mount in oci_config(step, host)["mounts"]}


def namespaces(step: Step, host: Host) -> list[str]:
    return [each["type"] for each in oci_config(step, host)["linux"]["namespaces"]]


@given(step=STEPS, host=HOSTS)
def test_a_configuration_is_json_and_the_same_twice(step: Step, host: Host) -> None:
    config = oci_config(step, host, cgroup="/c")

    assert json.loads(json.dumps(config)) == config == oci_config(step, host, cgroup="/c")
    assert set(config) == {"ociVersion", "process", "root", "hostname", "mounts", "linux"}


@given(step=STEPS, host=HOSTS)
def test_steps_are_kept_from_the_machine(step: Step, host: Host) -> None:
    config = oci_config(step, host)
    kinds = namespaces(step, host)
    linux = config["linux"]

    assert {"pid", "ipc", "uts", "mount"} <= set(kinds)
    assert len(set(kinds)) == len(kinds)
    assert ("network" in kinds) is (step.network is Network.NONE)
    assert ("seccomp" in linux) is not step.insecure
    assert bool(linux["maskedPaths"]) is bool(linux["readonlyPaths"]) is not step.insecure
    system = {mount["destination"]: mount for mount in config["mounts"]}
    own = {mount.target for mount in step.mounts}
    for target in {"/proc", "/sys", "/dev/shm"} - own:
        assert "nosuid" in system[target]["options"]
    if not step.insecure and "/sys" not in own:
        assert "ro" in system["/sys"]["options"]


@given(step=STEPS, host=HOSTS)
def test_the_steps_own_mounts_stand_in_place_of_the_systems_or_last(step: Step, host: Host) -> None:
    targets = [mount["destination"] for mount in oci_config(step, host)["mounts"]]
    system = [
        mount["destination"] for mount in oci_config(replace(step, mounts=()), host)["mounts"]
    ]
    own = dict.fromkeys(mount.target for mount in step.mounts)

    assert targets == [*system, *(each for each in own if each not in system)]


def test_the_process_is_the_steps() -> None:
    step = replace(
        STEP,
        env=("PATH=/bin", "A=b c"),
        cwd="/src",
        uid=3,
        gid=4,
        groups=(5, 6),
        hostname="there",
        ulimits=(Ulimit(name="nofile", soft=1, hard=2),),
    )

    config = oci_config(step, ROOT)
    process = config["process"]

    assert (process["args"], process["env"], process["cwd"]) == (
        ["/bin/sh", "-c", "true"],
        ["PATH=/bin", "A=b c"],
        "/src",
    )
    assert process["user"] == {"uid": 3, "gid": 4, "umask": 0o022, "additionalGids": [5, 6]}
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]
    assert (config["hostname"], config["root"]) == ("there", {"path": "/r", "readonly": False})


def test_capabilities_are_dockers() -> None:
    capabilities = oci_config(STEP, ROOT)["process"]["capabilities"]

    assert capabilities["bounding"] == [
        f"CAP_{name}"
        for name in (
            *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
            *("NET_BIND_SERVICE", "NET_RAW", "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP"),
        )
    ]
    assert capabilities["inheritable"] == capabilities["ambient"] == []


def test_an_insecure_step_gets_what_the_engine_has() -> None:
    step = replace(STEP, security=Security.INSECURE)
    host = replace(ROOT, capabilities=0b101)
    config = oci_config(step, host)

    assert all(
        names == ["CAP_CHOWN", "CAP_DAC_READ_SEARCH"]
        for names in config["process"]["capabilities"].values()
    )
    assert config["linux"]["resources"] == {"devices": [{"allow": True, "access": "rwm"}]}


@pytest.mark.parametrize(
    ("host", "step", "kind"),
    [
        (ROOT, STEP, "sysfs"),
        (USER, STEP, "none"),
        (USER, replace(STEP, network=Network.NONE), "sysfs"),
        (ROOT, replace(STEP, user_namespace="/n"), "none"),
    ],
    ids=["root", "user", "user without network", "root with a namespace"],
)
def test_who_may_mount_sysfs(host: Host, step: Step, kind: str) -> None:
    assert mounts(step, host)["/sys"]["type"] == kind


def test_where_one_id_is_mapped() -> None:
    step = replace(STEP, groups=(1, 2))

    assert oci_config(step, ALONE)["process"]["user"]["additionalGids"] == []
    assert "gid=5" not in mounts(step, ALONE)["/dev/pts"]["options"]
    assert "gid=5" in mounts(step, USER)["/dev/pts"]["options"]
    assert "cgroup" not in namespaces(step, ALONE)


def test_a_namespace_to_join_comes_with_its_map() -> None:
    linux = oci_config(replace(STEP, user_namespace="/n"), ROOT)["linux"]

    assert linux["namespaces"][-1] == {"type": "user", "path": "/n"}
    assert linux["uidMappings"] == linux["gidMappings"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": 0, "size": 2**32 - 1}]
    assert "uidMappings" not in oci_config(STEP, ROOT)["linux"]


def test_mounts_of_the_step() -> None:
    step = replace(
        STEP,
        shm_size=99,
        mounts=(
            Bind(source="/s", target="/a", read_only=True, flags=("nosuid",)),
            Bind(source="/s", target="/b"),
            Tmpfs(target="/c", size=7, mode=0o700),
            Tmpfs(target="/d"),
        ),
    )

    found = {target: mount["options"] for target, mount in mounts(step, ROOT).items()}

    assert found["/a"] == ["rbind", "ro", "nosuid"]
    assert found["/b"] == ["rbind", "rw"]
    assert found["/c"] == ["nosuid", "mode=700", "size=7"]
    assert found["/d"] == ["nosuid", "mode=1777"]
    assert "size=99" in found["/dev/shm"]
    assert [mount.describe() for mount in step.mounts] == [
        "bind /s on /a (ro,nosuid)",
        "bind /s on /b (rw)",
        "tmpfs on /c (mode 700, 7 bytes)",
        "tmpfs on /d (mode 1777)",
    ]


def test_limits_need_a_cgroup() -> None:
    step = replace(STEP, resources=Resources(memory=1, memory_swap=2, cpuset_cpus="0"))

    assert oci_config(step, ROOT)["linux"]["resources"] == {"devices": [NOTHING]}
    assert "resources" not in oci_config(step, USER)["linux"]
    linux = oci_config(step, ROOT, cgroup="/c")["linux"]
    assert linux["cgroupsPath"] == "/c"
    assert linux["resources"] == {
        "devices": [NOTHING],
        "memory": {"limit": 1, "swap": 2},
        "cpu": {"cpus": "0"},
    }


def test_the_filter_may_be_left_to_others() -> None:
    assert "seccomp" not in oci_config(STEP, ROOT, seccomp=False)["linux"]


def test_base_devices_are_those_of_every_container() -> None:
    assert {each["path"]: (each["major"], each["minor"]) for each in base_devices()} == {
        "/dev/null": (1, 3),
        "/dev/zero": (1, 5),
        "/dev/full": (1, 7),
        "/dev/random": (1, 8),
        "/dev/urandom": (1, 9),
        "/dev/tty": (5, 0),
    }
