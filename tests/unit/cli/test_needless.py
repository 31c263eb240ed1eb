"""Commands of docker buildx that have no use: known by name, in two lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.cli.complete import Completion, complete
from polyarch.cli.needless import NEEDLESS
from tests.support.fakes.buildx import directory_of_buildx
from tests.support.machine.commands import call

EACH = pytest.mark.parametrize("name", NEEDLESS)


@EACH
@pytest.mark.parametrize("more", [(), ("--help",), ("-f", "docker-bake.hcl", "--print"), ("ls",)])
def test_they_are_known_with_whatever_follows(name: str, more: tuple[str, ...]) -> None:
    printed = call(name, *more, environ={})

    assert (printed.status, printed.out) == (1, "")
    assert sorted(line.partition(":")[0] for line in printed.err.splitlines()) == ["ERROR", "hint"]
    assert f"ERROR: {name} isn't there" in printed.err
    assert "{" not in printed.err


@EACH
def test_neither_help_nor_completion_lists_them(name: str) -> None:
    found = complete([""], {})

    assert isinstance(found, Completion)
    assert name not in {value for value, _ in found.candidates}
    assert f"\n  {name} " not in call("--help", environ={}).out


def test_the_names_are_those_of_buildx() -> None:
    assert set(NEEDLESS) == {"install", "uninstall"}


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("stop",), 0, "WARNING: the current builder "),
        (("stop", "default"), 0, ""),
        (("stop", "theirs"), 1, 'ERROR: builder "theirs" has the driver cloud, '),
        (("stop", "nobody"), 1, 'ERROR: no builder "nobody" found'),
    ],
)
def test_nothing_has_to_be_stopped(
    tmp_path: Path, words: tuple[str, ...], status: int, message: str
) -> None:
    directory_of_buildx(tmp_path)

    printed = call(*words, environ={"HOME": str(tmp_path)})

    assert (printed.status, printed.out) == (status, "")
    assert message in printed.err


def test_the_habit_of_writing_buildx_is_forgiven(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "POLYARCH_ROOT": str(tmp_path / "store")}

    assert call("buildx", "version", environ=environ) == call("version", environ=environ)
    assert "unknown command" in call("buildx", environ=environ).err
