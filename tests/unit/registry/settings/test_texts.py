"""Files of settings that aren't there, or aren't for everybody's eyes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.registry.settings.texts import find_text

_NOBODY = 65534


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory that somebody else may search; the ones above are for root only."""
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)


@pytest.mark.root
def test_what_root_keeps_to_itself_counts_for_nobody_else() -> None:
    settings = Path("daemon.json")
    settings.write_text("{}")
    settings.chmod(0o600)

    os.seteuid(_NOBODY)
    try:
        found = find_text(settings)
    finally:
        os.seteuid(0)

    assert found == ""


@pytest.mark.root
def test_a_file_of_ones_own_that_cannot_be_read_is_an_error() -> None:
    settings = Path("registries.toml")
    settings.write_text("")
    settings.chmod(0)
    os.chown(settings, _NOBODY, _NOBODY)

    os.seteuid(_NOBODY)
    try:
        with pytest.raises(InputError, match=r"can't read .*registries\.toml: .*denied"):
            find_text(settings)
    finally:
        os.seteuid(0)
