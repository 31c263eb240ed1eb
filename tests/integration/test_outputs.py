"""Every kind of output in its plain form, read by what others read it with; and the local store's commands."""

from __future__ import annotations

import json
import os
import re
import stat
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.fakes.dockerengine import WITH_CONTAINERD, fake_docker
from tests.support.machine.programs import Ended, Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

ONE = "--platform=linux/arm64"
THREE = "--platform=linux/arm,linux/arm64,linux/amd64"
# No step of it runs anything, so each platform costs nothing.
DOCKERFILE = """\
FROM scratch
ARG TARGETPLATFORM
COPY --chown=12:34 given /directory/
COPY given /$TARGETPLATFORM
LABEL kind=plain
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    who: Person
    host: str

    @property
    def work(self) -> Path:
        return self.who.work

    def __call__(self, *words: str) -> Ended:
        return self.who.run("build", *words, ".")

    def skopeo(self, *words: str) -> Ended:
        return self.who.run_other("skopeo", *words)

    def in_registry(self, name: str) -> bool:
        raw = ("inspect", "--raw", "--tls-verify=false", f"docker://{self.host}/{name}")
        return self.skopeo(*raw).status == 0


def _prepared(who: Person, registry: RealRegistry) -> Builder:
    who.write("Dockerfile", DOCKERFILE)
    who.write("given", "content\n", 0o640)
    return Builder(who=who, host=registry.host)


@pytest.fixture
def build(root: Person, registry: RealRegistry) -> Builder:
    return _prepared(root, registry)


@pytest.fixture
def build_as(who: Person, registry: RealRegistry) -> Builder:
    return _prepared(who, registry)


# --- images ---


def test_an_image_is_kept_and_not_pushed(build: Builder) -> None:
    output = f"type=image,name={build.host}/outputs/kept"
    build(ONE, "-o", output).check()

    shown = build.who.run("images", "--format", "{{.Name}} {{.Platforms}}").check().out
    assert shown == f"{build.host}/outputs/kept linux/arm64\n"
    assert not build.in_registry("outputs/kept")


@pytest.mark.parametrize(
    "words",
    [
        ("-o", "type=image,name={name},push=true"),
        ("-o", "type=registry,name={name}"),
        ("-t", "{name}", "-o", "type=registry"),
        ("-t", "{name}", "--push"),
        ("-t", "{name}", "-o", "type=local,dest=out", "--push"),
    ],
)
def test_ways_to_push(build: Builder, words: tuple[str, ...]) -> None:
    name = f"outputs/pushed-{len(words)}-{abs(hash(words)) % 1000}"
    build(ONE, *(word.format(name=f"{build.host}/{name}") for word in words)).check()

    assert build.in_registry(name)


def test_an_image_without_a_name(build: Builder) -> None:
    build(ONE, "-o", "type=image", "--metadata-file=m", "--iidfile=i").check()

    metadata = json.loads((build.work / "m").read_text())
    assert (build.work / "i").read_text() == metadata["containerimage.config.digest"]
    assert "image.name" not in metadata
    assert build.who.run("images", "--quiet").check().out == ""


def test_a_push_needs_a_name(build: Builder) -> None:
    refused = build(ONE, "--push")

    assert refused.status == 1
    assert "tag is needed when pushing to registry" in refused.err


# --- archives of images ---


def test_an_oci_archive(build: Builder) -> None:
    build(THREE, "-t", "a/b:v1", "-t", "c", "-o", "type=oci,dest=out.tar").check()

    with tarfile.open(build.work / "out.tar") as archive:
        members = archive.getmembers()
        opened = archive.extractfile("index.json")
        assert opened
        entries = json.load(opened)["manifests"]
    names = [each.name for each in members]
    assert names == sorted(names)
    assert {(each.uid, each.gid, each.mtime) for each in members} == {(0, 0, 0)}
    named = [each["annotations"]["io.containerd.image.name"] for each in entries]
    assert named == ["docker.io/a/b:v1", "docker.io/library/c:latest"]
    tags = [each["annotations"]["org.opencontainers.image.ref.name"] for each in entries]
    assert tags == ["v1", "latest"]


def test_archives_on_standard_output(build: Builder) -> None:
    words = ("sh", "-c", '"$@" | tar -tf -', "sh", *build.who.command("build", ONE))

    for output in ("type=oci", "type=oci,dest=-", "type=docker,dest=-"):
        listed = build.who.run_other(*words, "-o", output, ".").check().out.splitlines()
        assert {"oci-layout", "index.json", "blobs/sha256/"} <= set(listed)
    files = build.who.run_other(*words, "-o", "-", ".").check().out.splitlines()
    assert set(files) >= {"directory/", "directory/given", "linux/arm64"}


def test_only_one_output_has_standard_output(build: Builder) -> None:
    refused = build(ONE, "-o", "-", "-o", "type=oci")

    assert refused.status == 1
    assert "multiple outputs configured to write to stdout" in refused.err


def test_a_docker_archive_names_its_images(build: Builder) -> None:
    build(ONE, "-t", "a/b:v1", "-t", "c", "-o", "type=docker,dest=out.tar").check()

    with tarfile.open(build.work / "out.tar") as archive:
        opened = archive.extractfile("manifest.json")
        assert opened
        (image,) = json.load(opened)
    assert image["RepoTags"] == ["a/b:v1", "c:latest"]
    # Read by a program that takes docker's archives, too.
    source = f"docker-archive:{build.work}/out.tar:a/b:v1"
    shown = json.loads(build.skopeo("inspect", "--override-arch=arm64", source).check().out)
    assert (shown["Architecture"], shown["Labels"]) == ("arm64", {"kind": "plain"})


def test_a_docker_archive_holds_one_platform(build: Builder) -> None:
    refused = build(THREE, "-o", "type=docker,dest=out.tar")

    assert refused.status == 1
    assert "docker exporter does not support exporting manifest lists" in refused.err
    assert not (build.work / "out.tar").exists()


# --- files ---


def test_files_in_a_directory(build_as: Builder) -> None:
    build_as(ONE, "-o", "out").check()

    out = build_as.work / "out"
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == {"directory/given", "linux/arm64"}
    status = (out / "directory/given").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (build_as.who.user.uid, 0o640)


LINKED = "FROM scratch\nADD links.tar /\nCOPY given /d/given\n"


def test_links_between_files_are_kept_over_what_is_there(build_as: Builder) -> None:
    with tarfile.open(build_as.work / "links.tar", "w") as archive:
        archive.add(build_as.work / "given", "one")
        for name in ("d/two", "three"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.LNKTYPE, "one"
            archive.addfile(link)
    build_as.who.write("Dockerfile", LINKED)
    for name in ("one/in/the/way", "d/two/in/the/way", "three", "mine"):
        build_as.who.write(f"out/{name}", "old")

    build_as("-o", "out").check()

    out = build_as.work / "out"
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == {"one", "d/two", "three", "d/given", "mine"}
    assert len({(out / name).stat().st_ino for name in ("one", "d/two", "three")}) == 1


def test_a_directory_that_may_not_be_written_leaves_all_as_it_was(build_as: Builder) -> None:
    given = build_as.who.write("out/directory/given", "old")
    build_as.who.write("out/linux", "in the way")
    os.chown(given.parent, 0, 0)

    ended = build_as(ONE, "-o", "out")

    if build_as.who.user.uid == 0:
        assert given.read_text() == "content\n"
        return
    assert "can't write to out: Permission denied" in ended.err
    assert given.read_text() == "old"
    assert sorted(os.listdir(build_as.work / "out")) == ["directory", "linux"]
    assert (build_as.work / "out/linux").read_text() == "in the way"


def test_files_of_several_platforms(build: Builder) -> None:
    build(THREE, "-o", "type=local,dest=out", "-o", "type=tar,dest=out.tar").check()

    out = build.work / "out"
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == {
        *(f"{directory}/directory/given" for directory in ("linux_arm_v7", "linux_arm64", "linux_amd64")),
        "linux_arm_v7/linux/arm/v7", "linux_arm64/linux/arm64", "linux_amd64/linux/amd64",
    }  # fmt: skip
    with tarfile.open(build.work / "out.tar") as archive:
        assert {each.name for each in archive if each.isfile()} == files
        assert archive.getmember("linux_arm64/directory/given").uid == 12


def test_an_archive_of_files_keeps_owners(build_as: Builder) -> None:
    if build_as.who.user.name.endswith("-one"):
        build_as.who.write("Dockerfile", DOCKERFILE.replace("--chown=12:34", "--chown=0:0"))
    build_as(ONE, "-o", "type=tar,dest=out.tar").check()

    with tarfile.open(build_as.work / "out.tar") as archive:
        given = archive.getmember("directory/given")
    wanted = (0, 0) if build_as.who.user.name.endswith("-one") else (12, 34)
    assert (given.uid, given.gid, given.mode, given.size) == (*wanted, 0o640, 8)


def test_several_outputs_at_once(build: Builder) -> None:
    name = f"{build.host}/outputs/several"
    outputs = (
        *("-o", "type=local,dest=out", "-o", "type=tar,dest=files.tar"),
        *("-o", "type=oci,dest=oci.tar", "-o", "type=oci,tar=false,dest=layout"),
        *("-o", "type=docker,dest=docker.tar", "--push"),
    )
    build(ONE, "-t", name, *outputs).check()

    assert (build.work / "out/linux/arm64").read_text() == "content\n"
    digests = {
        source: json.loads(build.skopeo("inspect", *words, source).check().out)["Layers"]
        for source, words in {
            f"oci-archive:{build.work}/oci.tar": ("--override-arch=arm64",),
            f"oci:{build.work}/layout": ("--override-arch=arm64",),
            f"docker://{name}": ("--override-arch=arm64", "--tls-verify=false"),
        }.items()
    }
    assert len(set(map(tuple, digests.values()))) == 1
    assert (build.work / "docker.tar").exists()


# --- what is told about a result ---


def test_metadata_and_id_of_one_platform(build: Builder) -> None:
    words = ("-t", "told:v1", "--metadata-file=m", "--iidfile=i", "--builder=default")
    build(ONE, *words).check()

    text = (build.work / "m").read_text()
    metadata = json.loads(text)
    assert text == json.dumps(metadata, indent=2)
    assert stat.S_IMODE((build.work / "m").stat().st_mode) == 0o644
    assert set(metadata) == {
        "buildx.build.provenance", "buildx.build.ref", "containerimage.config.digest",
        "containerimage.descriptor", "containerimage.digest", "image.name",
    }  # fmt: skip
    assert re.fullmatch(r"default/default/[0-9a-z]{25}", metadata["buildx.build.ref"])
    assert metadata["image.name"] == "docker.io/library/told:v1"
    assert metadata["containerimage.descriptor"]["digest"] == metadata["containerimage.digest"]
    assert (build.work / "i").read_text() == metadata["containerimage.config.digest"]
    assert build(ONE, "-t", "told:v1", "-q").check().out.strip() == (build.work / "i").read_text()


@pytest.mark.parametrize("platforms", [ONE, THREE])
def test_the_id_is_that_by_which_the_engine_knows_the_image(
    build: Builder, tmp_path: Path, platforms: str
) -> None:
    with fake_docker(tmp_path) as docker:
        docker.info = WITH_CONTAINERD
        loading = replace(build, who=replace(build.who, environ={"DOCKER_HOST": docker.address}))
        words = ("-t", "given:v1", "--load", "--metadata-file=m", "--iidfile=i", "-q")
        printed = loading(platforms, *words).check().out.strip()

    metadata = json.loads((build.work / "m").read_text())
    assert docker.loaded == {"docker.io/library/given:v1": printed}
    assert printed == (build.work / "i").read_text() == metadata["containerimage.digest"]


def test_metadata_and_id_of_several_platforms(build: Builder) -> None:
    build(THREE, "-t", "told:v2", "--metadata-file=m", "--iidfile=i").check()

    metadata = json.loads((build.work / "m").read_text())
    assert "containerimage.config.digest" not in metadata
    index = "application/vnd.oci.image.index.v1+json"
    assert metadata["containerimage.descriptor"]["mediaType"] == index
    assert (build.work / "i").read_text() == metadata["containerimage.digest"]


def test_the_reference_of_a_build_is_kept(build: Builder) -> None:
    directory = build.work / "buildx"
    build.who.environ["BUILDX_CONFIG"] = str(directory)
    build(ONE, "--metadata-file=m").check()
    build(ONE, "--check").check()

    (kept,) = [path for path in (directory / "refs").rglob("*") if path.is_file()]
    reference = json.loads((build.work / "m").read_text())["buildx.build.ref"]
    assert str(kept.relative_to(directory / "refs")) == reference
    state = {"Target": "default", "LocalPath": str(build.work), "DockerfilePath": ""}
    assert kept.read_text() == json.dumps(state, separators=(",", ":"))


def test_a_platform_twice_is_two_entries_of_an_index(build: Builder) -> None:
    name = f"{build.host}/outputs/twice"
    words = ("--platform=linux/amd64,linux/amd64", "-t", name, "--push", "-o", "out")
    told = build(*words, "--metadata-file=m").check().err

    raw = build.skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}").check().out
    first, second = json.loads(raw)["manifests"]
    assert first == second
    assert first["platform"] == {"architecture": "amd64", "os": "linux"}
    assert os.listdir(build.work / "out") == ["linux_amd64"]
    assert 'WARN: Duplicate platform result requested "linux/amd64"\n' in told


CREATED = "org.opencontainers.image.created"


@pytest.mark.parametrize(
    ("words", "annotations"),
    [
        (("-t", "a"), set()),
        (("-o", "type=oci,dest=x"), {CREATED}),
        (("-o", "type=docker,dest=x"), {CREATED}),
        (("-o", "type=oci,dest=x", "-o", "type=image"), set()),
        (("-o", "type=image", "-o", "type=oci,dest=x"), {CREATED}),
        (("-t", "a", "--load"), {CREATED}),
        (("-o", "type=oci,dest=x", "--annotation=manifest-descriptor:a=b"), {"a", CREATED}),
        (("-t", "a", THREE, "--annotation=index-descriptor:a=b"), {"a"}),
    ],
)
def test_the_descriptor_that_is_told_is_that_of_the_last_output(
    build: Builder, words: tuple[str, ...], annotations: set[str]
) -> None:
    build(*(() if THREE in words else (ONE,)), *words, "--metadata-file=m").check()

    metadata = json.loads((build.work / "m").read_text())
    descriptor = metadata["containerimage.descriptor"]
    assert set(descriptor.get("annotations", {})) == annotations
    assert descriptor["digest"] == metadata["containerimage.digest"]


def test_an_id_file_of_no_image_is_refused(build: Builder) -> None:
    (build.work / "i").write_text("an earlier one")

    refused = build(ONE, "--iidfile=i", "-o", "out")

    assert refused.status == 1
    assert "local and tar exporters are incompatible with image ID file" in refused.err


def test_the_id_of_a_failed_build_is_gone(build: Builder) -> None:
    (build.work / "i").write_text("an earlier one")

    assert build(ONE, "--iidfile=i", "--target=nothing").status == 1
    assert not (build.work / "i").exists()


def test_quiet_without_an_image(build: Builder) -> None:
    assert build(ONE, "-q", "-o", "out").check().out == "\n"


# --- the local store ---


def test_tables_fit_a_line(build: Builder) -> None:
    name = f"{build.host}/outputs/a-long-name/of-many-parts"
    build(THREE, "-t", f"{name}:v1.2.3-rc1").check()
    build.who.run("create", "--name", "a-builder-with-a-name").check()

    for words in (("images",), ("du",), ("ls",)):
        table = build.who.run(*words).check().out
        assert max(map(len, table.splitlines())) <= 80
    shown = build.who.run("images", "--no-trunc").check().out
    assert f"{name}   " in shown
    assert "   linux/arm/v7, linux/arm64, linux/amd64   " in shown


def test_from_one_registry_to_another_name(build: Builder) -> None:
    source, target = f"{build.host}/library/busybox", f"{build.host}/outputs/copied:v2"
    run = build.who.run
    run("pull", "--platform=linux/arm64,linux/amd64", source).check()
    listing = ("images", "--format", "{{.Name}}:{{.Tag}}")
    assert run(*listing).check().out == f"{source}:latest\n"

    refused = run("push", source)
    assert refused.status == 1
    assert "pull --all-platforms" in refused.err
    run("pull", "--all-platforms", source).check()
    run("tag", source, target).check()
    pushed = run("push", target).check().out.strip()
    assert run(*listing).check().out == f"{source}:latest\n{target}\n"
    raw = build.skopeo("inspect", "--tls-verify=false", f"docker://{target}").check().out
    assert pushed == f"{build.host}/outputs/copied@{json.loads(raw)['Digest']}"

    assert run("rmi", target).check().out == f"Untagged: {target}\n"
    assert run("rmi", target).status == 1
    assert run("rmi", "--force", target).status == 0
    assert run(*listing).check().out == f"{source}:latest\n"
