from __future__ import annotations

import pytest

from polyarch.dockerfile.lowering.targets import find_stage, find_target, needed_stages, stage_label
from polyarch.dockerfile.parser import Dockerfile, parse
from polyarch.errors import DockerfileError, NotFound
from polyarch.graph.location import SourceText

FILE = """\
FROM golang AS build
FROM build AS test
FROM scratch AS unused
FROM debian
RUN --mount=from=tools,target=/t --mount=type=tmpfs,target=/u x
COPY --from=build a b
COPY --from=1 c d
COPY --from=alpine e f
COPY g h
FROM busybox AS Tools
"""


def parsed(text: str) -> Dockerfile:
    return parse(SourceText(name="Dockerfile", text=text))


def needed(text: str, target: int, **options: list[int]) -> tuple[int, ...]:
    stages = parsed(text).stages
    return needed_stages(stages, target, [stage.base for stage in stages], **options)


def test_find_target() -> None:
    dockerfile = parsed(FILE)

    assert find_target(dockerfile) == 4
    assert find_target(dockerfile, "TEST") == 1
    assert stage_label(dockerfile.stages, 3) == "stage-3"
    assert stage_label(dockerfile.stages, 4) == "tools"


def test_find_target_that_is_not_there() -> None:
    with pytest.raises(NotFound) as caught:
        find_target(parsed(FILE), "zz")

    assert str(caught.value) == 'target stage "zz" could not be found'
    assert caught.value.hint == "the Dockerfile has build, test, unused, tools"


def test_find_target_suggests_a_near_name() -> None:
    with pytest.raises(NotFound, match=r"could not be found \(did you mean build\?\)$"):
        find_target(parsed(FILE), "Biuld")


def test_find_target_without_stages() -> None:
    with pytest.raises(DockerfileError, match="dockerfile contains no stages to build"):
        find_target(parsed("ARG a\n"))


def test_last_stage_of_a_name_has_it() -> None:
    stages = parsed("FROM a AS x\nFROM b AS X\n").stages

    assert find_stage(stages, "x") == 1
    assert find_stage(stages, "x", before=1) == 0
    assert find_stage(stages, "") is None


def test_needed_stages_are_in_order() -> None:
    assert needed(FILE, 3) == (4, 0, 1, 3)
    assert needed(FILE, 2) == (2,)


def test_replaced_stage_needs_nothing() -> None:
    assert needed(FILE, 1, replaced=[1]) == (1,)


def test_base_is_an_earlier_stage_only() -> None:
    assert needed("FROM b AS a\nFROM a AS b\nFROM b AS b\n", 2) == (0, 1, 2)


def test_thousands_of_stages() -> None:
    text = "FROM x AS s0\n" + "".join(f"FROM s{i} AS s{i + 1}\n" for i in range(3000))

    assert needed(text, 3000) == tuple(range(3001))


NO_VARIABLES = (
    "variable expansion is not supported for --from, "
    "define a new stage with FROM using ARG from global scope as a workaround"
)


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("FROM a AS x\nCOPY --from=x a b\n", "circular dependency detected on stage: x", 2),
        (
            "FROM a AS x\nCOPY --from=1 a b\nFROM a\nRUN --mount=from=x,target=/a a\n",
            "circular dependency detected on stage: x",
            4,
        ),
        ("FROM a\nCOPY --from=1 a b\n", "invalid stage index 1", 2),
        ("FROM a\nCOPY --from=-1 a b\n", "invalid stage index -1", 2),
        (
            "FROM a\nCOPY --from=$x a b\n",
            NO_VARIABLES,
            2,
        ),
    ],
)
def test_needed_stages_are_refused(text: str, message: str, line: int) -> None:
    with pytest.raises(DockerfileError) as caught:
        needed(text, 0)

    assert (str(caught.value), caught.value.line) == (message, line)


def test_stages_that_are_known_are_left_out_with_all_that_they_need() -> None:
    text = "FROM x AS a\nFROM a AS b\nFROM b AS c\nCOPY --from=a 1 2\n"

    assert needed(text, 2, known=[0, 1]) == (2,)
    assert needed(text, 1, known=[0, 1]) == ()
