from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from polyarch.paths import (
    buildx_directory,
    config_directory,
    docker_config_directory,
    in_engine,
    is_machine_root,
    replacing,
    state_directory,
    user_id,
)
from tests.support.machine.namespaces import in_mount_namespace, in_user_namespace

Directory = Callable[[Mapping[str, str]], Path]


@pytest.mark.parametrize(
    ("directory", "environ", "expected"),
    [
        (state_directory, {"POLYARCH_ROOT": "/r", "XDG_DATA_HOME": "/x"}, "/r"),
        (config_directory, {"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/x/polyarch"),
        (config_directory, {"HOME": "/h"}, "/h/.config/polyarch"),
        (config_directory, {"XDG_CONFIG_HOME": "", "HOME": "/h"}, "/h/.config/polyarch"),
        (docker_config_directory, {"DOCKER_CONFIG": "/d", "HOME": "/h"}, "/d"),
        (docker_config_directory, {"HOME": "/h"}, "/h/.docker"),
        (buildx_directory, {"BUILDX_CONFIG": "/b", "DOCKER_CONFIG": "/d"}, "/b"),
        (buildx_directory, {"DOCKER_CONFIG": "/d"}, "/d/buildx"),
        (buildx_directory, {"HOME": "/h"}, "/h/.docker/buildx"),
    ],
)
def test_directories(directory: Directory, environ: dict[str, str], expected: str) -> None:
    assert directory(environ) == Path(expected)


def test_a_relative_root_is_below_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert state_directory({"POLYARCH_ROOT": "store"}) == tmp_path / "store"


def test_the_state_of_root() -> None:
    def check() -> None:
        environ = {"HOME": "/h", "XDG_DATA_HOME": "/x"}
        assert state_directory(environ) == Path("/var/lib/polyarch")

    in_user_namespace(check)


@pytest.mark.root
def test_the_state_of_others() -> None:
    def check() -> None:
        os.setuid(65534)
        assert state_directory({"HOME": "/h"}) == Path("/h/.local/share/polyarch")
        assert state_directory({"HOME": "/h", "XDG_DATA_HOME": "/x"}) == Path("/x/polyarch")

    in_mount_namespace(check)


def test_without_a_home_the_account_says_where() -> None:
    assert config_directory({}) == Path("~/.config/polyarch").expanduser()


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    with replacing(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"

    assert path.read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_file_stays_where_its_replacement_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as aside:
            aside.write_text("half")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()

    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_who_the_user_is_in_the_engine_as_well() -> None:
    outside = {"HOME": "/h", "POLYARCH_ROOT": "/r"}

    inside = in_engine(outside)
    nested = in_engine({**inside, "POLYARCH_USER": "1000"})

    assert inside == {**outside, "POLYARCH_USER": str(os.geteuid())}
    assert (user_id(inside), is_machine_root(inside)) == (os.geteuid(), os.geteuid() == 0)
    assert (user_id(nested), is_machine_root(nested)) == (1000, False)
