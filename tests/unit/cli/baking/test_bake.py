"""`bake` as far as it needs no engine: what it prints, lists and refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.support.machine.commands import call

FILE = """
variable "TAG" {
  default = "latest"
  description = "what it is called"
}
group "default" { targets = ["app", "_base"] }
target "app" {
  description = "the app"
  tags = ["x:${TAG}"]
  args = { PATH = BAKE_CMD_CONTEXT }
}
target "_base" {}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "docker-bake.hcl").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_prints_the_plan() -> None:
    printed = call("bake", "--print", "--var", "TAG=v", "--push", "app", environ={"TAG": "env"})

    assert json.loads(printed.out) == {
        "group": {"default": {"targets": ["app"]}},
        "target": {
            "app": {
                "description": "the app",
                "context": ".",
                "dockerfile": "Dockerfile",
                "args": {"PATH": "cwd://"},
                "tags": ["x:v"],
                "output": [{"push": "true", "type": "image"}],
            }
        },
    }


def test_later_files_win(here: Path) -> None:
    (here / "docker-bake.override.hcl").write_text('target "app" { tags = ["over"] }')

    printed = call("bake", "--print", environ={})

    assert json.loads(printed.out)["target"]["app"]["tags"] == ["over"]


def test_it_lists_targets_and_variables() -> None:
    assert call("bake", "--list=targets", environ={}).out == (
        "TARGET\tDESCRIPTION\napp\tthe app\ndefault\t_base, app\n"
    )
    assert json.loads(call("bake", "--list=type=variables,format=json", environ={}).out) == [
        {"name": "TAG", "description": "what it is called", "value": "latest"}
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--print", "nosuch"), "failed to find target nosuch"),
        (("--print", "-f", "nosuch.hcl"), "open nosuch.hcl: no such file or directory"),
        (("--print", "--list=targets"), "--print and --list are mutually exclusive"),
        (("--list=x",), 'invalid list type "x"'),
        (("--print", "--var", "x"), 'invalid variable "x", expected key=value'),
        (("--print", "--progress=x"), "invalid progress mode x"),
        (("--set", "app.context=/etc", "app"), "additional privileges requested"),
    ],
)
def test_it_says_what_is_wrong(words: tuple[str, ...], message: str) -> None:
    printed = call("bake", *words, environ={})

    assert printed.status == 1
    assert f"ERROR: {message}" in printed.err


def without_times(shown: str) -> str:
    return re.sub(r"DONE [0-9.]+s", "DONE", shown)


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (("-f", "docker-bake.hcl"), [f"reading docker-bake.hcl {len(FILE)}B / {len(FILE)}B done"]),
        (("-f", "empty", "-f", "docker-bake.hcl"), ["reading empty done", f"reading docker-bake.hcl {len(FILE)}B / {len(FILE)}B done"]),
        (("-f", "docker-bake.hcl", "-f", "gone"), [f"reading docker-bake.hcl {len(FILE)}B / {len(FILE)}B done", "reading gone done"]),
        (("--progress=quiet",), None),
    ],
)  # fmt: skip
def test_files_that_are_read_are_shown_as_buildx_does(
    words: tuple[str, ...], lines: list[str] | None, here: Path
) -> None:
    (here / "empty").write_text("")

    shown = without_times(call("bake", "--print", *words, environ={}).err)

    whole = ["[internal] load local bake definitions", *(lines or []), "DONE"] if lines else []
    assert [line for line in shown.splitlines() if line.startswith("#")] == [
        f"#1 {each}" for each in whole
    ]


def test_files_of_the_environment_are_shown_as_such() -> None:
    shown = call("bake", "--print", environ={"BUILDX_BAKE_FILE": "docker-bake.hcl"}).err

    assert shown.startswith("#1 [internal] load local bake definitions from BUILDX_BAKE_FILE env\n")


def test_what_is_not_allowed_is_told_as_buildx_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["buildx", "bake", "app"])
    changes = ("--set=app.context=/usr", "--set=app.entitlements=network.host")

    printed = call("bake", *changes, "app", environ={})

    assert without_times(printed.err) == (
        "#1 [internal] load local bake definitions\n"
        f"#1 reading docker-bake.hcl {len(FILE)}B / {len(FILE)}B done\n"
        "#1 DONE\n"
        "Your build is requesting privileges for following possibly insecure capabilities:\n\n"
        " - Read access to path /usr\n\n"
        'Pass "--allow=fs.read=/usr" to grant requested privileges.\n'
        "\nYour full command with requested privileges:\n\n"
        "buildx bake --allow=fs.read=/usr app\n\n"
        "To disable filesystem entitlements checks, you can set BUILDX_BAKE_ENTITLEMENTS_FS=0 .\n\n"
        "hint: if you trust the file: --allow=fs.read=/usr\n"
        "ERROR: additional privileges requested\n"
    )


def test_faults_are_shown_with_their_lines(here: Path) -> None:
    (here / "docker-bake.hcl").write_text(
        'target "default" {\n  tags = [TGA]\n}\nvariable "TAG" {}\n'
    )

    printed = call("bake", "--print", environ={})

    assert "docker-bake.hcl:2\n--------------------" in printed.err
    assert ">>>   tags = [TGA]" in printed.err
    assert 'There is no variable named "TGA". Did you mean "TAG"?' in printed.err


LINKED = """
group "default" { targets = ["app", "lib"] }
target "base" { platforms = ["linux/amd64", "linux/arm64"] }
target "lib" { contexts = { base = "target:base" } }
target "app" { contexts = { base = "target:base", lib = "target:lib" } }
"""


def test_targets_are_jobs_of_a_ci(here: Path) -> None:
    (here / "docker-bake.hcl").write_text(LINKED)

    printed = call("bake", "--matrix=github", environ={})
    jobs = json.loads(printed.out)["include"]
    assert printed.out.count("\n") == 1
    assert [(each["target"], each["level"], each["needs"]) for each in jobs] == [
        ("base", 0, []),
        ("lib", 1, ["base"]),
        ("app", 2, ["base", "lib"]),
    ]
    assert jobs[0]["platforms"] == "linux/amd64,linux/arm64"

    pipeline = yaml.safe_load(call("bake", "--matrix", "gitlab", environ={}).out)
    assert pipeline["stages"] == ["bake-0", "bake-1", "bake-2"]
    assert pipeline["app"] == {
        "extends": ".bake",
        "stage": "bake-2",
        "needs": ["base", "lib"],
        "variables": {"TARGET": "app", "PLATFORMS": ""},
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--matrix=jenkins",), "--matrix can't be jenkins"),
        (("--matrix=github", "--shard=linux/amd64"), "--matrix and --shard are mutually exclusive"),
        (("-o", "out"), "--output is for the parts of --shard"),
    ],
)
def test_it_says_what_does_not_go_together(words: tuple[str, ...], message: str) -> None:
    assert f"ERROR: {message}" in call("bake", *words, environ={}).err
