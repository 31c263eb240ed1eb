"""Bake files as values: read, changed, written, and read again."""

from __future__ import annotations

import json
import unicodedata
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polyarch.bakefile.value import BakeFile
from polyarch.errors import InputError, MachineError

HCL = """
variable "TAG" { default = "latest" }
variable "HOME" { default = "" }
group "default" { targets = ["app", "tests"] }
target "_base" {
  args = { KIND = upper("x"), "dotted.name" = HOME }
  labels = { said = "quote \\" and $${it}" }
}
target "app" {
  inherits = ["_base"]
  tags = ["x:${TAG}"]
  output = ["type=oci,dest=x.tar"]
}
target "tests" {
  contexts = { app = "target:app" }
  dockerfile-inline = "FROM app\\nRUN a $${B}\\n"
}
"""


@pytest.fixture
def file() -> BakeFile:
    return BakeFile.loads(HCL, variables={"TAG": "v2"}, environ={"HOME": "/h"})


def test_what_is_read_has_its_values(file: BakeFile) -> None:
    assert list(file.targets) == ["_base", "app", "tests"]
    assert file.targets["app"].tags == ("x:v2",)
    assert file.targets["_base"].args == {"KIND": "X", "dotted.name": "/h"}
    assert file.groups["default"].targets == ("app", "tests")


def test_nothing_is_taken_from_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAG", "mine")

    assert BakeFile.loads(HCL).targets["app"].tags == ("x:latest",)


@pytest.mark.parametrize("name", ["docker-bake.hcl", "docker-bake.json"])
def test_what_is_written_is_read_as_the_same(file: BakeFile, tmp_path: Path, name: str) -> None:
    file.write(tmp_path / name)

    assert BakeFile.load(tmp_path / name) == file


def test_services_of_compose_become_targets() -> None:
    text = "services:\n  web: {image: w, build: {context: ., args: {A: '$${x}'}}}\n"
    file = BakeFile.loads(text, "compose.yaml")

    assert file.targets["web"].args == {"A": "${x}"}
    assert BakeFile.loads(file.to_hcl()).plain() == file.plain()


def test_a_changed_file_is_another_value(file: BakeFile) -> None:
    changed = file.change(
        "app", tags=["a:${b}", "c"], no_cache=True, cache_from=[{"type": "registry", "ref": "r"}]
    ).change("new", context="dir", args={"A": "%{b}"})

    assert file.targets["app"].tags == ("x:v2",)
    assert changed.targets["app"].tags == ("a:${b}", "c")
    assert changed.targets["app"].inherits == ("_base",)
    assert changed.targets["new"].args == {"A": "%{b}"}
    assert BakeFile.loads(changed.to_hcl()) == changed
    assert changed.change("app", no_cache=None).targets["app"].no_cache is None


def test_groups_are_changed_and_targets_go(file: BakeFile) -> None:
    changed = file.group("all", ["app", "default"]).without("tests")

    assert changed.groups["default"].targets == ("app",)
    assert changed.groups["all"].targets == ("app", "default")
    assert list(changed.targets) == ["_base", "app"]


def test_a_plan_has_what_is_inherited_and_linked(file: BakeFile) -> None:
    plan = file.plan("tests", overrides=["*.platform=linux/arm64"])

    assert list(plan.targets) == ["tests", "app"]
    assert plan.targets["app"].args == {"KIND": "X", "dotted.name": "/h"}
    assert plan.targets["tests"].platforms == ("linux/arm64",)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"no_cach": True}, r"a target has no attribute no-cach \(did you mean no-cache\?\)"),
        ({"platforms": {"a": "b"}}, "list of string required"),
        ({"shm_size": ["x"]}, "string required, but have tuple"),
    ],
)
def test_what_a_bake_file_cannot_say(
    file: BakeFile, attributes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        file.change("app", **attributes)


def test_what_is_not_there_is_named(file: BakeFile, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no target or group ap \(did you mean app\?\)"):
        file.without("ap")
    with pytest.raises(InputError, match=r"a bake file can't be called x\.txt"):
        file.write("x.txt")
    with pytest.raises(MachineError, match=r"can't write .*/none/x\.json: No such file"):
        file.write(tmp_path / "none/x.json")


# HCL's texts are in Unicode's form C, as buildx has them.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12).map(
    partial(unicodedata.normalize, "NFC")
)


@settings(max_examples=40, deadline=None)
@example(args={}, text="a backslash: \\f, and none: \f")
@given(args=st.dictionaries(TEXT.filter(bool), TEXT, max_size=3), text=TEXT)
def test_any_text_is_written_such_that_it_is_read(args: dict[str, str], text: str) -> None:
    file = BakeFile().change("a", args=args, dockerfile_inline=text or "x", tags=["x:y"])

    assert file.targets["a"].args == args
    assert BakeFile.loads(file.to_json(), "a.json").plain() == file.plain()
    assert BakeFile.loads(file.to_hcl()).plain() == file.plain()
    assert json.loads(file.to_json())["target"]["a"]["tags"] == ["x:y"]
