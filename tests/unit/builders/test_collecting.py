"""Whose settings say how much of a disk a store may fill."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.builders import collecting
from polyarch.builders.collecting import CONFIG_NAME, user_settings


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    machine = tmp_path / "etc"
    machine.mkdir()
    (machine / CONFIG_NAME).write_text("# the machine's")
    monkeypatch.setattr(collecting, "_SYSTEM", machine)
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_those_of_the_machine_are_for_its_root(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for is_root in (True, False):
        monkeypatch.setattr(collecting, "is_machine_root", lambda _environ, it=is_root: it)
        found.append(user_settings(environ))

    assert found == ["# the machine's", ""]


def test_ones_own_come_first(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "buildkit").mkdir()
    (tmp_path / "buildkit" / CONFIG_NAME).write_text("# one's own")

    assert user_settings(environ) == "# one's own"
