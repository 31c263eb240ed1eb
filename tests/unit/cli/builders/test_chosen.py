"""A builder that polyarch can't use: an error if it was named, else one line, and this machine."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from polyarch.builders.saved import SavedBuilders
from polyarch.cli.builders.chosen import working_builder
from polyarch.cli.frame.command import Context
from polyarch.errors import MachineError
from tests.support.fakes.buildx import directory_of_buildx
from tests.support.machine.commands import call


def working(environ: dict[str, str], builder: str = "", program: str = "polyarch") -> list[str]:
    """Return the builder that works for somebody, and the lines that say so."""
    streams = [io.StringIO() for _ in range(3)]
    context = Context(
        program=program,
        environ=environ,
        stdin=streams[0],
        stdout=streams[1],
        stderr=streams[2],
        builder=builder,
    )
    found = working_builder(context, SavedBuilders(environ))
    return [found.name, *streams[2].getvalue().splitlines()]


def test_the_current_one_of_another_driver_is_no_error(tmp_path: Path) -> None:
    directory_of_buildx(tmp_path)

    name, line = working({"HOME": str(tmp_path)})
    assert name == "default"
    assert line == (
        'WARNING: the current builder "theirs" has the driver cloud, which polyarch can\'t use yet: '
        'this machine does the work ("polyarch use default" settles that)'
    )


def test_nor_is_that_of_the_environment(tmp_path: Path) -> None:
    directory_of_buildx(tmp_path)
    environ = {"HOME": str(tmp_path), "BUILDX_BUILDER": "theirs"}

    name, line = working(environ, program="docker buildx")
    assert name == "default"
    assert line.startswith('WARNING: BUILDX_BUILDER\'s "theirs" has the driver cloud, ')
    assert line.endswith("(BUILDX_BUILDER=default settles that)")


def test_one_that_is_named_is(tmp_path: Path) -> None:
    directory_of_buildx(tmp_path)

    with pytest.raises(MachineError, match=r'^builder "theirs" has the driver cloud, which'):
        working({"HOME": str(tmp_path)}, builder="theirs")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("ls",), 0),
        (("ls", "--format=json"), 0),
        (("inspect",), 0),
        (("inspect", "theirs"), 0),
        (("--builder=theirs", "inspect"), 0),
        (("inspect", "--bootstrap"), 0),
        (("inspect", "--bootstrap", "theirs"), 1),
        (("use", "theirs"), 0),
    ],
)
def test_commands_that_only_look(tmp_path: Path, words: tuple[str, ...], status: int) -> None:
    directory = directory_of_buildx(tmp_path)
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    environ = {"HOME": str(tmp_path), "POLYARCH_ROOT": str(tmp_path / "store")}

    ended = call(*words, environ=environ)

    assert (ended.status, "ERROR: builder" in ended.err) == (status, bool(status)), ended.err
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


def test_what_create_writes_buildx_does_not_come_across(tmp_path: Path) -> None:
    directory = directory_of_buildx(tmp_path)
    environ = {"HOME": str(tmp_path), "BUILDX_CONFIG": str(directory)}

    call("create", "--name=ours", "--use", environ=environ)

    assert os.listdir(directory / "instances") == ["theirs"]
    assert json.loads((directory / "current").read_text())["Name"] == "theirs"
    assert working(environ) == ["ours"]


def test_a_builder_of_ours_may_have_the_name_of_one_of_theirs(tmp_path: Path) -> None:
    directory = directory_of_buildx(tmp_path)
    theirs = (directory / "instances/theirs").read_bytes()
    environ = {"HOME": str(tmp_path)}

    made = call("create", "--name=theirs", "--use", environ=environ)

    assert (made.status, made.out, working(environ)) == (0, "theirs\n", ["theirs"])
    assert call("create", "--name=theirs", "--append", environ=environ).status == 0
    assert call("rm", "theirs", environ=environ).status == 0
    assert call("rm", "theirs", environ=environ).status == 1
    assert (directory / "instances/theirs").read_bytes() == theirs


def test_as_the_plugin_it_may_not(tmp_path: Path) -> None:
    directory = directory_of_buildx(tmp_path)
    theirs = (directory / "instances/theirs").read_bytes()
    environ = {"HOME": str(tmp_path), "POLYARCH_PLUGIN": "buildx"}

    refused = call("buildx", "create", "--name=theirs", environ=environ)

    assert (refused.status, "existing instance for" in refused.err) == (1, True)
    assert (directory / "instances/theirs").read_bytes() == theirs


def test_nor_is_one_that_is_not_asked_for_such_things(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    call("create", "--driver=dask", "--name=farm", "tcp://scheduler.example:1", environ=environ)

    with pytest.raises(MachineError) as raised:
        working(environ, builder="farm")
    name, line = working({**environ, "BUILDX_BUILDER": "farm"})

    told = "has the driver dask, which polyarch can't ask for that"
    assert str(raised.value) == f'builder "farm" {told}'
    assert name == "default"
    assert line == (
        f'WARNING: BUILDX_BUILDER\'s "farm" {told}: this machine does the work (BUILDX_BUILDER=default settles that)'
    )
