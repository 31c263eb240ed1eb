"""By what builds are told apart that say why their steps ran."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.node.telling import place_of


def test_a_folder_is_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)

    assert place_of(".") == place_of("link") == str(tmp_path.resolve())


@pytest.mark.parametrize("value", ["", "-", "https://host/app.git#main"])
def test_other_places_are_what_they_are_called(value: str) -> None:
    assert place_of(value) == value


def test_an_address_loses_its_login() -> None:
    assert place_of("https://me:hidden@host/app.git") == "https://host/app.git"
