"""What a target takes from outside, and what is told of it."""

from collections.abc import Mapping

import pytest

from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.dockerfile.lowering.outline import Outline, OutlineMount, outline
from polyarch.dockerfile.parser import parse
from polyarch.errors import NotFound
from polyarch.graph.location import SourceText
from tests.support.dockerfiles.lowering import AMD64, ARM64, IMAGES, Images


def outlined(
    text: str,
    *,
    target: str = "",
    build_args: Mapping[str, str] | None = None,
    contexts: Mapping[str, str] | None = None,
    images: Images = IMAGES,
) -> Outline:
    options = LowerOptions(
        build_platform=AMD64,
        target=target,
        build_args=build_args or {},
        contexts=contexts or {},
    )
    dockerfile = parse(SourceText(name="Dockerfile", text=text))
    return outline(dockerfile, ARM64, options=options, images=images)


def args_of(text: str, target: str = "", **build_args: str) -> list[str]:
    """Return the arguments as `line NAME=value`."""
    found = outlined(text, target=target, build_args=build_args)
    return [f"{each.location.line} {each.name}={each.value}" for each in found.args]


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("FROM scratch\nARG A=1 B", ["2 A=1", "2 B="]),
        ("FROM scratch\nARG A=1\nARG B=$A-2", ["2 A=1", "3 B=1-2"]),
        ("FROM scratch\nARG A=1\nARG A=2", ["3 A=2"]),
        ("ARG UNUSED=1\nFROM scratch", []),
        ("ARG A=1\nFROM scratch\nARG A", ["1 A=1"]),
        ("ARG A=1\nFROM scratch\nARG A=2", ["3 A=2"]),
        ("ARG A\nFROM scratch\nARG A", ["3 A="]),
        ("ARG B=base\nFROM $B", ["1 B=base"]),
        ("ARG P=linux/amd64\nFROM --platform=$P base", ["1 P=linux/amd64"]),
        ("ARG X=b\nARG Y=${X}ase\nARG Z=1\nFROM $Y", ["1 X=b", "2 Y=base"]),
        ("ARG X=b\nARG X=${X}ase\nFROM $X", ["2 X=base"]),
        ("ARG T=1\nARG X=b${T:+}\nARG X=${X}ase\nFROM $X", ["1 T=1", "3 X=base"]),
        ("ARG A=$TARGETARCH\nFROM scratch\nARG A TARGETOS", ["1 A=arm64"]),
        ("FROM scratch\nARG TARGETARCH=mine", ["2 TARGETARCH=mine"]),
        ("FROM scratch\nENV A=1\nRUN echo $A", []),
    ],
)
def test_arguments_that_are_used(text: str, args: list[str]) -> None:
    assert args_of(text) == args


def test_values_of_the_command_line() -> None:
    assert args_of("ARG B=none\nFROM $B\nARG A=1", B="base", A="<2>") == ["1 B=base", "3 A=<2>"]


def test_an_inherited_argument_that_the_command_line_sets_is_the_stages_own() -> None:
    text = "# A outer\nARG A=1\nFROM scratch\n# A inner\nARG A"
    (arg,) = outlined(text, build_args={"A": "2"}).args

    assert (arg.value, arg.description, arg.location.line) == ("2", "inner", 5)


STAGES = """FROM scratch AS low
ARG LOW=1
FROM low AS middle
ARG MIDDLE=1
FROM scratch AS aside
ARG ASIDE=1
FROM scratch AS files
ARG FILES=1
FROM base AS mounted
ARG MOUNTED=1
FROM middle
ARG TOP=1
COPY --from=files / /
RUN --mount=from=mounted,target=/m true
"""


def test_stages_that_the_target_is_made_from_count() -> None:
    assert args_of(STAGES) == ["2 LOW=1", "4 MIDDLE=1", "8 FILES=1", "10 MOUNTED=1", "12 TOP=1"]


def test_another_target() -> None:
    assert args_of(STAGES, target="Middle") == ["2 LOW=1", "4 MIDDLE=1"]


def test_the_nearer_argument_of_a_name_counts() -> None:
    assert args_of("FROM scratch AS a\nARG A=1\nFROM a\nARG A=2") == ["4 A=2"]


def test_a_stage_that_a_context_stands_in_for_takes_nothing() -> None:
    text = "FROM scratch AS a\nARG A=1\nFROM base\nCOPY --from=a / /\n"

    assert outlined(text, contexts={"a": "docker-image://base"}).args == ()


def test_triggers_of_a_base_image_count() -> None:
    images = Images({"parent": {"OnBuild": ["ARG LATE=1", "RUN --mount=type=secret,id=key true"]}})
    found = outlined("FROM scratch AS x\nFROM parent", images=images)

    assert [(each.name, each.location.line) for each in found.args] == [("LATE", 2)]
    assert [each.id for each in found.secrets] == ["key"]


def test_descriptions_are_the_comments_that_begin_with_the_name() -> None:
    text = "# A of all\n# B of one\nARG A=base\nFROM $A AS final\n# C says c\n# other\nARG C B\n"
    found = outlined(text)

    assert [(each.name, each.description) for each in found.args] == [
        ("A", "of all"),
        ("C", "says c"),
        ("B", ""),
    ]


def test_the_target_and_its_description() -> None:
    found = outlined("# Final is it\n# final is that\nFROM scratch AS Final")

    assert (found.target.name, found.target.comment) == ("final", "is that")


MOUNTS = """FROM base AS one
RUN --mount=type=secret,id=a --mount=type=secret,target=/x/b,required true
RUN --mount=type=secret,id=a,required --mount=type=ssh true
FROM base
RUN --mount=type=ssh,id=git,required --mount=type=cache,target=/c true
COPY --from=one / /
RUN --mount=type=cache,id=own,target=/c --mount=type=secret,src=c,env=C true
"""


def mounts(found: tuple[OutlineMount, ...]) -> list[tuple[str, bool, int]]:
    return [(each.id, each.required, each.location.line) for each in found]


def test_secrets_count_as_their_stages_first_mention_them() -> None:
    found = outlined(MOUNTS)

    assert mounts(found.secrets) == [("a", False, 2), ("b", True, 2), ("c", False, 7)]


def test_agents() -> None:
    assert mounts(outlined(MOUNTS).agents) == [("default", False, 3), ("git", True, 5)]


def test_caches() -> None:
    assert mounts(outlined(MOUNTS).caches) == [("/c", False, 5), ("own", False, 7)]


def test_a_target_that_is_not_there() -> None:
    with pytest.raises(NotFound, match=r"could not be found \(did you mean low\?\)"):
        outlined(STAGES, target="lwo")
