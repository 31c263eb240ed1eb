from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from polyarch.doctor.check import Grade
from polyarch.doctor.machine import credentials, disk, emulators, kernel, subordinate_ids


def test_kernel() -> None:
    found = kernel()

    assert (found.name, os.uname().release in found.text) == ("kernel", True)


def test_nobody_has_subordinate_ids() -> None:
    found = subordinate_ids(names=("4242424242", "no-such-user"))

    assert found.grade is Grade.WARN
    assert found.fix.endswith(" no-such-user")


@pytest.mark.parametrize(
    ("config", "grade", "text"),
    [
        (None, Grade.OK, "none: there is no "),
        ({"auths": {"a": {}, "b": {}}}, Grade.OK, "2 registries signed in to"),
        ({"credsStore": "there"}, Grade.OK, "0 registries signed in to"),
        ({"credHelpers": {"x": "away"}}, Grade.WARN, "names the program docker-credential-away"),
        ("{", Grade.WARN, "can't be used"),
        ([], Grade.WARN, "can't be used"),
    ],
)
def test_credentials(config: object, grade: Grade, text: str, tmp_path: Path) -> None:
    helper = tmp_path / "docker-credential-there"
    helper.touch(mode=0o755)
    if config is not None:
        written = config if isinstance(config, str) else json.dumps(config)
        (tmp_path / "config.json").write_text(written)
    found = credentials({"DOCKER_CONFIG": str(tmp_path), "PATH": str(tmp_path)})

    assert (found.grade, text in found.text, bool(found.fix)) == (grade, True, grade is Grade.WARN)


def test_disk(tmp_path: Path) -> None:
    found = disk(tmp_path / "not/yet")

    assert found.text.endswith(f"free at {tmp_path}/not/yet")
    assert not (tmp_path / "not").exists()


def test_architectures_without_an_emulator(tmp_path: Path) -> None:
    found = list(emulators(tmp_path, {"PATH": "/nowhere"}))

    natively = [check.name for check in found if check.text == "runs natively"]
    assert f"linux/{'amd64' if os.uname().machine == 'x86_64' else 'arm64'}" in natively
    for check in found:
        assert (check.grade is Grade.WARN) == bool(check.fix) == check.text.startswith("no static")
