from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.dockerfile.parser import Dockerfile, parse, parse_lines, parse_trigger
from polyarch.dockerfile.syntax.instruction import (
    Add,
    Arg,
    Cmd,
    Copy,
    Definition,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from polyarch.dockerfile.syntax.lexer import Directive, Heredoc, ParseWarning, decode
from polyarch.dockerfile.syntax.mount import Device
from polyarch.errors import DockerfileError
from polyarch.graph.location import Location, SourceText

NO_DESTINATION = (
    "{} requires at least two arguments, but only one was provided."
    " Destination could not be determined"
)


def parsed(text: str) -> Dockerfile:
    return parse(SourceText(name="Dockerfile", text=text))


PLACE = Location(source=SourceText(name="Dockerfile", text="FROM a"), start=1, end=1)


def only_instruction(text: str) -> Instruction:
    [stage] = parsed(f"FROM a\n{text}\n").stages
    [instruction] = stage.instructions
    return instruction


def test_dockerfile() -> None:
    text = "# escape=`\n# check=skip=all\nARG A=1 B\nFROM x\nARG C\nFROM y as Z\nRUN a`\n\nb\n"

    dockerfile = parsed(text)

    assert dockerfile.escape == "`"
    assert dockerfile.find_directive("check") == Directive(
        name="check", value="skip=all", word="skip=all", line=2
    )
    assert dockerfile.find_directive("syntax") is None
    assert dockerfile.global_args == (
        Arg(
            location=PLACE,
            definitions=(Definition(name="A", default="1"), Definition(name="B")),
        ),
    )
    assert [(stage.name, stage.base, len(stage.instructions)) for stage in dockerfile.stages] == [
        ("", "x", 1),
        ("z", "y", 1),
    ]
    assert dockerfile.warnings == (
        ParseWarning(message="Empty continuation line found in: RUN ab", line=9),
    )


def test_stage_remembers_how_it_was_written() -> None:
    [stage] = parsed("# base the ground\nfrom --platform=$P a:1 As Base\n").stages

    assert (stage.name, stage.written_name, stage.as_keyword, stage.keyword) == (
        "base",
        "Base",
        "As",
        "from",
    )
    assert (stage.platform, stage.base, stage.comment) == ("$P", "a:1", "the ground")
    assert stage.comments == ("base the ground",)


def test_instruction_remembers_its_place() -> None:
    [stage] = parsed("FROM a\n# why\nrun <<E \\\n  x\nb\nE\n").stages
    [run] = stage.instructions

    assert (run.location.start, run.location.end) == (3, 6)
    assert (run.text, run.keyword, run.comments) == ("run <<E   x", "run", ("why",))


@pytest.mark.parametrize(
    ("text", "instruction"),
    [
        (
            "ARG A B='c d' E=",
            Arg(
                location=PLACE,
                definitions=(
                    Definition(name="A"),
                    Definition(name="B", default="'c d'"),
                    Definition(name="E", default=""),
                ),
            ),
        ),
        ("ENV a=b", Env(location=PLACE, pairs=(("a", "b"),))),
        ("LABEL a b", Label(location=PLACE, pairs=(("a", "b"),))),
        (
            "COPY --from=x --chown=1:2 --chmod=u+x --link --exclude=a --exclude=b --parents c d e",
            Copy(
                location=PLACE,
                sources=("c", "d"),
                destination="e",
                chown="1:2",
                chmod="u+x",
                link=True,
                exclude=("a", "b"),
                from_name="x",
                parents=True,
            ),
        ),
        (
            "COPY <<-A b <<'C' /d/\n\ta\nA\nc\nC",
            Copy(
                location=PLACE,
                sources=("b",),
                contents=(
                    Heredoc(name="A", content="\ta\n", strip_tabs=True),
                    Heredoc(name="C", content="c\n", expand=False),
                ),
                destination="/d/",
            ),
        ),
        ("COPY <<'a b' c\nd\na b", Copy(location=PLACE, sources=("<<'a", "b'"), destination="c")),
        (
            "ADD --checksum=sha256:0 --keep-git-dir --unpack=false a b",
            Add(
                location=PLACE,
                sources=("a",),
                destination="b",
                checksum="sha256:0",
                keep_git_dir=True,
                unpack=False,
            ),
        ),
        (
            "RUN --mount=type=ssh --mount=target=$x --network=none --device=gpu,required a b",
            Run(
                location=PLACE,
                arguments=("a b",),
                shell=True,
                mounts=("type=ssh", "target=$x"),
                devices=(Device(name="gpu", required=True),),
                network="none",
            ),
        ),
        (
            "RUN --security=insecure -- --a",
            Run(location=PLACE, arguments=("--a",), shell=True, security="insecure"),
        ),
        (
            "RUN <<A\n$a\nA",
            Run(
                location=PLACE,
                arguments=("<<A",),
                shell=True,
                heredocs=(Heredoc(name="A", content="$a\n"),),
            ),
        ),
        ('CMD ["a"]', Cmd(location=PLACE, arguments=("a",), shell=False)),
        ("ENTRYPOINT a b", Entrypoint(location=PLACE, arguments=("a b",), shell=True)),
        ('SHELL ["a", "-c"]', Shell(location=PLACE, arguments=("a", "-c"))),
        (
            "HEALTHCHECK --interval=1m --timeout=2s --start-period=3ms --retries=4 cmd a b",
            Healthcheck(
                location=PLACE,
                test=("CMD-SHELL", "a b"),
                interval=60_000_000_000,
                timeout=2_000_000_000,
                start_period=3_000_000,
                retries=4,
            ),
        ),
        ('HEALTHCHECK CMD ["a"]', Healthcheck(location=PLACE, test=("CMD", "a"))),
        ("HEALTHCHECK none", Healthcheck(location=PLACE, test=("NONE",))),
        ("EXPOSE 80 443/udp", Expose(location=PLACE, ports=("443/udp", "80"))),
        ("VOLUME /a /b", Volume(location=PLACE, paths=("/a", "/b"))),
        ("USER a b", User(location=PLACE, user="a b")),
        ("WORKDIR a/../b", Workdir(location=PLACE, path="a/../b")),
        ("STOPSIGNAL 9", StopSignal(location=PLACE, signal="9")),
        ("MAINTAINER A <a@b>", Maintainer(location=PLACE, author="A <a@b>")),
        (
            "OnBuild  COPY <<A /\nb\nA",
            Onbuild(location=PLACE, trigger="COPY <<A /\nb\nA"),
        ),
    ],
)
def test_instruction(text: str, instruction: Instruction) -> None:
    assert only_instruction(text) == instruction


def test_comment_of_a_definition() -> None:
    [arg] = parsed("# B is for building\nARG A B=1\nFROM a").global_args

    assert [one.comment for one in arg.definitions] == ["", "is for building"]


def test_legacy_form_is_marked() -> None:
    env = only_instruction("ENV a b")

    assert isinstance(env, Env)
    assert env.is_legacy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FOO a", "unknown instruction: FOO (did you mean FROM?)"),
        ("RNU a", "unknown instruction: RNU (did you mean RUN?)"),
        ("nonsense", "unknown instruction: nonsense"),
        ("FROM", "FROM requires either one or three arguments"),
        ("FROM a b c", "FROM requires either one or three arguments"),
        (
            "FROM a AS 1",
            'invalid name for build stage: "1", name can\'t start with a number or contain symbols',
        ),
        ("FROM --a b", "unknown flag: --a"),
        ("ARG", "ARG requires at least one argument"),
        ("ARG =a", "ARG names can not be blank"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV =a", "ENV names can not be blank"),
        (
            "ADD a",
            NO_DESTINATION.format("ADD"),
        ),
        ("COPY a <<E\nE", "COPY cannot accept a heredoc as a destination"),
        ("RUN --network=x a", 'invalid network mode "x"'),
        ("RUN --security=x a", 'security "x" is not valid'),
        ("RUN --mount= a", "failed to parse csv mounts: EOF"),
        (
            "RUN --mount=from=$a a",
            "'from' doesn't support variable expansion, define alias stage instead",
        ),
        ("CMD --a b", "unknown flag: --a"),
        ("SHELL a", "SHELL requires the arguments to be in JSON form"),
        ("SHELL []", "SHELL requires at least one argument"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK a", 'Unknown type "A" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK NONE a", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        (
            "HEALTHCHECK --timeout=1us CMD a",
            'Interval "timeout" cannot be less than 1ms',
        ),
        ("HEALTHCHECK --timeout=1 CMD a", 'time: missing unit in duration "1"'),
        ("HEALTHCHECK --retries=-1 CMD a", "--retries cannot be negative (-1)"),
        (
            "HEALTHCHECK --retries=x CMD a",
            'strconv.ParseInt: parsing "x": invalid syntax',
        ),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ('VOLUME [" "]', "VOLUME specified can not be an empty string"),
        ("USER", "USER requires exactly one argument"),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD ONBUILD RUN a", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD from a", "FROM isn't allowed as an ONBUILD trigger"),
    ],
)
def test_instruction_is_refused(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parsed(f"FROM a\n\n{text}\n")

    assert str(caught.value) == f"dockerfile parse error on line 3: {message}"
    assert caught.value.line == 3


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("", "the Dockerfile cannot be empty", 1),
        ("# a\n\n", "file with no instructions", 2),
        ("\nENV a\n", "ENV must have two arguments", 2),
        ("FROM a\nRUN <<A\n", "unterminated heredoc", 2),
        ("ARG a\nRUN a\nFROM a\n", "no build stage in current context", 2),
    ],
)
def test_text_is_refused(text: str, message: str, line: int) -> None:
    with pytest.raises(DockerfileError) as caught:
        parsed(text)

    assert (str(caught.value), caught.value.line) == (message, line)


def test_file_may_lack_stages() -> None:
    assert parsed("ARG a\n").stages == ()


def test_trigger() -> None:
    assert parse_trigger("COPY <<A /\nb\nA", PLACE) == Copy(
        location=PLACE,
        sources=(),
        contents=(Heredoc(name="A", content="b\n"),),
        destination="/",
    )
    assert parse_trigger("RUN a", PLACE).location == PLACE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RUN a\nRUN b", "onbuild trigger should be a single expression"),
        ("FROM a", "FROM isn't allowed as an ONBUILD trigger"),
        ("NONSENSE", "dockerfile parse error on line 1: unknown instruction: NONSENSE"),
        ("", "file with no instructions"),
    ],
)
def test_trigger_is_refused(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_trigger(text, PLACE)

    assert str(caught.value) == message
    assert caught.value.place == PLACE


WORDS = st.sampled_from(
    [
        *("FROM", "ARG", "RUN", "COPY", "ADD", "ENV", "ONBUILD", "HEALTHCHECK", "CMD", "VOLUME"),
        *("\n", " ", "\\\n", "\\", "a", "=", "$a", '"', "'", "--mount=", "--from=a", "--", "NONE"),
        *("<<A", "\nA\n", "[", "]", '["a"]', "as", "# escape=`\n", "#", "é", "\r\n", "type=ssh"),
    ]
)


@given(st.lists(WORDS, max_size=30).map("".join))
def test_parser_raises_nothing_but_our_error(text: str) -> None:
    with contextlib.suppress(DockerfileError):
        parsed(text)


@given(st.binary())
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    with contextlib.suppress(DockerfileError):
        parsed(decode(data))


@given(st.lists(st.sampled_from(["RUN a", "RUN b\\\n c", "# x", "", "RUN <<E\nf\nE"]), min_size=1))
def test_places_are_in_order_and_apart(parts: list[str]) -> None:
    text = "FROM a\n" + "\n".join(parts)
    lines = parse_lines(SourceText(name="Dockerfile", text=text)).lines
    ends = [(line.location.start, line.location.end) for line in lines]

    assert all(start <= end for start, end in ends)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))
