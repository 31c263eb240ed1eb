"""`binfmt` on a binfmt_misc of its own: that of a user namespace, so the machine's stays as it is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polyarch import syscalls
from polyarch.emulation.binfmt import BINFMT_DIRECTORY, BinfmtMount
from tests.support.machine.commands import Printed, call
from tests.support.machine.engines import User
from tests.support.machine.namespaces import in_user_namespace
from tests.support.machine.programs import Person, person

pytestmark = [pytest.mark.root, pytest.mark.qemu]


@pytest.fixture(autouse=True)
def machine_untouched() -> Iterator[None]:
    before = BinfmtMount().names()
    yield
    assert BinfmtMount().names() == before


def in_own_machine(work: Callable[[], None]) -> None:
    """Call `work` where a fresh binfmt_misc hides the machine's, which root could write even there."""

    def enter() -> None:
        syscalls.mount("binfmt_misc", BINFMT_DIRECTORY, "binfmt_misc")
        assert BinfmtMount().names() == ()
        work()

    in_user_namespace(enter)


def supported(printed: Printed) -> list[str]:
    found = json.loads(printed.out)["supported"]
    assert isinstance(found, list)
    return found


def emulators(printed: Printed) -> list[str] | None:
    found: list[str] | None = json.loads(printed.out)["emulators"]
    return found


def test_install_runs_what_did_not_run(tmp_path: Path) -> None:
    environ = {"POLYARCH_ROOT": str(tmp_path)}

    def work() -> None:
        fresh = call("binfmt", "--json", environ=environ)
        done = call("binfmt", "install", "arm64,linux/s390x", "riscv64", environ=environ)
        again = call("binfmt", "install", "arm64", environ=environ)

        assert (fresh.status, fresh.err, emulators(fresh)) == (0, "", None)
        assert "linux/arm64" not in supported(fresh)
        assert (done.status, done.err.splitlines()) == (
            0,
            ["installing: arm64 OK", "installing: linux/s390x OK", "installing: riscv64 OK"],
        )
        assert {"linux/arm64", "linux/s390x", "linux/riscv64"} <= set(supported(done))
        assert emulators(done) == ["qemu-aarch64", "qemu-riscv64", "qemu-s390x"]
        assert (again.status, again.err) == (
            1,
            "installing: arm64 qemu-aarch64 already registered\n",
        )

    in_own_machine(work)


def test_the_flags_of_the_image(tmp_path: Path) -> None:
    environ = {"POLYARCH_ROOT": str(tmp_path)}

    def work() -> None:
        everything = call("binfmt", "--install", "all", environ=environ)
        mixed = call(
            "binfmt", "--install", "arm64,pdp11", "--uninstall", "qemu-aarch64,x", environ=environ
        )
        gone = call("binfmt", "--uninstall=qemu-*", environ=environ)

        assert {"linux/arm64", "linux/arm/v7", "linux/loong64"} <= set(supported(everything))
        assert "qemu-x86_64" not in (emulators(everything) or [])
        assert (mixed.status, mixed.err.splitlines()) == (
            0,
            [
                "uninstalling: qemu-aarch64 OK",
                "uninstalling: x not found",
                "installing: arm64 OK",
                "installing: pdp11 unsupported architecture: pdp11",
            ],
        )
        assert (gone.status, emulators(gone)) == (0, None)
        assert "linux/arm64" not in supported(gone)

    in_own_machine(work)


def test_uninstall_by_architecture(tmp_path: Path) -> None:
    environ = {"POLYARCH_ROOT": str(tmp_path)}

    def work() -> None:
        call("binfmt", "install", "arm64,arm", environ=environ)
        one = call("binfmt", "uninstall", "arm64", environ=environ)
        none = call("binfmt", "uninstall", "arm64", environ=environ)

        assert (one.status, one.err, emulators(one)) == (
            0,
            "uninstalling: arm64 OK\n",
            ["qemu-arm"],
        )
        assert (none.status, none.err) == (1, "uninstalling: arm64 not found\n")

    in_own_machine(work)


def test_status_leaves_no_mount_and_installing_does(tmp_path: Path) -> None:
    environ = {"POLYARCH_ROOT": str(tmp_path / "root")}
    place = tmp_path / "binfmt"
    place.mkdir()

    def work() -> None:
        call("binfmt", "status", f"--mount={place}", environ=environ)
        looked = os.path.ismount(place)
        call("binfmt", "install", f"--mount={place}", "arm64", environ=environ)

        assert (looked, os.path.ismount(place)) == (False, True)
        assert (place / "qemu-aarch64").read_text().startswith("enabled\n")

    in_own_machine(work)


def test_no_emulator_and_no_directory(tmp_path: Path) -> None:
    environ = {"POLYARCH_ROOT": str(tmp_path), "PATH": "/nowhere", "QEMU_BINARY_PATH": "/opt/qemu"}

    def work() -> None:
        if os.path.isdir(debian := "/usr/libexec/qemu-binfmt"):
            syscalls.mount("tmpfs", debian, "tmpfs")
        missing = call("binfmt", "install", "arm64", environ=environ)
        nowhere = call("binfmt", "install", "--mount=/nowhere", "arm64", environ=environ)

        assert missing.status == 1
        assert missing.err == (
            'installing: arm64 cannot register "/opt/qemu/qemu-aarch64" to '
            f"{BINFMT_DIRECTORY}/register: no static emulator was found\n"
        )
        assert nowhere.status == 1
        assert "cannot mount binfmt_misc filesystem at /nowhere: No such file" in nowhere.err
        assert "modprobe binfmt_misc" in nowhere.err

    in_own_machine(work)


def test_an_ordinary_user_is_told_and_may_look(user_with_one_id: User, tmp_path: Path) -> None:
    who: Person = person(user_with_one_id, tmp_path / "home")
    refused = who.run("binfmt", "install", "arm64")
    looked = who.run("binfmt", "status", "--json")

    assert refused.status == 1
    assert "hint: this needs root: run it with sudo" in refused.err
    assert looked.status == 0
    assert "linux/amd64" in json.loads(looked.out)["supported"]


def test_what_would_be_used_and_why(tmp_path: Path) -> None:
    environ = {"POLYARCH_ROOT": str(tmp_path / "root"), "PATH": str(tmp_path)}
    dynamic = tmp_path / "qemu-s390x"
    shutil.copy("/bin/true", dynamic)

    def work() -> None:
        for directory in ("/usr/libexec/qemu-binfmt", "/usr/lib/binfmt.d"):
            if os.path.isdir(directory):
                syscalls.mount("tmpfs", directory, "tmpfs")
        shutil.copy("/usr/bin/qemu-aarch64-static", tmp_path / "qemu-aarch64")
        listed = call("binfmt", environ=environ)
        printed = call("binfmt", "status", "--json", environ=environ)
        off = call("binfmt", environ={**environ, "POLYARCH_QEMU_IMAGE": "none"})

        found = {each["platform"]: each for each in json.loads(printed.out)["platforms"]}
        ways = {each: found[f"linux/{each}"]["how"] for each in ("amd64", "arm64", "s390x")}
        assert ways == {"amd64": "native", "arm64": "emulator", "s390x": "image"}
        assert found["linux/arm64"]["why"].startswith("found by $PATH")
        assert found["linux/arm64"]["program"] == str(tmp_path / "qemu-aarch64")
        assert found["linux/amd64"]["startMilliseconds"] > 0
        assert found["linux/arm64"]["startMilliseconds"] > 0
        assert found["linux/s390x"]["image"] == "docker.io/tonistiigi/binfmt:latest"
        assert f"{dynamic} is dynamically linked" in found["linux/s390x"]["why"]
        assert listed.out.startswith("PLATFORM")
        assert f"emulated   {found['linux/arm64']['startMilliseconds']}"[:10] in listed.out
        assert "POLYARCH_QEMU_IMAGE=none" in off.out

    in_own_machine(work)


def test_a_handler_of_the_machine_is_named(tmp_path: Path) -> None:
    environ = {"POLYARCH_ROOT": str(tmp_path / "root")}

    def work() -> None:
        call("binfmt", "install", "arm64", environ=environ)
        for directory in ("/usr/libexec/qemu-binfmt", "/usr/lib/binfmt.d", "/usr/bin"):
            if os.path.isdir(directory):
                syscalls.mount("tmpfs", directory, "tmpfs")
        listed = call("binfmt", "--json", environ={**environ, "PATH": "/nowhere"})

        platforms = json.loads(listed.out)["platforms"]
        (way,) = [each for each in platforms if each["platform"] == "linux/arm64"]
        assert (way["how"], way["why"]) == (
            "handler",
            "registered for the whole machine as qemu-aarch64",
        )
        assert way["startMilliseconds"] > 0

    in_own_machine(work)


def test_versions(tmp_path: Path) -> None:
    printed = call("binfmt", "--version", environ={"POLYARCH_ROOT": str(tmp_path)})

    assert printed.out == ""
    assert printed.err.startswith("binfmt/polyarch-v")
    assert " qemu/v" in printed.err
