from __future__ import annotations

import json
from pathlib import Path

import pytest

from polyarch.cli.complete import Completion, Directive, complete
from polyarch.digest import sha256
from polyarch.request.explanation import Explanation, Outcome
from polyarch.store.store import Store
from polyarch.why.history import History, Project
from tests.support.machine.commands import call


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    root = tmp_path / "store"
    with Store(root) as store:
        for name in ("docker.io/library/app:v1", "registry.example/you/tool:latest"):
            store.refs.set(name, "{}")
    docker = tmp_path / "docker"
    docker.mkdir()
    config = {"auths": {"registry.example": {}}, "credHelpers": {"cloud.example": "x"}}
    (docker / "config.json").write_text(json.dumps(config))
    (docker / "buildx/instances").mkdir(parents=True)
    builder = {"Name": "mine", "Driver": "polyarch", "Nodes": [{"Name": "mine0"}]}
    (docker / "buildx/instances/mine").write_text(json.dumps(builder))
    return {"POLYARCH_ROOT": str(root), "DOCKER_CONFIG": str(docker), "HOME": str(tmp_path)}


def values(environ: dict[str, str], *words: str) -> list[str]:
    return [value for value, _ in complete(words, environ).candidates]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bu", ["build"]),
        ("imagetools ", ["create", "inspect"]),
        ("binfmt in", ["install"]),
        ("help plu", ["plugin"]),
        ("--builder mine pus", ["push"]),
        ("-D pus", ["push"]),
        ("--vers", ["--version"]),
        ("build --metadata", ["--metadata-file"]),
        ("binfmt --unin", ["--uninstall"]),
        ("--builder ", ["default", "mine"]),
        ("build --builder=m", ["--builder=mine"]),
        ("use mi", ["mine"]),
        ("use mine ", []),
        ("rm mine m", ["mine"]),
        ("build --progress=pl", ["--progress=plain"]),
        ("build --push=", ["--push=true", "--push=false"]),
        ("build --platform linux/s390x,linux/s", []),
        ("build --platform linux/amd64,linux/s", ["linux/amd64,linux/s390x"]),
        ("run --platform linux/ris", ["linux/riscv64"]),
        ("rmi ", ["app:v1", "registry.example/you/tool:latest"]),
        ("rmi -f reg", ["registry.example/you/tool:latest"]),
        ("binfmt install arm64,ris", ["arm64,riscv64"]),
        ("binfmt --install=ris", ["--install=riscv64"]),
        ("logout ", ["cloud.example", "registry.example"]),
        ("completion z", ["zsh"]),
        ("du --keep", []),
        ("prune --keep", []),  # it works, and is hidden
        ("nonsense ", []),
        ("version ", []),
    ],
)
def test_candidates(environ: dict[str, str], line: str, expected: list[str]) -> None:
    assert values(environ, *line.split(" ")) == expected


@pytest.mark.parametrize(
    ("line", "directive"),
    [
        ("build ", Directive.DIRECTORIES),
        ("build . ", Directive.NO_FILES),
        ("build --file ", Directive.NONE),
        ("build -f ", Directive.NONE),
        ("build -qf ", Directive.NONE),
        ("build --file=", Directive.NONE),
        ("build -- -", Directive.DIRECTORIES),
        ("run app ", Directive.NONE),
        ("run app --any", Directive.NONE),
        ("run --env-file ", Directive.NONE),
        ("binfmt --mount ", Directive.DIRECTORIES),
    ],
)
def test_files_and_directories(environ: dict[str, str], line: str, directive: Directive) -> None:
    assert complete(line.split(" "), environ) == Completion(directive=directive)


def test_steps_are_lines_of_the_last_build(environ: dict[str, str]) -> None:
    step = Explanation(step=sha256(b""), name="[2/3] RUN make", outcome=Outcome.RAN, line=12)
    with Store(Path(environ["POLYARCH_ROOT"])) as store:
        History(store.database).save(Project(context="/app"), [], [step])

    assert complete(["why", "1"], environ).candidates == (("12", "RUN make"),)


def test_without_a_build_there_are_no_steps(environ: dict[str, str]) -> None:
    assert values(environ, "why", "") == []


def test_commands_say_what_they_do(environ: dict[str, str]) -> None:
    printed = call("__complete", "bui", environ=environ)
    bare = call("__completeNoDesc", "bui", environ=environ)

    assert (printed.status, printed.out) == (0, "build\tStart a build\n:4\n")
    assert (bare.status, bare.out) == (0, "build\n:4\n")


def test_docker_asks_for_its_plugin(environ: dict[str, str]) -> None:
    asked = {**environ, "POLYARCH_PLUGIN": "buildx"}
    plain = call("__complete", "buildx", "bui", environ=asked)
    after = call("__complete", "--context", "x", "buildx", "use", "mi", environ=asked)

    assert (plain.out, after.out) == ("build\tStart a build\n:4\n", "mine\n:4\n")


def test_what_cannot_be_looked_up_is_no_candidate(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "store/version").write_text("99")
    (tmp_path / "docker/config.json").write_text("{")

    for words in (("rmi", ""), ("logout", "")):
        assert call("__complete", *words, environ=environ).out == ":4\n"


def test_nothing_is_made_to_look(tmp_path: Path) -> None:
    root = tmp_path / "none"
    printed = call("__complete", "rmi", "", environ={"POLYARCH_ROOT": str(root)})

    assert (printed.out, root.exists()) == (":4\n", False)


def test_scripts(environ: dict[str, str]) -> None:
    wrong = call("completion", "tcsh", environ=environ)
    plugin = call("completion", "bash", environ={**environ, "POLYARCH_PLUGIN": "buildx"})

    assert call("completion", "bash", environ=environ).out.endswith(
        "complete -F _polyarch polyarch\n"
    )
    assert (wrong.status, wrong.err.splitlines()) == (
        1,
        ["hint: use one of bash, zsh, fish", "ERROR: no completion for the shell 'tcsh'"],
    )
    assert plugin.status == 1
    assert "hint: use docker's own script: docker completion bash" in plugin.err
