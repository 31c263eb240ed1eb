"""Bakes of programs: one graph, results by target, errors that name theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

import polyarch

pytestmark = [pytest.mark.runtime, pytest.mark.root]

FILE = """
target "base" { dockerfile-inline = "FROM scratch\\nCOPY a /\\nENV KIND=base\\n" }
target "app" {
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM base\\nCOPY b /\\n"
  tags = ["app"]
}
target "bad" { dockerfile-inline = "FROM scratch\\nCOPY nosuch /\\n" }
"""


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[polyarch.Builder]:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / name).write_text(name)
    with polyarch.Builder(root=tmp_path / "store") as builder:
        yield builder


def test_a_bake_of_a_program(builder: polyarch.Builder) -> None:
    file = polyarch.BakeFile.loads(FILE).change("app", output=["out", "type=image"])
    events: list[polyarch.Event] = []

    result = polyarch.bake(file, ["app"], sink=events.append, builder=builder)

    assert list(result.results) == ["base", "app"]
    assert sorted(each.name for each in Path("out").iterdir()) == ["a", "b"]
    assert result["app"].names == ("docker.io/library/app:latest",)
    assert result["app"].steps
    names = [each.name for each in events if isinstance(each, polyarch.StepEvent)]
    assert "[base 1/1] COPY a /" in names

    again = asyncio.run(polyarch.bake_async(file, "app", builder=builder))
    assert again["app"].digest == result["app"].digest
    assert again["app"].ran == 0


def test_errors_of_a_bake(builder: polyarch.Builder) -> None:
    file = polyarch.BakeFile.loads(FILE)

    with pytest.raises(polyarch.errors.PolyarchError, match='target bad: "/nosuch": not found'):
        polyarch.bake(file, ["app", "bad"], builder=builder)

    result = polyarch.bake(file, ["app", "bad"], keep_going=True, builder=builder)
    assert list(result.errors) == ["bad"]
    assert result["app"].descriptor is not None
    with pytest.raises(polyarch.errors.NotFound, match="nosuch"):
        result["bad"]


def test_a_bake_file_may_not_ask_for_more_than_it_is_allowed(builder: polyarch.Builder) -> None:
    file = polyarch.BakeFile.loads(FILE).change("app", context="/etc")

    with pytest.raises(polyarch.errors.InputError, match="asks for more than it may"):
        polyarch.bake(file, "app", builder=builder)
