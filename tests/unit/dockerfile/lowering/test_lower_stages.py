"""Lowering: what stages begin with, take from each other and from images, and are called."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from polyarch.dockerfile.lowering.lower import Lowered, lower
from polyarch.dockerfile.lowering.lowering import BaseImages, LowerOptions
from polyarch.dockerfile.parser import parse
from polyarch.errors import DockerfileError, InvalidReference, NotFound
from polyarch.graph.graph import GraphMaker, walk
from polyarch.graph.location import SourceText
from polyarch.graph.op import ExecOp, FileOp, ImageOp, LocalOp, MkdirAction
from polyarch.oci.base import BaseImage
from polyarch.oci.config import ImageConfig, RunConfig
from polyarch.platforms import Platform
from polyarch.record import replace
from tests.support.dockerfiles.lowering import AMD64, ARM64, IMAGES, PATH, Images
from tests.support.images.platforms import windows

OPTIONS = LowerOptions(build_platform=AMD64)


@dataclass
class Whole:
    """An image with a whole config of its own, whatever it is called."""

    config: Mapping[str, object] = field(default_factory=dict)

    def resolve(self, reference: str, platform: Platform) -> BaseImage:
        base = Images({reference: {}}).resolve(reference, platform)
        config = ImageConfig.from_json({**base.config.to_json(), **self.config})
        return replace(base, config=config)


def lowered(
    text: str, /, platform: Platform = AMD64, images: BaseImages = IMAGES, **options: object
) -> Lowered:
    dockerfile = parse(SourceText(name="Dockerfile", text=text))
    chosen = replace(OPTIONS, **options)
    return lower(dockerfile, platform, options=chosen, maker=GraphMaker(), images=images)


def names(image: Lowered) -> list[str]:
    return [vertex.name for vertex in walk([image.vertex]) if vertex.name]


def history(image: Lowered) -> list[object]:
    return [entry.created_by for entry in image.config.history]


def platforms_of_images(image: Lowered) -> list[Platform]:
    return [each.op.platform for each in walk([image.vertex]) if isinstance(each.op, ImageOp)]


# --- platforms ---


def test_nothing_has_the_platform_of_the_result() -> None:
    image = lowered("FROM --platform=linux/arm64 scratch\nENV A=1")
    assert image.config.platform.architecture == "amd64"


def test_images_copied_from_are_for_the_target_whatever_the_stage_runs_on() -> None:
    text = "FROM --platform=$BUILDPLATFORM scratch AS a\nCOPY --from=base /x /\n"
    assert platforms_of_images(lowered(text, ARM64)) == [ARM64]
    text = "FROM --platform=$BUILDPLATFORM base\nRUN --mount=from=base,target=/m x\n"
    assert platforms_of_images(lowered(text, ARM64)) == [AMD64, ARM64]


def test_a_platform_that_is_empty_is_refused_even_if_nobody_needs_the_stage() -> None:
    text = "FROM --platform=$TARGETPLATFROM base AS unused\nFROM scratch\n"
    with pytest.raises(DockerfileError) as caught:
        lowered(text)
    assert caught.value.line == 1
    assert str(caught.value) == (
        "empty platform value from expression $TARGETPLATFROM (did you mean TARGETPLATFORM?)"
    )


def test_a_blank_base_is_refused_even_if_nobody_needs_the_stage() -> None:
    with pytest.raises(DockerfileError, match=r"base name \(\$X\) should not be blank"):
        lowered("FROM $X\nFROM scratch\n")


def test_a_windows_stage_has_its_own_shell_and_no_path() -> None:
    image = lowered("FROM scratch\nCMD echo x", windows())
    assert image.config.run.to_json() == {
        "WorkingDir": "\\",
        "Cmd": ["cmd", "/S", "/C", "echo x"],
        "ArgsEscaped": True,
    }


WINDOWS_BASE = Whole({"os": "windows", "architecture": "amd64", "os.version": "10.0.1"})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("FROM x AS a\nENV A=1\nFROM a\nCOPY a /\n", 4),
        ("FROM x\nWORKDIR /w\n", 2),
        ("FROM scratch\nCOPY --from=x a /\n", 2),
        ("FROM scratch\nRUN --mount=from=x,target=/m y\n", 2),
    ],
)
def test_files_of_windows_images_are_refused(text: str, line: int) -> None:
    with pytest.raises(DockerfileError, match="files of a Windows image can't") as caught:
        lowered(text, images=WINDOWS_BASE)
    assert caught.value.line == line


def test_a_windows_image_can_be_configured() -> None:
    image = lowered("FROM x\nENV A=1\n", windows(), images=WINDOWS_BASE, is_explicit=True)
    assert (image.config.platform.os_version, image.config.history[-1].created_by) == (
        "10.0.1",
        "ENV A=1",
    )


# --- names ---


def test_a_base_with_capitals_is_no_stage() -> None:
    class Strict:
        def resolve(self, reference: str, platform: Platform) -> BaseImage:
            raise InvalidReference(f"invalid reference format: {reference} {platform}")

    with pytest.raises(DockerfileError, match='failed to parse stage name "Build"') as caught:
        lowered("FROM scratch AS Build\nFROM Build\n", images=Strict())
    assert caught.value.line == 2


def test_copy_finds_stages_however_they_are_written() -> None:
    image = lowered("FROM scratch AS a\nCOPY x /\nFROM scratch\nCOPY --from=A /x /y\n")
    assert "[a 1/1] COPY x /" in names(image)


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("FROM scratch\nCOPY --from=9 a b\nFROM scratch\n", "invalid stage index 9", 2),
        ("FROM scratch\nCOPY --from=$A a b\nFROM scratch\n", "variable expansion is not", 2),
        ("FROM scratch AS a\nCOPY --from=a a b\nFROM scratch\n", "circular dependency", 2),
    ],
)
def test_stages_that_nobody_needs_have_to_be_right(text: str, message: str, line: int) -> None:
    with pytest.raises(DockerfileError, match=message) as caught:
        lowered(text)
    assert caught.value.line == line


def test_a_dockerfile_without_stages() -> None:
    with pytest.raises(DockerfileError, match=r"^dockerfile contains no stages to build$"):
        lowered("ARG a\n")


def test_a_misspelt_image_gets_a_suggestion() -> None:
    with pytest.raises(NotFound, match=r"not found \(did you mean alpine:latest\?\)$"):
        lowered("FROM apline:latest\n")


def test_steps_of_the_only_stage_do_not_tell_its_name() -> None:
    assert names(lowered("FROM scratch AS build\nCOPY a /\n"))[-1] == "[1/1] COPY a /"


def test_an_image_that_is_copied_from_counts_as_another_stage() -> None:
    image = lowered("FROM scratch\nCOPY --from=base a /\n")
    assert names(image)[-1] == "[stage-0 1/1] COPY --from=base a /"


@pytest.mark.parametrize(
    "mount",
    [
        "type=bind,target=/c",
        "type=cache,target=/c",
        "type=tmpfs,target=/c",
        "type=secret,id=x",
        "type=ssh",
        "target=/c,from=base",
        "target=/c,from=scratch",
    ],
)
def test_a_mount_that_is_of_no_stage_counts_as_another_stage(mount: str) -> None:
    image = lowered(f"FROM base\nCOPY a /\nRUN --mount={mount} x\n")
    assert names(image)[-1].startswith("[stage-0 3/3] RUN --mount=")


def test_a_mount_of_a_stage_is_no_stage_more() -> None:
    image = lowered("FROM base AS a\nFROM a AS b\nRUN --mount=from=a,target=/c x\n", target="b")
    assert names(image)[-1].startswith("[b 1/1] RUN --mount=")


def test_steps_are_shown_as_they_are_carried_out() -> None:
    text = 'FROM scratch\nENV A=1\ncopy "$A" "$B"x /\nrun echo "$A" $B ${A^^}\n'
    assert names(lowered(text))[-2:] == ["[1/2] COPY 1 x /", '[2/2] RUN echo "$A" $B ${A^^}']


def test_no_cache_filter_knows_names_only() -> None:
    text = "FROM scratch\nCOPY a /\nFROM scratch AS x\nCOPY --from=0 a /\n"
    image = lowered(text, no_cache_stages=frozenset({"0", "x"}))
    ignored = [each.name for each in walk([image.vertex]) if each.ignore_cache]
    assert ignored == ["[x 1/1] COPY --from=0 a /"]


# --- triggers ---


def test_steps_of_triggers_are_marked() -> None:
    assert names(lowered("FROM onbuild\nRUN two"))[1:] == [
        "[2/4] ONBUILD RUN one",
        "[internal] load build context",
        "[3/4] ONBUILD COPY . /x",
        "[4/4] RUN two",
    ]


def test_triggers_of_a_stage_run_in_the_stage_from_it_only() -> None:
    text = "FROM base AS a\nONBUILD ENV X=1\nENV Y=$X\nFROM a AS b\nENV Z=$X\nFROM b\nENV W=2"
    image = lowered(text)
    assert history(image) == ["base", "ENV Y=", "ENV X=1", "ENV Z=1", "ENV W=2"]
    assert not image.config.run.on_build


def test_all_triggers_count_as_steps() -> None:
    text = "FROM scratch AS a\nONBUILD ENV X=1\nONBUILD COPY a /\nFROM a\nCOPY b /\n"
    assert names(lowered(text))[-1] == "[stage-1 2/3] COPY b /"


def test_a_trigger_may_take_from_an_earlier_stage_and_declare() -> None:
    text = (
        "FROM scratch AS files\nCOPY x /\nFROM scratch AS a\nONBUILD ARG V=2\n"
        "ONBUILD COPY --from=files /x /y\nFROM a\nENV V2=$V\n"
    )
    image = lowered(text)
    assert history(image) == ["ARG V=2", "COPY /x /y # buildkit", "ENV V2=2"]
    assert "[files 1/1] COPY x /" in names(image)


def test_a_trigger_keeps_its_here_document() -> None:
    text = "FROM base AS a\nONBUILD RUN <<E\none\ntwo\nE\nFROM a\n"
    assert history(lowered(text))[-1] == "RUN /bin/sh -c one\ntwo\n # buildkit"


# --- build contexts ---


def test_a_context_stands_in_for_the_target_and_its_instructions() -> None:
    image = lowered("FROM base AS x\nRUN one\n", contexts={"x": "/directory"}, target="x")
    assert history(image) == []
    assert [each.op for each in walk([image.vertex]) if isinstance(each.op, LocalOp)]
    image = lowered(
        "FROM scratch AS x\nRUN one\n", contexts={"x": "docker-image://onbuild"}, target="x"
    )
    assert history(image) == ["base"]


def test_a_context_may_be_nothing() -> None:
    image = lowered("FROM base\nENV A=1", contexts={"base": "docker-image://scratch"})
    assert platforms_of_images(image) == []


@pytest.mark.parametrize("name", ["scratch", "context", "CONTEXT"])
def test_names_that_no_context_takes(name: str) -> None:
    text = f"FROM scratch AS {name}\nCOPY a /\nFROM scratch\nCOPY --from={name} a /\n"
    image = lowered(text, contexts={name.lower(): "docker-image://base"})
    assert platforms_of_images(image) == []


# --- what a base's config means ---


def test_the_base_is_normalized() -> None:
    base = Whole({"architecture": "arm64", "variant": "v8", "docker_version": "1", "author": "me"})
    image = lowered("FROM x", ARM64, images=base)
    assert image.config == ImageConfig(
        platform=ARM64,
        run=RunConfig(env=(PATH,), cmd=("sh",)),
        history=image.config.history,
        author="me",
    )


def test_a_relative_directory_of_the_base_becomes_absolute() -> None:
    image = lowered("FROM x\nWORKDIR y", images=Whole({"config": {"WorkingDir": "/w/"}}))
    assert image.config.run.working_dir == "/w/y"
    image = lowered("FROM x", images=Whole({"config": {"WorkingDir": "w"}}))
    assert image.config.run.working_dir.startswith("/")


def test_the_config_of_the_base_stage_goes_before_its_arguments() -> None:
    text = "FROM base AS a\nENV X=env\nARG X=arg\nRUN one\nFROM a\nRUN two\n"
    env = [
        dict(each.partition("=")[::2] for each in vertex.op.env)["X"]
        for vertex in walk([lowered(text).vertex])
        if isinstance(vertex.op, ExecOp)
    ]
    assert env == ["arg", "env"]


def test_what_is_set_last_is_last_in_the_environment() -> None:
    image = lowered("FROM base\nENV A=1 B=2\nARG C=3\nENV A=4\nRUN x\n")
    assert isinstance(image.vertex.op, ExecOp)
    assert image.vertex.op.env[-3:] == ("B=2", "C=3", "A=4")
    assert image.config.run.env[1:] == ("A=4", "B=2")


def test_of_doubles_in_the_base_env_replaces_the_first() -> None:
    base = Whole({"config": {"Env": ["PATH=/p", "A=1", "A=2"]}})
    image = lowered("FROM x\nENV A=3", images=base)
    assert image.config.run.env == ("PATH=/p", "A=3", "A=2")


def made(image: Lowered) -> object:
    assert isinstance(image.vertex.op, FileOp)
    (action,) = image.vertex.op.actions
    assert isinstance(action, MkdirAction)
    return action.path


def test_an_absolute_directory_stays_as_it_is_written() -> None:
    image = lowered("FROM scratch\nWORKDIR /a/../b//\n")
    assert image.config.run.working_dir == "/a/../b//"
    assert history(image) == ["WORKDIR /a/../b//"]
    assert made(image) == "/b"


def test_a_relative_directory_is_cleaned() -> None:
    image = lowered("FROM scratch\nWORKDIR /a/\nWORKDIR ../b/./c/\n")
    assert history(image) == ["WORKDIR /a/", "WORKDIR /b/c"]


def test_a_directory_that_expands_to_nothing_is_the_one_before() -> None:
    assert history(lowered("FROM scratch\nWORKDIR $A\nWORKDIR /x\nWORKDIR $A\n")) == [
        "WORKDIR /",
        "WORKDIR /x",
        "WORKDIR /x",
    ]


@pytest.mark.parametrize("text", ["WORKDIR d:\\\\x", "COPY a d:\\\\x\\\\"])
def test_a_directory_of_another_drive_is_refused(text: str) -> None:
    with pytest.raises(DockerfileError, match="not on the system drive") as caught:
        lowered(f"FROM scratch\n{text}\n", windows())
    assert caught.value.line == 2


# --- instructions ---


def test_an_empty_command_is_left_out() -> None:
    image = lowered("FROM base\nCMD []\nENTRYPOINT []\n")
    assert image.config.run.to_json().keys() == {"Env", "ArgsEscaped"}
    assert history(image)[1:] == ["CMD []", "ENTRYPOINT []"]


def test_ranges_of_ports_stay_together() -> None:
    assert history(lowered("FROM scratch\nEXPOSE 9-11 80 1:443/TCP 80\n")) == [
        "EXPOSE [443/tcp 80/tcp 80/tcp 9/tcp 10/tcp 11/tcp]"
    ]


@pytest.mark.parametrize("signal", ["9", "-9", "+9", "sigterm", "RTMIN+15", "SIGRTMAX-14", "CLD"])
def test_signals(signal: str) -> None:
    image = lowered(f"FROM scratch\nSTOPSIGNAL {signal}\n")
    assert image.config.run.stop_signal == signal


@pytest.mark.parametrize("signal", ["0", "RTMIN+16", "RTMAX-15", "RTMIN-1", "UNUSED", "1.5"])
def test_texts_that_are_no_signal(signal: str) -> None:
    with pytest.raises(DockerfileError, match=r"^invalid signal: "):
        lowered(f"FROM scratch\nSTOPSIGNAL {signal}\n")


# --- arguments ---


def test_the_date_of_the_build_is_a_number_in_stages() -> None:
    text = "FROM scratch\nARG SOURCE_DATE_EPOCH\nENV A=$SOURCE_DATE_EPOCH\n"
    named = {"SOURCE_DATE_EPOCH": "context"}
    assert history(lowered(text, build_args=named, epoch=77)) == [
        "ARG SOURCE_DATE_EPOCH=77",
        "ENV A=77",
    ]
    assert history(lowered(text, build_args=named))[0] == "ARG SOURCE_DATE_EPOCH"


def test_the_date_in_the_dockerfile_is_a_number_too() -> None:
    text = "ARG SOURCE_DATE_EPOCH=src\nFROM scratch\nARG SOURCE_DATE_EPOCH\n"
    assert history(lowered(text, epoch=5)) == ["ARG SOURCE_DATE_EPOCH=5"]


def test_of_two_spellings_of_a_proxy_the_small_one_counts() -> None:
    given = {"http_proxy": "small", "HTTP_PROXY": "capital"}
    image = lowered("FROM base\nRUN x\n", build_args=given)
    assert isinstance(image.vertex.op, ExecOp)
    assert image.vertex.op.proxy_env == ("HTTP_PROXY=small", "http_proxy=small")


def test_options_for_scanners_are_no_variables() -> None:
    text = "FROM base\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN echo $BUILDKIT_SBOM_SCAN_STAGE\n"
    image = lowered(text)
    assert history(image)[1:] == [
        "ARG BUILDKIT_SBOM_SCAN_STAGE=true",
        "RUN |1 BUILDKIT_SBOM_SCAN_STAGE=true /bin/sh -c echo $BUILDKIT_SBOM_SCAN_STAGE # buildkit",
    ]
    assert isinstance(image.vertex.op, ExecOp)
    assert not any(each.startswith("BUILDKIT_SBOM") for each in image.vertex.op.env)


def test_a_stage_that_comes_later_can_not_be_copied_from() -> None:
    text = "FROM scratch\nCOPY --from=B a /\nFROM scratch AS b\nFROM scratch\nCOPY --from=0 x /\n"
    with pytest.raises(DockerfileError) as caught:
        lowered(text)
    assert (str(caught.value), caught.value.line) == (
        'cannot copy from stage "B", it needs to be defined before current stage "stage-0"',
        2,
    )


def test_a_stage_that_comes_later_can_not_be_mounted() -> None:
    text = "FROM base AS a\nRUN --mount=from=b,target=/m x\nFROM scratch AS b\nFROM a\n"
    with pytest.raises(DockerfileError, match='cannot mount from stage "b", stage needs') as caught:
        lowered(text)
    assert caught.value.line == 2
