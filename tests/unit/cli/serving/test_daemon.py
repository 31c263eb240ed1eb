"""What is set of the server as of BuildKit's daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.cli.frame.flags import parse_flags
from polyarch.cli.serving.daemon import DAEMON_FLAGS, read_daemon
from polyarch.errors import InputError

CONFIG = """\
insecure-entitlements = ["network.host"]
[cdi]
specDirs = ["/specs", "/more"]
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}


def configured(environ: dict[str, str], text: str = CONFIG) -> dict[str, str]:
    directory = Path(environ["XDG_CONFIG_HOME"], "buildkit")
    directory.mkdir(parents=True)
    (directory / "buildkitd.toml").write_text(text)
    return environ


def test_nothing_said_allows_all(environ: dict[str, str]) -> None:
    found = read_daemon(parse_flags(DAEMON_FLAGS, ()), environ)

    assert found.allowed is None
    assert found.environ == {}


def test_the_file_of_the_user(environ: dict[str, str]) -> None:
    found = read_daemon(parse_flags(DAEMON_FLAGS, ()), configured(environ))

    assert found.allowed == frozenset({"network.host"})
    assert found.environ == {"POLYARCH_CDI_DIRS": "/specs:/more"}


def test_flags_stand_above_the_file(environ: dict[str, str]) -> None:
    words = ("--allow-insecure-entitlement=device", "--cdi-spec-dir=/own")

    found = read_daemon(parse_flags(DAEMON_FLAGS, words), configured(environ))

    assert found.allowed == frozenset({"device"})
    assert found.environ == {"POLYARCH_CDI_DIRS": "/own"}


def test_an_empty_list_allows_nothing(environ: dict[str, str]) -> None:
    configured(environ, "insecure-entitlements = []\n[cdi]\ndisabled = true\n")

    found = read_daemon(parse_flags(DAEMON_FLAGS, ()), environ)

    assert found.allowed == frozenset()
    assert found.environ == {"POLYARCH_CDI_DIRS": ""}


@pytest.mark.parametrize(
    "text", ["insecure-entitlements = 1", 'insecure-entitlements = ["x"]', "["]
)
def test_what_cannot_be_read(environ: dict[str, str], text: str) -> None:
    with pytest.raises(InputError):
        read_daemon(parse_flags(DAEMON_FLAGS, ()), configured(environ, text))
