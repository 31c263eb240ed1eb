"""Lowering: what config, history and vertices a Dockerfile gives."""

from collections.abc import Sequence
from typing import Any

import pytest

from polyarch.digest import sha256
from polyarch.dockerfile.lowering.lower import Lowered, lower
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.dockerfile.parser import parse
from polyarch.dockerfile.syntax.mount import Device
from polyarch.errors import DockerfileError, InputError, NotFound
from polyarch.graph.graph import GraphMaker, walk
from polyarch.graph.location import SourceText
from polyarch.graph.op import (
    CacheMount,
    CopyAction,
    ExecOp,
    FileOp,
    GitOp,
    HttpOp,
    ImageOp,
    MergeOp,
    MkdirAction,
    SecretMount,
    TmpfsMount,
)
from polyarch.platforms import Platform
from polyarch.record import replace
from tests.support.dockerfiles.lowering import AMD64, ARM, ARM64, IMAGES, PATH
from tests.support.images.platforms import windows

OPTIONS = LowerOptions(build_platform=AMD64)


def lowered(text: str, /, platform: Platform = AMD64, **options: object) -> Lowered:
    dockerfile = parse(SourceText(name="Dockerfile", text=text))
    chosen = replace(OPTIONS, **options)
    return lower(dockerfile, platform, options=chosen, maker=GraphMaker(), images=IMAGES)


def history(text: str, **options: object) -> list[str]:
    return [entry.created_by for entry in lowered(text, AMD64, **options).config.history]


def run_config(text: str, **options: object) -> object:
    return lowered(text, AMD64, **options).config.run.to_json()


def names(image: Lowered) -> list[str]:
    return [vertex.name for vertex in walk([image.vertex]) if vertex.name]


def test_history_of_every_instruction() -> None:
    text = r"""
ARG GLOB=g1
FROM scratch
ARG GLOB
ARG A=1 B="two words" C
ENV X=1 Y="a b" Z=a\ b
ENV OLD old style value
LABEL a=b c="d e" multi=x
MAINTAINER me <me@x>
WORKDIR /app
WORKDIR sub
USER 1000:1000
WORKDIR other
EXPOSE 80 443/tcp 90-92/udp
VOLUME /v1 /v2
STOPSIGNAL SIGTERM
SHELL ["/bin/bash", "-c"]
HEALTHCHECK --interval=30s --timeout=3s --start-period=1m --start-interval=2s --retries=3 \
  CMD curl -f http://x || exit 1
RUN echo hi $A
RUN ["ls", "-l"]
COPY --chown=1:2 --chmod=755 a b* /dst/
COPY <<EOF <<F2 /hd/
x
EOF
y
F2
CMD echo hi "there"
ENTRYPOINT ["top", "-b"]
CMD ["x", "y\"z"]
ONBUILD RUN foo
"""
    seen = "|4 GLOB=g1 A=1 B=two words C="
    check = (
        "{Test:[CMD-SHELL curl -f http://x || exit 1] Interval:30s Timeout:3s StartPeriod:1m0s "
        "StartInterval:2s Retries:3}"
    )
    assert history(text) == [
        "ARG GLOB=g1",
        "ARG A=1 B=two words C",
        "ENV X=1 Y=a b Z=a b",
        "ENV OLD=old style value",
        "LABEL a=b c=d e multi=x",
        "MAINTAINER me <me@x>",
        "WORKDIR /app",
        "WORKDIR /app/sub",
        "USER 1000:1000",
        "WORKDIR /app/sub/other",
        "EXPOSE [443/tcp 80/tcp 90/udp 91/udp 92/udp]",
        "VOLUME [/v1 /v2]",
        "STOPSIGNAL SIGTERM",
        "SHELL [/bin/bash -c]",
        f"HEALTHCHECK {check}",
        f"RUN {seen} /bin/bash -c echo hi $A # buildkit",
        f"RUN {seen} ls -l # buildkit",
        "COPY --chown=1:2 --chmod=755 a b* /dst/ # buildkit",
        "COPY <<EOF <<F2 /hd/ # buildkit",
        r'CMD ["/bin/bash" "-c" "echo hi \"there\""]',
        'ENTRYPOINT ["top" "-b"]',
        r'CMD ["x" "y\"z"]',
    ]


def test_config_over_a_base_keeps_what_it_does_not_change() -> None:
    assert run_config("FROM base\nENV A=1\nENV PATH=/x A=2") == {
        "Env": ["PATH=/x", "A=2"],
        "Cmd": ["sh"],
    }


def test_entrypoint_clears_the_base_command_only() -> None:
    assert run_config('FROM base\nENTRYPOINT ["e"]') == {"Env": [PATH], "Entrypoint": ["e"]}
    assert run_config('FROM base\nCMD ["c"]\nENTRYPOINT ["e"]') == {
        "Env": [PATH],
        "Cmd": ["c"],
        "ArgsEscaped": True,
        "Entrypoint": ["e"],
    }


def test_scratch_has_a_path_and_a_directory() -> None:
    assert run_config("FROM scratch") == {"Env": [PATH], "WorkingDir": "/"}


def test_the_later_of_arg_and_env_wins_in_run() -> None:
    image = lowered("FROM base\nENV FOO=env\nARG FOO=arg\nRUN x")
    op = image.vertex.op

    assert isinstance(op, ExecOp)
    assert "FOO=arg" in op.env
    assert run_config("FROM base\nENV FOO=env\nARG FOO=arg") == {
        "Env": [PATH, "FOO=env"],
        "Cmd": ["sh"],
    }


def test_values_of_one_line_see_what_was_before() -> None:
    assert run_config("FROM scratch\nENV A=1\nENV A=2 B=$A") == {
        "Env": [PATH, "A=2", "B=1"],
        "WorkingDir": "/",
    }


def test_args_pass_into_stages_built_from_a_stage() -> None:
    image = lowered("FROM base AS a\nARG V=1\nFROM a\nRUN x")
    assert isinstance(image.vertex.op, ExecOp)
    assert "V=1" in image.vertex.op.env


def test_onbuild_comes_first_and_leaves_the_config() -> None:
    image = lowered("FROM onbuild\nRUN two")

    assert [entry.created_by for entry in image.config.history] == [
        "base",
        "RUN /bin/sh -c one # buildkit",
        "COPY . /x # buildkit",
        "RUN /bin/sh -c two # buildkit",
    ]
    assert image.config.run.to_json() == {"Env": [PATH], "Cmd": ["sh"]}


def test_names_of_steps() -> None:
    text = "FROM base AS b\nRUN one\nFROM b\nCOPY --from=b /x /y\nWORKDIR $HOME/w"
    assert names(lowered(text)) == [
        f"[b 1/2] FROM base@{sha256(b'base linux/amd64')}",
        "[b 2/2] RUN one",
        "[stage-1 1/2] COPY --from=b /x /y",
        "[stage-1 2/2] WORKDIR /w",
    ]


@pytest.mark.parametrize("words", ["echo ${#A}", "echo ${A:1:2}", "echo ${A^^}", "echo ${A"])
def test_a_step_is_shown_as_written_where_only_the_shell_understands_it(words: str) -> None:
    assert names(lowered(f"FROM base\nENV A=1\nRUN {words}"))[-1] == f"[2/2] RUN {words}"


def test_names_of_a_crossing_stage() -> None:
    text = (
        "FROM --platform=$BUILDPLATFORM base AS b\nRUN x\nARG TARGETARCH TARGETVARIANT\nRUN y\n"
        "FROM base\nARG TARGETPLATFORM\nCOPY --from=b /x /y"
    )
    image = lowered(text, ARM, is_multi_platform=True)

    shown = {each.partition(" FROM")[0] for each in names(image)}
    assert shown == {
        "[linux/amd64 b 1/3]",
        "[linux/amd64 b 2/3] RUN x",
        "[linux/amd64->arm/v7 b 3/3] RUN y",
        "[linux/arm/v7 stage-1 1/2]",
        "[linux/arm/v7 stage-1 2/2] COPY --from=b /x /y",
    }


def test_platforms_share_what_is_equal() -> None:
    dockerfile = parse(
        SourceText(
            name="Dockerfile", text="FROM scratch AS a\nCOPY a /\nFROM base\nCOPY --from=a / /"
        )
    )
    maker = GraphMaker()
    one, other = (
        lower(dockerfile, platform, options=OPTIONS, maker=maker, images=IMAGES)
        for platform in (AMD64, ARM64)
    )

    assert one.vertex.digest != other.vertex.digest
    assert one.vertex.inputs[1] is other.vertex.inputs[1]


def test_explicit_platform_decides_the_config() -> None:
    assert lowered("FROM scratch", ARM, is_explicit=True).config.platform.variant == "v7"


@pytest.mark.parametrize("is_explicit", [False, True])
def test_nothing_has_no_platform_of_its_own(*, is_explicit: bool) -> None:
    image = lowered("FROM --platform=linux/arm64 scratch", AMD64, is_explicit=is_explicit)

    assert image.config.platform.architecture == "amd64"


def test_copy_from_an_image_is_for_the_stages_platform() -> None:
    vertex = lowered("FROM scratch\nCOPY --from=base /a /b", ARM64).vertex.inputs[1]
    assert isinstance(vertex.op, ImageOp)
    assert vertex.op.platform == ARM64


def test_destinations_are_relative_to_the_workdir() -> None:
    vertex = lowered("FROM scratch\nWORKDIR /w\nCOPY a b ./c/").vertex
    assert isinstance(vertex.op, FileOp)
    (action,) = vertex.op.actions
    assert isinstance(action, CopyAction)
    assert action.destination == "/w/c/"


def test_link_is_merged() -> None:
    vertex = lowered("FROM base\nCOPY --link a /b").vertex
    assert isinstance(vertex.op, MergeOp)
    assert isinstance(vertex.inputs[0].op, ImageOp)


@pytest.mark.parametrize(
    "text",
    [
        "FROM base\nCOPY --link --chown=root:7 a b",
        "FROM scratch\nCOPY --chown=root a b",
        "FROM scratch\nCOPY a b\nCOPY --chown=bob a b",
        "FROM base\nCOPY --link --chown=bob --chmod=644 a b",
        "FROM base\nUSER bob\nWORKDIR /w",
    ],
)
def test_owners_that_need_no_lookup_or_have_a_place_for_it(text: str) -> None:
    assert lowered(text).vertex.inputs


def test_a_document_in_a_directory_is_refused() -> None:
    with pytest.raises(DockerfileError, match="for the here-document 'a/b': no such directory"):
        lowered("FROM scratch\nCOPY <<a/b /x/\ntext\na/b\n")


def test_no_cache_is_not_for_workdir() -> None:
    image = lowered("FROM base\nWORKDIR /w\nCOPY a b\n", no_cache=True)

    assert image.vertex.ignore_cache
    assert not image.vertex.inputs[0].ignore_cache


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM scratch\nEXPOSE x", "invalid containerPort: x$"),
        ("FROM scratch\nSTOPSIGNAL NOPE", "invalid signal: NOPE"),
        ("FROM scratch\nRUN --network=host x", "network.host is not allowed"),
        ("FROM scratch\nRUN --security=insecure x", "security.insecure is not allowed"),
        ("FROM scratch\nCOPY --from=3 a b", "invalid stage index 3"),
        ("FROM ${NOTHING}", "should not be blank"),
        ("FROM --platform=nope/nope/nope/nope base", "failed to parse platform"),
        ("FROM base\nCOPY --link --chown=bob a b", "invalid user index: -1"),
        ("FROM scratch\nCOPY --chown=1:staff a b", "invalid user index: -1"),
        ("FROM scratch\nUSER bob\nWORKDIR /w", "invalid user index: -1"),
        ("FROM scratch\nCOPY --chmod=8 a b", "it should be octal string and between 0 and 07777"),
        ("FROM scratch\nCOPY --chmod=u=q a b", "invalid chmod parameter: 'u=q': invalid syntax"),
    ],
)
def test_refusals_have_a_place(text: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message) as error:
        lowered(text)
    assert error.value.line == text.count("\n") + 1


def test_missing_base_has_a_place() -> None:
    with pytest.raises(NotFound) as error:
        lowered("FROM scratch AS a\nFROM nowhere")
    assert error.value.line == 2


def test_windows_paths_are_written_both_ways() -> None:
    text = "FROM scratch\nCOPY a b\\\\c\nWORKDIR C:\\\\w\nCOPY a x\n"

    image = lowered(text, windows())

    copies = [
        action.destination
        for vertex in walk([image.vertex])
        if isinstance(vertex.op, FileOp)
        for action in vertex.op.actions
        if isinstance(action, CopyAction)
    ]
    assert copies == ["/b/c", "/w/x"]
    assert image.config.run.to_json() == {"WorkingDir": "\\w"}


COMMIT = "0123456789" * 4
DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("source", "op"),
    [
        (
            "http://host/a/b%20c.txt?q#f",
            HttpOp(url="http://host/a/b%20c.txt?q#f", filename="b c.txt"),
        ),
        ("https://host/", HttpOp(url="https://host/", filename="__unnamed__")),
        (
            f"--checksum={DIGEST} http://host/a",
            HttpOp(url="http://host/a", filename="a", checksum=DIGEST),
        ),
        ("https://host/it.git#x:y", GitOp(remote="https://host/it.git", ref="x", subdir="y")),
        ("me@host:it.git", GitOp(remote="me@host:it.git")),
        (
            "--keep-git-dir https://host/it.git",
            GitOp(remote="https://host/it.git", keep_git_dir=True),
        ),
        (
            f"--checksum={COMMIT} https://host/it.git",
            GitOp(remote="https://host/it.git", checksum=COMMIT),
        ),
    ],
)
def test_add_of_other_machines(source: str, op: HttpOp | GitOp) -> None:
    image = lowered(f"FROM scratch\nADD {source} /x/\n")

    assert image.vertex.inputs[1].op == op
    assert isinstance(image.vertex.op, FileOp)
    (action,) = image.vertex.op.actions
    assert isinstance(action, CopyAction)
    name = op.filename if isinstance(op, HttpOp) else "/"
    assert (action.sources, action.destination, action.unpack) == ((name,), "/x/", False)
    assert action.is_literal


def test_add_keeps_the_order_of_its_sources() -> None:
    image = lowered("FROM scratch\nADD a b http://host/c d /x/\n")

    assert isinstance(image.vertex.op, FileOp)
    copies = [each for each in image.vertex.op.actions if isinstance(each, CopyAction)]
    assert [(each.input, each.sources) for each in copies] == [
        (1, ("a", "b")),
        (2, ("c",)),
        (1, ("d",)),
    ]
    assert history("FROM scratch\nADD a http://host/c /x/") == [
        "ADD a http://host/c /x/ # buildkit"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ADD --checksum=abc http://host/a /", "invalid checksum 'abc'"),
        (f"ADD --checksum={DIGEST} a /", "checksum requires HTTP"),
        (f"ADD --checksum={DIGEST} http://host/a http://host/b /", "multiple sources"),
        (f"ADD --checksum={COMMIT} https://host/it.git?commit=ab /", "checksum mismatch"),
        ("ADD https://host/it.git?nonsense=1 /", 'unexpected query "nonsense"'),
        ("COPY http://host/a /", "source can't be a URL for COPY"),
        ("COPY https://host/it.git /", "source can't be a git ref for COPY"),
    ],
)
def test_bad_addresses(text: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message) as error:
        lowered(f"FROM scratch\n{text}\n")
    assert error.value.line == 2


DEVICES = "FROM base\nRUN --device=a/b=c --device=d/e,required true\n"


def test_devices_are_chosen_by_who_knows_them() -> None:
    asked: list[Device] = []

    def grant(devices: Sequence[Device]) -> tuple[str, ...]:
        asked.extend(devices)
        return ("a/b=c", "d/e=f")

    op = lowered(DEVICES, grant_devices=grant).vertex.op

    assert asked == [Device(name="a/b=c"), Device(name="d/e", required=True)]
    assert isinstance(op, ExecOp)
    assert op.devices == ("a/b=c", "d/e=f")


def test_a_device_that_is_refused_is_so_by_line() -> None:
    def refuse(devices: Sequence[Device]) -> tuple[str, ...]:
        raise InputError(f"device {devices[0].name} is not allowed")

    with pytest.raises(InputError, match="device a/b=c is not allowed") as error:
        lowered(DEVICES, grant_devices=refuse)
    assert error.value.line == 2


def exec_op(text: str, **options: Any) -> ExecOp:
    op = lowered(text, **options).vertex.op
    assert isinstance(op, ExecOp)
    return op


@pytest.mark.parametrize(
    ("mount", "identifier", "target"),
    [
        ("source=a/b", "a/b", "/run/secrets/b"),
        ("id=a/b", "a/b", "/run/secrets/b"),
        ("target=/x/y", "y", "/x/y"),
        ("source=a,target=y", "a", "/w/y"),
    ],
)
def test_what_a_secret_is_called_and_where_it_is(mount: str, identifier: str, target: str) -> None:
    text = f"FROM base\nWORKDIR /w\nRUN --mount=type=secret,{mount} true\n"

    assert exec_op(text).mounts == (SecretMount(id=identifier, target=target),)


def test_a_secret_variable_is_masked_in_the_name_of_its_step() -> None:
    text = "FROM base\nENV A=a B=b\nRUN --mount=type=secret,id=s,env=A echo $A $B\n"

    assert lowered(text).vertex.name.endswith("echo **** b")


def test_an_agent_has_no_source() -> None:
    with pytest.raises(DockerfileError, match="ssh does not support source") as error:
        lowered("FROM base\nRUN --mount=type=ssh,source=a true\n")
    assert error.value.line == 2


def test_a_cache_with_an_owner_is_a_directory_of_where_it_comes_from() -> None:
    text = "FROM base AS x\nFROM base\nRUN --mount=type=cache,target=/c,from=x,uid=5 true\n"

    vertex = lowered(text).vertex
    op = vertex.op
    assert isinstance(op, ExecOp)
    mount = op.mounts[0]
    assert isinstance(mount, CacheMount)
    assert (mount.source, mount.input) == ("/cache", 1)
    made = vertex.inputs[1].op
    assert isinstance(made, FileOp)
    assert made.actions == (MkdirAction(path="/cache", owner="5:0"),)
    assert isinstance(vertex.inputs[1].inputs[0].op, ImageOp)


def test_a_read_only_file_system_in_memory() -> None:
    text = "FROM base\nRUN --mount=type=tmpfs,target=/t,size=1k,ro true\n"

    assert exec_op(text).mounts == (TmpfsMount(target="/t", size=1024, read_only=True),)
