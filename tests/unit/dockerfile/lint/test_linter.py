"""Checks: which places of a Dockerfile break which rules."""

from collections.abc import Mapping

import pytest

from polyarch.dockerfile.lint.linter import Linter
from polyarch.dockerfile.lowering.lower import lower
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.dockerfile.parser import parse
from polyarch.errors import DockerfileError
from polyarch.graph.graph import GraphMaker
from polyarch.graph.location import SourceText
from polyarch.platforms import Platform
from polyarch.text.ignore import Matcher
from tests.support.dockerfiles.lowering import AMD64, ARM64, IMAGES


def checked(
    text: str,
    *ignored: str,
    override: str | None = None,
    build_args: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the findings as `line Rule: detail`, sorted."""
    lint = Linter(override=override)
    options = LowerOptions(
        build_platform=AMD64,
        build_args=build_args or {},
        all_stages=True,
        ignores=Matcher(ignored).covers if ignored else None,
        lint=lint,
    )
    dockerfile = parse(SourceText(name="Dockerfile", text=text), lint)
    lower(dockerfile, AMD64, options=options, maker=GraphMaker(), images=IMAGES)
    return sorted(f"{each.location.line} {each.rule.name}: {each.detail}" for each in lint.findings)


def broken(text: str, *ignored: str, **build_args: str) -> list[str]:
    """Return the findings without their details."""
    return [finding.partition(":")[0] for finding in checked(text, *ignored, build_args=build_args)]


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("FROM scratch AS Upper", ["1 StageNameCasing"]),
        ("FROM scratch as lower", ["1 FromAsCasing"]),
        ("from scratch AS lower", ["1 FromAsCasing"]),
        ("From scratch as lower", ["1 ConsistentInstructionCasing"]),
        ("from scratch as lower\nENV A=1", ["1 ConsistentInstructionCasing"]),
        ("FROM scratch AS a\nFROM scratch AS A", ["2 DuplicateStageName", "2 StageNameCasing"]),
        ("FROM scratch AS context", ["1 ReservedStageName"]),
        ("FROM scratch\nMAINTAINER me", ["2 MaintainerDeprecated"]),
        ("FROM scratch\nENV A b", ["2 LegacyKeyValueFormat"]),
        ("FROM scratch\nLABEL A b", ["2 LegacyKeyValueFormat"]),
        ("FROM scratch\nENV A=1 \\\n\n B=2", ["4 NoEmptyContinuation"]),
        ("FROM scratch\nCMD a", ["2 JSONArgsRecommended"]),
        ('FROM scratch\nSHELL ["a"]\nCMD b', []),
        ('FROM scratch\nCMD ["a"]\nCMD ["b"]', ["2 MultipleInstructionsDisallowed"]),
        (
            "FROM scratch\nARG API_KEY\nENV DB_PASSWORD=1 B=2",
            ["2 SecretsUsedInArgOrEnv", "3 SecretsUsedInArgOrEnv"],
        ),
        ("FROM scratch\nARG PUBLIC_KEY\nENV KEY_FILE=1 MONKEY=1", []),
        ("FROM scratch\nWORKDIR a\nWORKDIR b", ["2 WorkdirRelativePath"]),
        ("FROM scratch\nWORKDIR /a\nWORKDIR b", []),
        ("FROM scratch AS a\nWORKDIR /a\nFROM a\nWORKDIR b", []),
        ("FROM scratch\nCOPY $A /", ["2 UndefinedVar"]),
        ("FROM scratch\nARG A\nCOPY a$A /", []),
        ("FROM scratch\nCOPY <<EOF /a\n$A\nEOF", ["2 UndefinedVar"]),
        ("FROM scratch\nCOPY <<'EOF' /a\n$A\nEOF", []),
        (
            "FROM scratch\nEXPOSE 80/TCP 127.0.0.1:81:81",
            ["2 ExposeInvalidFormat", "2 ExposeProtoCasing"],
        ),
        ("FROM --platform=linux/arm64 scratch", ["1 FromPlatformFlagConstDisallowed"]),
        ("FROM --platform=linux/arm64 scratch AS build-arm64", []),
        ("FROM --platform=$TARGETPLATFORM scratch", ["1 RedundantTargetPlatform"]),
        ("FROM --platform=$BUILDPLATFORM scratch", []),
        ("ARG A\nFROM base$A", []),
        ("FROM base$A", ["1 UndefinedArgInFrom"]),
    ],
)
def test_rules(text: str, rules: list[str]) -> None:
    assert broken(text) == rules


def test_details() -> None:
    text = """ARG BASE=base
FROM ${BASE}${BASA:-}
ENV PATH=$PAHT:/x
cmd a
"""
    assert checked(text) == [
        "2 UndefinedArgInFrom: FROM argument 'BASA' is not declared (did you mean BASE?)",
        "3 UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?)",
        (
            "4 ConsistentInstructionCasing: Command 'cmd' should match the case of the command "
            "majority (uppercase)"
        ),
        (
            "4 JSONArgsRecommended: JSON arguments recommended for cmd to prevent unintended behavior "
            "related to OS signals"
        ),
    ]


def test_bases_without_build_arguments() -> None:
    assert broken("ARG NAME\nFROM ${NAME}\n", NAME="base") == ["2 InvalidDefaultArgInFrom"]
    assert broken("ARG NAME=base\nFROM ${NAME}\n", NAME="base") == []


@pytest.mark.parametrize(
    ("text", "ignored", "found"),
    [
        ("COPY a /", ["a"], True),
        ("ADD ./a/b /", ["a"], True),
        ("COPY . /", ["*"], True),
        ("COPY ./ /", ["**"], True),
        ("COPY / /", ["**/*"], True),
        ("COPY . /", ["?*"], False),
        ("COPY . /", ["."], False),
        ("COPY /a /", ["a"], False),
        ("COPY /a /", ["*"], True),
        ('COPY ["a b", "/"]', ["a*"], True),
        ("COPY <<a /\nb\na", ["a"], False),
        ("COPY b /", ["a"], False),
        ("COPY a /", ["*", "!a/b"], False),
        ("COPY --from=other a /", ["a"], False),
    ],
)
def test_ignored_files(text: str, ignored: list[str], found: bool) -> None:
    rules = broken(f"FROM scratch AS other\nFROM scratch\n{text}", *ignored)

    assert rules == (["3 CopyIgnoredFile"] if found else [])


def test_the_platform_of_a_base() -> None:
    class Foreign:
        def resolve(self, reference: str, platform: Platform) -> object:
            return IMAGES.resolve(reference, ARM64)

    lint = Linter()
    dockerfile = parse(SourceText(name="Dockerfile", text="FROM base"), lint)
    options = LowerOptions(build_platform=AMD64, lint=lint)
    lower(dockerfile, AMD64, options=options, maker=GraphMaker(), images=Foreign())  # type: ignore[arg-type]

    assert [each.detail for each in lint.findings] == [
        (
            'Base image base was pulled with platform "linux/arm64", expected "linux/amd64" for current '
            "build"
        )
    ]


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("# check=skip=all\nFROM scratch as a\nCMD b", []),
        ("# check=skip=JSONArgsRecommended\nFROM scratch as a\nCMD b", ["2 FromAsCasing"]),
        ("FROM scratch as a\n# check=skip=JSONArgsRecommended\nCMD b", ["1 FromAsCasing"]),
        ("FROM scratch AS a\n# check=skip=FromAsCasing\nCMD b", ["3 JSONArgsRecommended"]),
        (
            "# check=experimental=all\n# wrong remark\nARG A\nFROM scratch",
            ["3 InvalidDefinitionDescription"],
        ),
        ("# check=experimental=all\n# A remark\nARG A\nFROM scratch", []),
        ("# wrong remark\nARG A\nFROM scratch", []),
    ],
)
def test_options(text: str, rules: list[str]) -> None:
    assert broken(text) == rules


def test_findings_can_be_errors() -> None:
    text = "# check=error=true\nFROM scratch as a\nCMD b"
    with pytest.raises(DockerfileError, match="rules: FromAsCasing, JSONArgsRecommended"):
        checked(text)
    assert checked("# check=skip=all\nFROM scratch as a", override="skip=FromAsCasing") == []


@pytest.mark.parametrize("options", ["nonsense", "error=maybe", "only=A"])
def test_bad_options(options: str) -> None:
    with pytest.raises(DockerfileError) as error:
        checked(f"# escape=`\n# check={options}\nFROM scratch")
    assert error.value.line == 2


def test_a_mute_linter_finds_nothing() -> None:
    lint = Linter.mute()
    parse(SourceText(name="Dockerfile", text="FROM scratch as a"), lint)

    assert lint.findings == []


def test_pages_of_rules() -> None:
    lint = Linter()
    text = "FROM --platform=$TARGETPLATFORM scratch\nCMD a"
    parse(SourceText(name="Dockerfile", text=text), lint)
    options = LowerOptions(build_platform=AMD64, lint=lint)
    dockerfile = parse(SourceText(name="Dockerfile", text=text))
    lower(dockerfile, AMD64, options=options, maker=GraphMaker(), images=IMAGES)

    assert [each.rule.url.rsplit("/", 2)[1] for each in lint.findings] == [
        "redundant-target-platform",
        "json-args-recommended",
    ]
