"""Questions about a Dockerfile, its checks, and the warnings of builds, as people see them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

PLATFORMS = "linux/amd64,linux/arm64"


@pytest.fixture
def app(root: Person, registry: RealRegistry) -> Person:
    """Someone with a Dockerfile that has something of everything."""
    root.write(
        "Dockerfile",
        f"# BASE is all that there is below\n"
        f"ARG BASE={registry.host}/library/busybox\n"
        "# tools has what is needed\n"
        "FROM $BASE AS tools\n"
        "# VERSION of the tools\n"
        "ARG VERSION=1\n"
        "RUN --mount=type=secret,id=token,required --mount=type=ssh fetch\n"
        "FROM scratch\n"
        "ARG UNSET\n"
        "COPY --from=tools / /\n",
    )
    return root


OUTLINE = """\
BUILD ARG   VALUE{blanks}   DESCRIPTION
BASE        {base}   is all that there is below
VERSION     {version}{more}   of the tools
UNSET       {none}{end}

SECRET   REQUIRED
token    true

SSH       REQUIRED
default{end}

"""


def outline(registry: RealRegistry, version: str) -> str:
    base = f"{registry.host}/library/busybox"
    width = len(base)
    return OUTLINE.format(
        base=base,
        blanks=" " * (width - len("VALUE")),
        version=version,
        more=" " * (width - len(version)),
        none=" " * width,
        end=" " * 3,
    )


def test_an_outline(app: Person, registry: RealRegistry) -> None:
    ended = app.run("build", "--call=outline", ".").check()

    assert ended.out == outline(registry, "1")
    assert "RUN" not in ended.err
    assert "No output specified" not in ended.err


@pytest.mark.parametrize(
    "words", [("--print=outline",), ("--call=outline", f"--platform={PLATFORMS}")]
)
def test_an_outline_by_its_old_name_and_of_several_platforms(
    app: Person, registry: RealRegistry, words: tuple[str, ...]
) -> None:
    ended = app.run("build", *words, "--build-arg=VERSION=2", ".").check()

    assert ended.out == outline(registry, "2")


def test_an_outline_of_a_target_as_json(app: Person) -> None:
    words = ("--call=outline,format=json", "--target=tools", "--build-arg=VERSION=2")
    found = json.loads(app.run("build", *words, ".").check().out)

    assert (found["name"], found["description"]) == ("tools", "has what is needed")
    assert [(each["name"], each.get("value")) for each in found["args"]][1:] == [("VERSION", "2")]
    source = (app.work / "Dockerfile").read_bytes()
    assert [base64.b64decode(each) for each in found["sources"]] == [source]


def test_an_outline_of_what_cant_be_built(root: Person) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY --from=9 / /\n")

    ended = root.run("build", "--call=outline", ".")

    assert (ended.status, ended.out) == (1, "")
    assert ended.complaint() == (
        "Dockerfile:2\n--------------------\n   1 |     FROM scratch\n"
        "   2 | >>> COPY --from=9 / /\n   3 |     \n--------------------\n"
        "ERROR: failed to build: failed to solve: invalid stage index 9\n"
        "hint: the stages are numbered from 0 to 0\n"
    )


def test_targets_need_nobody(root: Person) -> None:
    text = b"# one is first\nFROM no.such.host/a AS one\nFROM $NOTHING AS two\n"

    ended = root.run("build", "--call=targets", "-", stdin=text).check()

    assert ended.out == "TARGET        DESCRIPTION\none           is first\ntwo (default) \n"


def test_targets_as_json(root: Person) -> None:
    root.write("Dockerfile", "FROM --platform=$BUILDPLATFORM scratch AS one\n")

    found = json.loads(root.run("build", "--call=targets,format=json", ".").check().out)

    (target,) = found["targets"]
    assert (target["name"], target["default"], target["platform"]) == (
        "one",
        True,
        "$BUILDPLATFORM",
    )


def test_the_questions_that_there_are(root: Person) -> None:
    words = ("build", "--call=subrequests.describe,format=json", ".")
    names = [each["name"] for each in json.loads(root.run(*words).check().out)]

    assert names == ["frontend.outline", "frontend.targets", "frontend.subrequests.describe"]


def test_an_unknown_question(root: Person) -> None:
    ended = root.run("build", "--call=outlien", ".")

    assert (ended.status, ended.out) == (1, "")
    assert ended.complaint() == (
        "ERROR: failed to build: failed to solve: unsupported request frontend.outlien "
        "(did you mean outline?)\nhint: ask for check, outline, targets or subrequests.describe\n"
    )


def test_an_answer_in_the_metadata_file(root: Person) -> None:
    root.write("Dockerfile", "FROM scratch AS one\n")
    words = ("--call=targets", "--metadata-file=found.json")

    ended = root.run("build", *words, ".").check()

    found = json.loads((root.work / "found.json").read_text())
    assert found["result.txt"] == ended.out
    assert found["result.json"]["targets"][0]["name"] == "one"
    assert found["version"] == "1.0.0"


# --- checks ---

WARNED = "FROM scratch AS one\nCOPY Dockerfile /$NOWHERE\nCMD one\n"
TWO = [
    "UndefinedVar: Usage of undefined variable '$NOWHERE' (line 2)",
    (
        "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior "
        "related to OS signals (line 3)"
    ),
]


@pytest.mark.parametrize(
    ("text", "call", "status", "start"),
    [
        ("FROM scratch\n", "--check", 0, "Check complete, no warnings found.\n"),
        (WARNED, "--check", 1, "Check complete, 2 warnings have been found!\n\nWARNING: Und"),
        (WARNED, "--call=check,ignorestatus=true", 0, "Check complete, 2 warnings"),
        (WARNED, "--call=lint,format=json", 1, '{\n  "warnings": [\n'),
        (WARNED, "--call=check,format=json,ignorestatus=1", 0, '{\n  "warnings": [\n'),
        ("FROM scratch AS A\nFOO\n", "--check", 1, "Check complete, 1 warning has been found!"),
        ("FOO\n", "--call=check,ignorestatus=true", 1, ""),
        ("FOO\n", "--call=check,format=json", 1, '{\n  "warnings": null'),
        ("# check=error=true\nFROM scratch AS A\n", "--check", 1, "Check complete, 1 warning"),
    ],
)
def test_how_checks_end(root: Person, text: str, call: str, status: int, start: str) -> None:
    root.write("Dockerfile", text)

    ended = root.run("build", call, ".")

    assert (ended.status, ended.out[: len(start)]) == (status, start)


def test_an_error_comes_after_the_findings(root: Person) -> None:
    root.write("Dockerfile", "FROM scratch as one\nFOO\n")

    ended = root.run("build", "--check", ".")

    assert ended.out.endswith("   3 |     \n--------------------\n\n")
    assert ended.complaint() == (
        "Dockerfile:2\n--------------------\n   1 |     FROM scratch as one\n"
        "   2 | >>> FOO\n   3 |     \n--------------------\n"
        "ERROR: dockerfile parse error on line 2: unknown instruction: FOO (did you mean FROM?)\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip",),
            (
                "failed to solve: failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK: "
                'invalid check option "skip"'
            ),
        ),
        (
            ("--build-context=x=/no/such",),
            "failed to get build context x: stat /no/such: no such file or directory",
        ),
        (("-f", "none"), "failed to solve: failed to read dockerfile: open none: no such file"),
    ],
)
def test_what_is_no_fault_of_the_dockerfile_fails_a_check(
    root: Person, words: tuple[str, ...], said: str
) -> None:
    root.write("Dockerfile", "FROM scratch\n")

    ended = root.run("build", "--call=check,format=json", *words, ".")

    assert (ended.status, ended.out) == (1, "")
    assert ended.complaint().startswith(f"ERROR: failed to build: {said}")


def test_a_check_looks_at_the_ignore_file(root: Person) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY . /\nADD ./secret/key /\nCOPY other /\n")
    root.write(".dockerignore", "secret\n")

    found = json.loads(root.run("build", "--call=check,format=json", ".").out)

    assert [each["detail"] for each in found["warnings"]] == [
        'Attempting to Add file "secret/key" that is excluded by .dockerignore'
    ]


# --- warnings of builds ---


def raw_warnings(err: str) -> list[dict[str, Any]]:
    """Return the warnings among lines of raw JSON."""
    lines = (json.loads(line) for line in err.splitlines() if line.startswith("{"))
    return [each for line in lines for each in line.get("warnings", [])]


def test_warnings_are_listed_at_the_end_once_for_all_platforms(root: Person) -> None:
    root.write("Dockerfile", WARNED)

    ended = root.run("build", f"--platform={PLATFORMS}", "-t", "app", ".").check()

    listed = "".join(f" - {each}\n" for each in TWO)
    assert ended.err.endswith(f"\n 2 warnings found (use --debug to expand):\n{listed}")
    assert all(f"#1 WARN: {each}\n" in ended.err for each in TWO)


def test_debug_shows_what_a_warning_is_about_and_where(root: Person) -> None:
    root.write("Dockerfile", "FROM scratch as one\nCOPY Dockerfile /\n")

    ended = root.run("--debug", "build", "-t", "app", ".").check()

    assert ended.err.endswith(
        "\n 1 warning found:\n"
        " - FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)\n"
        "The 'as' keyword should match the case of the 'from' keyword\n"
        "More info: https://docs.docker.com/go/dockerfile/rule/from-as-casing/\n"
        "Dockerfile:1\n--------------------\n   1 | >>> FROM scratch as one\n"
        "   2 |     COPY Dockerfile /\n   3 |     \n--------------------\n\n"
    )


@pytest.mark.parametrize("mode", ["quiet", "none"])
def test_those_who_want_quiet_get_no_warnings(root: Person, mode: str) -> None:
    root.write("Dockerfile", WARNED)

    assert root.run("build", f"--progress={mode}", "-t", "app", ".").check().err == ""


def test_programs_get_warnings_with_their_source(root: Person) -> None:
    root.write("Dockerfile", WARNED)

    ended = root.run("build", "--progress=rawjson", "-t", "app", ".").check()

    found = raw_warnings(ended.err)
    assert [base64.b64decode(each["short"]).decode() for each in found] == TWO
    assert [each["range"][0]["start"]["line"] for each in found] == [2, 3]
    assert {base64.b64decode(each["sourceInfo"]["data"]).decode() for each in found} == {WARNED}
    assert "warnings found" not in ended.err


def test_the_metadata_file_holds_warnings_on_demand(root: Person) -> None:
    root.write("Dockerfile", WARNED)
    words = ("build", "--metadata-file=found.json", "-t", "app", ".")

    root.run(*words).check()
    assert "buildx.build.warnings" not in json.loads((root.work / "found.json").read_text())
    root.environ["BUILDX_METADATA_WARNINGS"] = "1"
    root.run(*words).check()

    found = json.loads((root.work / "found.json").read_text())["buildx.build.warnings"]
    assert [base64.b64decode(each["short"]).decode() for each in found] == TWO
    assert {each["sourceInfo"]["filename"] for each in found} == {"Dockerfile"}


def test_a_build_that_fails_has_warned(root: Person) -> None:
    root.write("Dockerfile", "FROM scratch as one\nFOO\n")

    ended = root.run("build", ".")

    assert ended.status == 1
    assert " 1 warning found (use --debug to expand):\n - FromAsCasing: " in ended.err
    assert ended.err.index("1 warning found") < ended.err.index("ERROR: failed to build")


def test_findings_can_fail_a_build(root: Person) -> None:
    root.write("Dockerfile", f"# check=error=true\n{WARNED}")

    ended = root.run("build", "-t", "app", ".")

    assert ended.status == 1
    assert " 2 warnings found " in ended.err
    assert "lint violation found for rules: JSONArgsRecommended, UndefinedVar\n" in ended.err
    allowed = root.run("build", "--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=all", "-t", "app", ".")
    assert (allowed.status, "warning" in allowed.err) == (0, False)


def test_an_instruction_can_be_excused(root: Person) -> None:
    excused = WARNED.replace("COPY", "# check=skip=UndefinedVar\nCOPY")
    root.write("Dockerfile", excused.replace("CMD", "# check=skip=JSONArgsRecommended\nCMD"))

    assert "WARN" not in root.run("build", "-t", "app", ".").check().err
