"""Where checks look, how often, and what silences them: the fine print."""

from collections.abc import Mapping

import pytest

from polyarch.dockerfile.lint.linter import Linter
from polyarch.dockerfile.lowering.lower import lower
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.dockerfile.parser import parse
from polyarch.errors import DockerfileError, InputError
from polyarch.graph.graph import GraphMaker
from polyarch.graph.location import SourceText
from polyarch.oci.base import BaseImage
from polyarch.platforms import Platform, linux
from polyarch.record import replace
from tests.support.dockerfiles.lowering import AMD64, IMAGES, Images


def found(
    text: str,
    *,
    override: str | None = None,
    target: str = "",
    all_stages: bool = True,
    build_args: Mapping[str, str] | None = None,
    contexts: Mapping[str, str] | None = None,
    images: Images = IMAGES,
) -> list[str]:
    """Return the findings as `line Rule`, sorted; what can't be lowered is none of this."""
    lint = Linter(override=override)
    options = LowerOptions(
        build_platform=AMD64,
        target=target,
        all_stages=all_stages,
        build_args=build_args or {},
        contexts=contexts or {},
        lint=lint,
    )
    try:
        dockerfile = parse(SourceText(name="Dockerfile", text=text), lint)
        lower(dockerfile, AMD64, options=options, maker=GraphMaker(), images=images)
    except InputError:
        pass
    return sorted(f"{each.location.line} {each.rule.name}" for each in lint.findings)


CASES = [
    # A place counts as often as it breaks a rule.
    ("FROM scratch\nCOPY $x $x /", ["2 UndefinedVar"] * 2),
    ("FROM scratch\nENV A=$x B=$y", ["2 UndefinedVar"] * 2),
    ("FROM scratch\nENV A=$x$x", ["2 UndefinedVar"]),
    ("FROM scratch\nENV KEY=1 TOKEN=2", ["2 SecretsUsedInArgOrEnv"] * 2),
    ("FROM scratch\nEXPOSE 80/TCP 81/UDP", ["2 ExposeProtoCasing"] * 2),
    (
        "FROM scratch\nCMD []\nCMD []\nCMD []",
        [f"{n} MultipleInstructionsDisallowed" for n in (2, 3)],
    ),
    ("FROM scratch\nENV A=1 \\\n\n\n B=2", ["5 NoEmptyContinuation"]),
    # Names and keys.
    ("FROM scratch\nENV ${x:-KEY}=1", ["2 SecretsUsedInArgOrEnv", "2 UndefinedVar"]),
    ('FROM scratch\nENV "my_key"=1', ["2 SecretsUsedInArgOrEnv"]),
    ("FROM scratch\nENV mytoken=1 TOKENS=2 KEY2=3", []),
    ("FROM scratch\nENV GIT_AUTH=1 auth_x=2 apikey=3", ["2 SecretsUsedInArgOrEnv"] * 3),
    ("FROM scratch\nENV SECRET_VERSION=1 TOKEN_FILE=2 PUBLIC_KEY=3", []),
    ("ARG API_TOKEN\nFROM scratch", []),
    ("FROM scratch\nLABEL password=x", []),
    # FROM.
    ("FROM scratch AS Nope as", []),
    ("FROM scratch AS 9Foo", ["1 StageNameCasing"]),
    ("FROM scratch as x y", ["1 FromAsCasing"]),
    ("from scratch as a\nfrom scratch As b", ["2 FromAsCasing"]),
    ("From scratch aS a", ["1 ConsistentInstructionCasing"]),
    ("FROM scratch AS SCRATCH", ["1 ReservedStageName", "1 StageNameCasing"]),
    (
        "FROM scratch AS a\nFROM scratch AS a\nFROM scratch AS a",
        ["2 DuplicateStageName", "3 DuplicateStageName"],
    ),
    ("FROM --platform=$x base", ["1 UndefinedArgInFrom"]),
    ("FROM --platform=${x:-linux/arm64} base", ["1 UndefinedArgInFrom"]),
    ("FROM --platform=${TARGETPLATFORM} base", ["1 RedundantTargetPlatform"]),
    ("FROM --platform=$TARGETOS/$TARGETARCH base", []),
    ("ARG P=$TARGETPLATFORM\nFROM --platform=$P base", []),
    ("FROM --platform=arm64 base", ["1 FromPlatformFlagConstDisallowed"]),
    ("FROM --platform=linux/arm64 base AS linux", []),
    ("FROM --platform=linux/arm64 base AS my-arm64-x", []),
    ("FROM --platform=linux/arm64 base AS arm", ["1 FromPlatformFlagConstDisallowed"]),
    ("ARG A\nARG B=${A}base\nFROM $B", []),
    ("ARG A\nFROM ba${A}se", []),
    ("ARG A=bad:\nFROM base$A", ["2 InvalidDefaultArgInFrom"]),
    ("ARG A=UPPER\nFROM $A", ["2 InvalidDefaultArgInFrom"]),
    ("FROM base:${TARGETARCH}x", []),
    # Instructions.
    ("FROM scratch\nMAINTAINER", ["2 MaintainerDeprecated"]),
    (
        "FROM scratch\nMAINTAINER a\nMAINTAINER b",
        ["2 MaintainerDeprecated", "3 MaintainerDeprecated"],
    ),
    ("FROM scratch\nRUN echo $x ${y}", []),
    ("FROM base\nRUN --mount=type=cache,target=/$x true", ["2 UndefinedVar"]),
    ("FROM scratch\nEXPOSE $PORT", []),
    ("FROM scratch\nEXPOSE 80/FOO", []),
    ("FROM scratch\nEXPOSE 80:80/TCP", ["2 ExposeInvalidFormat", "2 ExposeProtoCasing"]),
    ("FROM scratch\nEXPOSE [::1]:80:80", ["2 ExposeInvalidFormat"]),
    ("FROM scratch\nEXPOSE :80 80-90/udp", []),
    ("FROM scratch\nCMD a b", ["2 JSONArgsRecommended"]),
    ("FROM scratch\nENTRYPOINT a b", ["2 JSONArgsRecommended"]),
    ('FROM scratch\nCMD a\nSHELL ["x"]', ["2 JSONArgsRecommended"]),
    ('FROM scratch AS a\nSHELL ["x"]\nFROM a\nCMD b', []),
    ("FROM scratch\nHEALTHCHECK CMD a\nHEALTHCHECK NONE", ["2 MultipleInstructionsDisallowed"]),
    ("FROM scratch AS a\nCMD []\nFROM a\nCMD []", []),
    ("FROM scratch\nWORKDIR ${x:-/a}", ["2 UndefinedVar"]),
    ("FROM scratch\nENV D=/d\nWORKDIR $D\nWORKDIR e", []),
    ("FROM scratch AS a\nWORKDIR b\nFROM a\nWORKDIR c", ["2 WorkdirRelativePath"]),
    ("FROM scratch\nARG A\nARG B=$A\nUSER $A$B", []),
    ("FROM scratch AS a\nARG A\nFROM a\nUSER u$A", []),
    ("FROM scratch AS a\nARG A=1\nFROM scratch\nUSER u$A", ["4 UndefinedVar"]),
    ("FROM scratch\nARG A=$A", ["2 UndefinedVar"]),
    ("FROM scratch\nARG A=$x B=$A", ["2 UndefinedVar"]),
    ("FROM scratch\nUSER ${TARGETARCH}x", ["2 UndefinedVar"]),
    ("FROM scratch\nLABEL $x=$y a=b", ["2 UndefinedVar"] * 2),
    ("FROM scratch\nVOLUME $x/y", ["2 UndefinedVar"]),
    ("FROM scratch\nUSER u$BUILDKIT_SBOM_SCAN_STAGE", []),
    ("FROM scratch\nENV a b", ["2 LegacyKeyValueFormat"]),
    ("FROM scratch\nENV a b=c", ["2 LegacyKeyValueFormat"]),
    # Instructions of ONBUILD are looked at where they are carried out.
    ("FROM scratch\nONBUILD ENV KEY=1", []),
    ("FROM scratch\nONBUILD MAINTAINER me", []),
    ("FROM scratch AS a\nonbuild env A=1\nRUN x\nRUN y", ["2 ConsistentInstructionCasing"]),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_cases(text: str, expected: list[str]) -> None:
    assert found(text) == expected


ABOVE = [
    ("# check=skip=StageNameCasing\nFROM scratch AS A", []),
    ("ARG X\n# check=skip=StageNameCasing\nFROM scratch as A", ["3 FromAsCasing"]),
    ("ARG X\n# check=skip=all\nFROM scratch as A", []),
    ("ARG X\n# check = skip=FromAsCasing\nFROM scratch as a", []),
    ("ARG X\n#CHECK=skip=FromAsCasing\nFROM scratch as a", []),
    ("ARG X\n# check=skip=fromascasing\nFROM scratch as a", ["3 FromAsCasing"]),
    ("ARG X\n# check=skip=A,FromAsCasing\nFROM scratch as a", []),
    ("ARG X\n# check=skip=A, FromAsCasing\nFROM scratch as a", ["3 FromAsCasing"]),
    ("ARG X\n# check=skip=FromAsCasing and why\nFROM scratch as a", []),
    ("ARG X\n# check=nonsense\n# check=skip=all\nFROM scratch as a", ["4 FromAsCasing"]),
    ("ARG X\n# check=skip=A\n# check=skip=all\nFROM scratch as a", ["4 FromAsCasing"]),
    ("ARG X\n# first\n# check=skip=all\n# last\nFROM scratch as a", []),
    ("ARG X\n# check=skip=all\n#\nFROM scratch as a", ["4 FromAsCasing"]),
    ("ARG X\n# check=skip=all\n\nFROM scratch as a", []),
    # Those about the file as a whole aren't asked.
    ("FROM scratch AS a\n# check=skip=all\nFROM scratch AS a", ["3 DuplicateStageName"]),
    ("ARG X\n# check=skip=all\nFROM scratch AS context", ["3 ReservedStageName"]),
    ("FROM scratch\n# check=skip=all\nuser x", ["3 ConsistentInstructionCasing"]),
    ("ARG X=U\n# check=skip=all\nFROM $X", ["3 InvalidDefaultArgInFrom"]),
    ("FROM scratch\n# check=skip=all\nENV A=1 \\\n\n B=2", ["5 NoEmptyContinuation"]),
    # The later instruction says whether there may be several.
    ("FROM scratch\n# check=skip=all\nCMD []\nCMD []", ["3 MultipleInstructionsDisallowed"]),
    ("FROM scratch\nCMD []\n# check=skip=all\nCMD []", []),
    ("FROM scratch\n# check=skip=MaintainerDeprecated\nMAINTAINER x", []),
    ("FROM scratch\n# check=skip=UndefinedVar\nCOPY $x /", []),
    ("FROM scratch\n# check=skip=UndefinedVar\nARG A=$x", []),
    # One that has to be asked for can be, for one place.
    (
        "ARG X\n# what\nARG Y\n# check=experimental=all\n# what\nARG Z\nFROM scratch",
        ["6 InvalidDefinitionDescription"],
    ),
    (
        "ARG X\n# check=skip=all;experimental=all\n# what\nARG Z\nFROM scratch",
        ["4 InvalidDefinitionDescription"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), ABOVE)
def test_comments_above_an_instruction(text: str, expected: list[str]) -> None:
    assert found(text) == expected


BREAKS = "FROM scratch as a\nCMD b"
BOTH = ["1 FromAsCasing", "2 JSONArgsRecommended"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", BOTH),
        ("skip=all", []),
        ("skip=all;error=true", []),
        ("error=true;skip=all", []),
        ("skip=FromAsCasing,JSONArgsRecommended", []),
        ("skip= FromAsCasing , JSONArgsRecommended ", []),
        ("skip=all,FromAsCasing", ["2 JSONArgsRecommended"]),
        ("skip=FromAsCasing;skip=JSONArgsRecommended", ["1 FromAsCasing"]),
        ("experimental=all", BOTH),
        ("error=true", BOTH),
        (" skip = all ", []),
    ],
)
def test_the_build_argument(options: str, expected: list[str]) -> None:
    assert found(BREAKS, override=options) == expected
    assert found(f"# check=skip=all\n{BREAKS}", override="") == [
        "2 FromAsCasing",
        "3 JSONArgsRecommended",
    ]


@pytest.mark.parametrize(
    ("head", "is_silent"),
    [
        ("# check=skip=all\n", True),
        ("#check=skip=all\n", True),
        ("# CHECK = skip=all\n", True),
        ("# syntax=docker/dockerfile:1\n# check=skip=all\n", True),
        ("#!/usr/bin/env x\n# check=skip=all\n", True),
        ("# check=skip=all and more\n", True),
        ("# a remark\n# check=skip=all\n", False),
        ("\n# check=skip=all\n", False),
        ("ARG X\n# check=skip=JSONArgsRecommended\n", False),
    ],
)
def test_the_directive(head: str, is_silent: bool) -> None:
    rules = [finding.split()[1] for finding in found(f"{head}FROM scratch AS a\nCMD b")]

    assert rules == ([] if is_silent else ["JSONArgsRecommended"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("skip=A;", 'invalid check option ""'),
        ("nonsense", 'invalid check option "nonsense"'),
        ("only=A", 'invalid check option "only"'),
        (
            "error=maybe",
            (
                'failed to parse check option "error=maybe": strconv.ParseBool: parsing "maybe": '
                "invalid syntax"
            ),
        ),
        ("skip=A;error=1;x;y", 'invalid check option "x;y"'),
    ],
)
def test_options_that_are_wrong(options: str, message: str) -> None:
    source = SourceText(name="Dockerfile", text="FROM scratch")
    with pytest.raises(DockerfileError) as caught:
        parse(source, Linter(override=options))
    assert str(caught.value) == f"failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK: {message}"
    assert caught.value.place is None

    source = SourceText(name="Dockerfile", text=f"# escape=`\n# check={options}\nFROM scratch")
    with pytest.raises(DockerfileError) as caught:
        parse(source, Linter())
    assert (str(caught.value), caught.value.line) == (
        f"failed to parse check options: {message}",
        2,
    )


STAGES = """FROM scratch AS one
CMD one
FROM scratch as two
ENV a b
FROM scratch AS three
COPY --from=one / /
"""


def test_a_build_looks_at_what_it_needs_and_at_all_names() -> None:
    assert found(STAGES, all_stages=False) == ["2 JSONArgsRecommended", "3 FromAsCasing"]


def test_a_check_looks_at_all_stages() -> None:
    assert found(STAGES) == ["2 JSONArgsRecommended", "3 FromAsCasing", "4 LegacyKeyValueFormat"]


def test_a_check_of_a_target_looks_at_what_that_needs() -> None:
    assert found(STAGES, target="two", all_stages=False) == [
        "3 FromAsCasing",
        "4 LegacyKeyValueFormat",
    ]


def test_triggers_are_found_at_the_stage_that_they_run_in() -> None:
    images = Images({"base": {"OnBuild": ["ENV a $x", "CMD c", "MAINTAINER me"]}})

    assert found("FROM scratch\nFROM base", images=images) == [
        "2 JSONArgsRecommended",
        "2 LegacyKeyValueFormat",
        "2 UndefinedVar",
    ]


def test_the_shell_of_a_base_image_counts() -> None:
    assert found("FROM base\nCMD x", images=Images({"base": {"Shell": ["sh"]}})) == []


def test_findings_before_an_error_are_kept() -> None:
    assert found("FROM scratch as a\nFOO") == ["1 FromAsCasing"]
    assert found("FROM scratch\nENV a b\nSTOPSIGNAL nope\nENV c d") == ["2 LegacyKeyValueFormat"]


class _Foreign(Images):
    """Base images of another platform than was asked for."""

    platform = linux("arm64", "v8")

    def resolve(self, reference: str, platform: Platform) -> BaseImage:
        base = super().resolve(reference, platform)
        return replace(base, config=replace(base.config, platform=self.platform))


def test_the_platform_of_a_base_that_a_stage_needs() -> None:
    foreign = _Foreign({"base": {}})

    assert found("FROM base\nRUN x", images=foreign) == ["1 InvalidBaseImagePlatform"]
    assert found("FROM base\nFROM scratch", images=foreign, all_stages=False) == []
    context = {"other": "docker-image://base"}
    assert found("FROM other", images=foreign, contexts=context) == []
