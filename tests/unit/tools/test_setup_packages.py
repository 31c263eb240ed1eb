"""The script that installs Debian packages, with stand-ins for the programs that change the machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).parents[3] / "tools/setup-packages"
_DPKG_QUERY = """\
for last; do :; done
case $last in here*) printf installed ;; removed*) printf config-files ;; *) exit 1 ;; esac
"""
_RECORD = 'echo "$(basename "$0") $*" >>"$RECORD"\n'


class Machine:
    """A machine on which a few packages are `here`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.record = directory / "record"
        self.program("dpkg-query", _DPKG_QUERY)

    def program(self, name: str, script: str) -> None:
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{script}")
        path.chmod(0o755)

    def setup(self, *packages: str) -> subprocess.CompletedProcess[str]:
        environ = {
            "PATH": f"{self.directory}:/usr/bin:/bin",
            "RECORD": str(self.record),
            "POLICY_RC_D": str(self.directory / "policy-rc.d"),
        }
        return subprocess.run(
            [str(_SCRIPT), *packages],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def done(self) -> list[str]:
        return self.record.read_text().splitlines() if self.record.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_nothing_is_done_where_all_is_there(machine: Machine) -> None:
    machine.program("apt-get", _RECORD)

    ended = machine.setup("here-1", "here-2")

    assert (ended.returncode, ended.stdout, ended.stderr, machine.done()) == (0, "", "", [])


def test_without_root_the_missing_are_named_in_one_line(machine: Machine) -> None:
    machine.program("id", "echo 1000\n")
    machine.program("sudo", "exit 1\n")
    machine.program("apt-get", _RECORD)

    ended = machine.setup("runc", "here", "removed", "uidmap")

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends runc removed uidmap"
    )
    assert machine.done() == []


@pytest.mark.parametrize("uid", ["0", "1000"], ids=["root", "sudo"])
def test_what_is_missing_is_installed(machine: Machine, uid: str) -> None:
    machine.program("id", f"echo {uid}\n")
    machine.program("sudo", '[ "$1" = -n ] && exit 0\nexec "$@"\n')
    # The lists may be out of step on a mirror; that is for the installation to find out.
    told = 'echo "services: $("$POLICY_RC_D"; echo $?)" >>"$RECORD"\n'
    machine.program("apt-get", f"{_RECORD}{told}case $* in *update*) exit 100 ;; esac\n")

    ended = machine.setup("runc", "here")

    assert ended.returncode == 0, ended.stderr
    assert machine.done() == [
        "apt-get -qq update",
        "services: 101",
        "apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends runc",
        "services: 101",
    ]
    assert not (machine.directory / "policy-rc.d").exists()
