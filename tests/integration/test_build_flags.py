"""Flags of `build` that are about the result, each by what it does; most need no step to be run."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.images.contents import describe
from tests.support.images.layouts import read_archive
from tests.support.machine.programs import Ended, Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

ARCHIVE = ("-o", "type=oci,dest=image.tar")
TWO = "--platform=linux/amd64,linux/arm64"
SOLVE = "ERROR: failed to build: failed to solve: "


@pytest.fixture
def who(root: Person) -> Person:
    root.write(
        "Dockerfile", "FROM scratch\nARG A B\nCOPY file /\nLABEL a=$A b=${B-unset} given=no\n"
    )
    root.write("file", "content\n")
    return root


def built(who: Person, *words: str) -> dict[str, Any]:
    """Build, and return the image or the images by platform."""
    who.run("build", *ARCHIVE, *words, ".").check()
    return describe(who.work / "image.tar", frozenset())


def labels(who: Person, *words: str) -> dict[str, str]:
    (image,) = built(who, *words).values()
    return dict(image["config"]["Labels"])


def root_digest(who: Person) -> str:
    files = read_archive((who.work / "image.tar").read_bytes())
    return str(json.loads(files["index.json"])["manifests"][0]["digest"])


def refused(who: Person, *words: str) -> str:
    ended = who.run("build", *words, ".")
    assert ended.status == 1
    return ended.complaint()


# --- arguments, labels, platforms ---


def test_an_argument_without_a_value_has_that_of_the_environment(who: Person) -> None:
    who.environ["A"] = "from outside"

    assert labels(who, "--build-arg", "A", "--build-arg", "B")["a"] == "from outside"


def test_an_argument_that_the_environment_lacks_is_not_given(who: Person) -> None:
    assert labels(who, "--build-arg", "B")["b"] == "unset"


def test_an_empty_argument_is_given(who: Person) -> None:
    assert labels(who, "--build-arg", "B=")["b"] == ""


def test_labels_of_the_command_line_win(who: Person) -> None:
    found = labels(who, "--label", "given=yes=really", "--label", "bare")

    assert found == {"a": "", "b": "unset", "given": "yes=really", "bare": ""}


def test_the_default_platform_is_that_of_the_environment(who: Person) -> None:
    who.environ["DOCKER_DEFAULT_PLATFORM"] = "linux/riscv64"

    assert list(built(who)) == ["linux/riscv64"]
    assert list(built(who, "--platform", "linux/s390x")) == ["linux/s390x"]


def test_platforms_are_normalised_and_may_be_repeated(who: Person) -> None:
    words = ("--platform", "linux/arm64/v8,linux/arm", "--platform", "linux/aarch64")
    who.run("build", *ARCHIVE, *words, ".").check()

    blob = root_digest(who).replace(":", "/")
    index = json.loads(read_archive((who.work / "image.tar").read_bytes())[f"blobs/{blob}"])
    platforms = ["/".join(each["platform"].values()) for each in index["manifests"]]
    assert platforms == ["arm64/linux", "arm/linux/v7", "arm64/linux"]


# --- files for scripts ---


def test_the_image_id_is_the_digest_of_the_config(who: Person) -> None:
    image = built(who, "--iidfile", "id", "--metadata-file", "metadata")

    found = json.loads((who.work / "metadata").read_text())
    assert image
    assert (who.work / "id").read_text() == found["containerimage.config.digest"]
    assert found["containerimage.digest"] == root_digest(who)


def test_the_image_id_of_several_platforms_is_the_digest_of_the_index(who: Person) -> None:
    built(who, TWO, "--iidfile", "id", "--metadata-file", "metadata")

    found = json.loads((who.work / "metadata").read_text())
    assert (who.work / "id").read_text() == found["containerimage.digest"] == root_digest(who)
    assert "containerimage.config.digest" not in found


def test_an_image_id_of_before_is_gone_when_a_build_fails(who: Person) -> None:
    who.write("id", "old")
    who.write("Dockerfile", "FROM scratch\nCOPY nowhere /\n")

    assert who.run("build", *ARCHIVE, "--iidfile", "id", ".").status == 1
    assert not (who.work / "id").exists()


@pytest.mark.parametrize("kind", ["local", "tar"])
def test_files_have_no_image_id(who: Person, kind: str) -> None:
    assert refused(who, "-o", f"type={kind},dest=out", "--iidfile", "id") == (
        "ERROR: local and tar exporters are incompatible with image ID file\n"
        "hint: files have no image ID: leave --iidfile out, or write an image: -o type=oci,dest=FILE\n"
    )


def test_an_image_id_may_go_to_a_pipe(who: Person) -> None:
    ended = who.run("build", "-q", *ARCHIVE, "--iidfile", "/dev/stdout", ".").check()

    assert re.fullmatch(r"(sha256:[0-9a-f]{64})\1\n", ended.out)
    assert Path("/dev/stdout").is_symlink()


def test_metadata_says_what_was_made(who: Person) -> None:
    built(who, "-t", "you/app:1", "-t", "example.org/app", "--metadata-file", "metadata")

    path = who.work / "metadata"
    found = json.loads(path.read_text())
    assert path.read_text() == json.dumps(found, indent=2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(found) == sorted(found)
    assert found.pop("buildx.build.ref").startswith("default/default/")
    descriptor = found.pop("containerimage.descriptor")
    assert descriptor["digest"] == found.pop("containerimage.digest")
    assert descriptor["platform"] == {"architecture": "amd64", "os": "linux"}
    assert found.pop("containerimage.config.digest").startswith("sha256:")
    provenance = found.pop("buildx.build.provenance")
    assert provenance["invocation"]["parameters"]["frontend"] == "dockerfile.v0"
    assert provenance.keys() == {"builder", "buildType", "invocation"}
    assert found == {"image.name": "docker.io/you/app:1,example.org/app:latest"}


def test_quiet_prints_the_image_id_alone(who: Person) -> None:
    ended = who.run("build", "-q", *ARCHIVE, "--iidfile", "id", ".").check()

    assert (ended.out, ended.err) == ((who.work / "id").read_text() + "\n", "")


def test_quiet_prints_an_empty_line_where_there_is_no_image(who: Person) -> None:
    ended = who.run("build", "-q", "-o", "out", ".").check()

    assert (ended.out, ended.err) == ("\n", "")


@pytest.mark.parametrize("mode", ["plain", "rawjson", "tty", "none"])
def test_quiet_contradicts_other_displays(who: Person, mode: str) -> None:
    assert refused(who, "-q", "--progress", mode) == (
        f"ERROR: progress={mode} and quiet cannot be used together\n"
    )


# --- displays ---


def test_the_display_is_that_of_the_environment_unless_one_is_chosen(who: Person) -> None:
    who.environ["BUILDKIT_PROGRESS"] = "rawjson"

    lines = who.run("build", *ARCHIVE, ".").check().err.splitlines()
    assert all(json.loads(line) for line in lines)
    chosen = who.run("build", "--progress=plain", *ARCHIVE, ".").check().err
    assert chosen.startswith("#0 building with")


def test_a_display_that_does_not_exist(who: Person) -> None:
    assert refused(who, "--progress", "plane").endswith(
        "ERROR: invalid progress mode plane\nhint: did you mean plain?\n"
    )


# --- cache ---


@pytest.fixture
def staged(root: Person, registry: RealRegistry) -> Person:
    """Two stages with a step each; built once."""
    base = f"{registry.host}/library/busybox"
    root.write(
        "Dockerfile",
        f"FROM {base} AS One\nRUN echo one > /one\n"
        f"FROM {base} AS two\nRUN echo two > /two\nCOPY --from=one /one /\n",
    )
    root.run("build", *ARCHIVE, ".").check()
    return root


def cached(ended: Ended) -> set[str]:
    """The RUN steps that were not run."""
    steps = dict(re.findall(r"^#(\d+) \[.*\] RUN echo (\w+)", ended.check().err, re.MULTILINE))
    return {name for number, name in steps.items() if f"#{number} CACHED\n" in ended.err}


def test_without_flags_all_steps_are_found_again(staged: Person) -> None:
    assert cached(staged.run("build", *ARCHIVE, ".")) == {"one", "two"}


def test_no_cache_runs_all_steps(staged: Person) -> None:
    assert cached(staged.run("build", "--no-cache", *ARCHIVE, ".")) == set()


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (("--no-cache-filter", "one"), {"two"}),
        (("--no-cache-filter", "TWO"), {"one"}),
        (("--no-cache-filter", "one,two"), set()),
        (("--no-cache-filter", "one", "--no-cache-filter", "two"), set()),
        (("--no-cache-filter", "three"), {"one", "two"}),
    ],
)
def test_the_cache_is_not_used_for_stages_that_are_named(
    staged: Person, words: tuple[str, ...], kept: set[str]
) -> None:
    assert cached(staged.run("build", *words, *ARCHIVE, ".")) == kept


# --- what is refused ---


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ("--shm-size", "much"),
            'ERROR: invalid argument "much" for "--shm-size" flag: invalid size: \'much\'\n',
        ),
        (
            ("--ulimit", "nofle=1"),
            (
                'ERROR: invalid argument "nofle=1" for "--ulimit" flag: invalid ulimit type: nofle\n'
                "hint: did you mean nofile?\n"
            ),
        ),
        (
            ("-o", "type=ocl,dest=x"),
            (
                f'{SOLVE}exporter "ocl" could not be found (did you mean oci?)\n'
                "hint: use one of cacheonly, docker, image, local, oci, registry, tar\n"
            ),
        ),
        (
            ("--secret", "id=x,src=nowhere"),
            "ERROR: failed to build: failed to stat nowhere: stat nowhere: no such file or directory\n",
        ),
        (
            ("--annotation", "index:a=b", *ARCHIVE),
            (
                f"{SOLVE}index annotations not supported for single platform export\n"
                "hint: annotate the manifest, or build for several platforms\n"
            ),
        ),
        (
            ("-t", "good", "-t", "Bad"),
            (
                'ERROR: failed to build: invalid tag "Bad": repository name must be lowercase\n'
                "hint: an image is named [registry/]repository[:tag][@sha256:digest], in lower case\n"
            ),
        ),
        (
            ("--label", "=x"),
            'ERROR: invalid key-value pair "=x": empty key\nhint: write NAME=value\n',
        ),
    ],
)
def test_values_that_make_no_sense(who: Person, words: tuple[str, ...], complaint: str) -> None:
    assert refused(who, *words).endswith(complaint)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ("--build-arg", "BUILDKIT_MULTI_PLATFORM=perhaps"),
            (
                f"{SOLVE}invalid boolean value for multi-platform: perhaps\n"
                "hint: give BUILDKIT_MULTI_PLATFORM as 1 or 0\n"
            ),
        ),
        (
            ("--build-arg", "BUILDKIT_MULTI_PLATFORM=0", TWO),
            (
                f"{SOLVE}conflicting config: returning multiple target platforms is not allowed\n"
                "hint: leave out --build-arg BUILDKIT_MULTI_PLATFORM=0, or build for one platform\n"
            ),
        ),
        (
            ("--annotation", "index-descriptor:a=b"),
            (
                f"{SOLVE}index annotations not supported for single platform export\n"
                "hint: annotate the manifest, or build for several platforms\n"
            ),
        ),
    ],
)
def test_what_contradicts_the_number_of_platforms(
    who: Person, words: tuple[str, ...], complaint: str
) -> None:
    assert refused(who, *ARCHIVE, *words).endswith(complaint)


@pytest.mark.parametrize(("chosen", "directories"), [("1", ["linux_amd64"]), ("0", ["file"])])
def test_one_platform_gets_a_directory_of_its_own_if_asked_for(
    who: Person, chosen: str, directories: list[str]
) -> None:
    argument = f"BUILDKIT_MULTI_PLATFORM={chosen}"
    who.run("build", "-o", "out", "--build-arg", argument, ".").check()

    assert [path.name for path in (who.work / "out").iterdir()] == directories


def test_a_secret_may_be_half_a_mebibyte_nearly(who: Person) -> None:
    who.write("most", "x" * (500 << 10))
    who.write("more", "x" * ((500 << 10) + 1))

    who.run("build", *ARCHIVE, "--secret", "id=a,src=most", ".").check()
    assert refused(who, "--secret", "id=a,src=more") == (
        "ERROR: failed to build: secret a too big. max size 500KB\n"
    )
