"""What calls docker buildx and its kin, unmodified, with polyarch in their place."""

from __future__ import annotations

import base64
import json
import re
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.callers import node
from tests.support.machine.programs import Ended, Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

TOOLKIT = Path(node.__file__).with_name("toolkit.mjs")


@pytest.fixture
def caller(root: Person, registry: RealRegistry) -> Person:
    """Root without Docker, whose `docker`, `buildx` and `executor` are polyarch; with a Dockerfile."""
    programs = root.home / "bin"
    for name in ("docker", "buildx", "kaniko"):
        root.run("plugin", "install", f"--{name}", "--directory", str(programs)).check()
    root.write("Dockerfile", f"from {registry.host}/library/busybox\nCOPY file /\nLABEL a=b\n")
    root.write("file", "content\n")
    # Docker itself may be on this machine: nothing else of its directory is needed.
    path = f"{programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return replace(root, environ={**root.environ, "PATH": path})


def call(who: Person, line: str, *more: str, seconds: float = 120) -> Ended:
    name, *words = line.split()
    return who.run_other(str(who.home / "bin" / name), *words, *more, seconds=seconds)


@pytest.mark.slow
def test_the_package_of_dockers_actions_reads_all_that_it_asks_for(
    caller: Person, tmp_path: Path
) -> None:
    directory = node.node_package("@docker/actions-toolkit", "0.101.0")
    script = str(shutil.copy(TOOLKIT, directory))
    surroundings = {
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_REPOSITORY": "you/app",
        "BUILDX_METADATA_WARNINGS": "true",
    }
    who = replace(caller, environ={**caller.environ, **surroundings})
    program = shutil.which("node")
    assert program

    who.run_other(program, script, str(who.work), str(tmp_path / "read.json")).check()

    read = json.loads((tmp_path / "read.json").read_text())
    (built,) = read["builder"]["nodes"]
    assert read["available"]
    assert read["newEnough"]
    assert read["exists"] == [True, False]
    assert (read["builder"]["name"], built["status"]) == ("default", "running")
    assert re.fullmatch(r"v\d+\.\d+\.\d+", built["buildkit"])
    assert "linux/amd64" in built["platforms"].split(",")
    assert built["features"]["Cache export"]
    assert built["gcPolicy"][-1]["all"]
    assert read["imageID"].startswith("sha256:")
    assert read["digest"].startswith("sha256:")
    (warning,) = read["warnings"]
    assert base64.b64decode(warning["short"]).startswith(b"ConsistentInstructionCasing")
    assert read["localState"]["LocalPath"] == str(who.work)
    assert read["inspected"]["Status"] == "completed"
    assert read["inspected"]["Ref"] == read["ref"].split("/")[2]
    (summary,) = read["exported"]["summaries"].values()
    assert summary["status"] == "completed"
    assert summary["numCompletedSteps"] == summary["numTotalSteps"]
    with tarfile.open(read["exported"]["dockerbuildFilename"]) as archive:
        assert "index.json" in archive.getnames()


def test_setup_buildx_action(caller: Person) -> None:
    flags = (
        "--allow-insecure-entitlement security.insecure --allow-insecure-entitlement network.host"
    )
    driver = ("--driver", "docker-container", "--buildkitd-flags", flags)

    assert call(caller, "buildx").check().out.startswith("Usage:")
    created = call(caller, "buildx create --name ci", *driver, "--use").check()
    inspected = call(caller, "buildx inspect --bootstrap --builder ci").check().out
    call(caller, "buildx build --builder ci -t app .").check()
    call(caller, "buildx rm ci").check()

    # A container of BuildKit's needs an engine: this machine builds, which is said.
    assert created.out == "ci\n"
    assert "driver docker-container replaced" in created.err
    assert re.search(r"^BuildKit daemon flags: --allow-insecure-", inspected, re.MULTILINE)
    assert call(caller, "buildx inspect nobody").status == 1


def test_docker_for_those_who_have_none(caller: Person, registry: RealRegistry) -> None:
    name = f"{registry.host}/callers/app"

    assert call(caller, "docker info").status == 0
    assert re.search(r"(\d+)\.(\d+)\.(\d+)", call(caller, "docker buildx version").check().out)
    assert call(caller, "docker version", "--format", "{{.Server.Os}}").check().out == "linux\n"
    call(caller, f"docker build -q -t {name}:one .").check()
    call(caller, f"docker tag {name}:one {name}:two").check()
    call(caller, f"docker push {name}:one").check()
    call(caller, f"docker push {name}:two").check()
    listed = call(caller, "docker images", "--format", "{{.Repository}}:{{.Tag}}").check().out
    (told,) = json.loads(call(caller, f"docker inspect {name}:one").check().out)
    one = call(caller, "docker images -q", f"--filter=reference={name}:one").check().out.strip()
    call(caller, f"docker manifest create {name}:all {name}:one {name}:two").check()
    call(caller, f"docker manifest push --purge {name}:all").check()
    index = json.loads(call(caller, f"docker manifest inspect {name}:all").check().out)
    ran = call(caller, f"docker run --rm {name}:one cat /file").check().out
    call(caller, f"docker rmi {name}:one {name}:two").check()

    assert listed.split() == [f"{name}:one", f"{name}:two"]
    assert told["Config"]["Labels"] == {"a": "b"}
    assert (told["Os"], told["Architecture"]) == ("linux", "amd64")
    assert told["RepoTags"] == [f"{name}:one", f"{name}:two"]
    assert told["Id"].startswith(f"sha256:{one}")
    assert len(index["manifests"]) >= 1
    assert ran == "content\n"
    assert call(caller, f"docker inspect {name}:one").status == 1
    refused = call(caller, "docker compose up")
    assert (refused.status, refused.complaint().splitlines()[0]) == (
        1,
        "ERROR: docker compose isn't there: this docker is polyarch, which builds and moves images and runs no engine",
    )


# What docker compose 2.40 gives buildx for three services, one of them for two platforms.
COMPOSED = """
{
  "group": {"default": {"targets": ["two", "one", "three"]}},
  "target": {
    "one": {
      "context": "WORK/a", "dockerfile": "WORK/a/Dockerfile", "args": {"V": "x$${y}"},
      "labels": {"com.docker.compose.project": "p", "com.docker.compose.service": "one"},
      "tags": ["p/one"], "output": ["type=docker"]
    },
    "two": {
      "context": "WORK/b", "contexts": {"base": "target:one"}, "dockerfile": "WORK/b/Dockerfile",
      "tags": ["p/two:extra", "p/two"], "platforms": ["linux/amd64", "linux/arm64"],
      "output": ["type=image,push=false"]
    },
    "three": {
      "context": "WORK/c", "dockerfile-inline": "FROM scratch\\nCOPY f /\\n", "tags": ["p-three"],
      "secret": ["id=tok,type=file,src=/etc/hostname"], "network": "host", "output": ["type=docker"]
    }
  }
}
"""


def test_docker_compose(caller: Person) -> None:
    project = caller.home / "project"
    for name, text in {"a": "ARG V\nLABEL v=$V\nCOPY f /\n", "b": "COPY f /g\n", "c": ""}.items():
        (project / name).mkdir(parents=True)
        base = "base" if name == "b" else "scratch"
        (project / name / "Dockerfile").write_text(f"FROM {base}\n{text}")
        (project / name / "f").write_text(name)
    definition = COMPOSED.replace("WORK", str(project))
    allowed = " ".join(f"--allow fs.read={project}/{each}" for each in "abc")
    words = f"bake --file - --progress rawjson --metadata-file md.json {allowed}".split()
    # It names the usual engine, whether there is one or not.
    host = {"DOCKER_HOST": "unix:///var/run/docker.sock"}
    who = replace(caller, environ={**caller.environ, **host})

    def compose(text: str) -> Ended:
        return who.run_other(str(who.home / "bin/buildx"), *words, stdin=text.encode())

    ended = compose(definition).check()
    told = json.loads((who.work / "md.json").read_text())
    failed = compose(definition.replace("COPY f /", "COPYY"))
    asked = compose(definition.replace('"output"', '"call": "lint", "output"')).check()

    assert all(json.loads(line) for line in ended.err.splitlines())
    assert {
        name: each["containerimage.digest"][:7] for name, each in told.items()
    } == dict.fromkeys(("one", "three", "two"), "sha256:")
    assert asked.out.startswith("one\n\nCheck complete, no warnings found.\n\nthree\n")
    assert "one" in json.loads((who.work / "md.json").read_text())
    assert failed.complaint().rstrip().endswith("unknown instruction: COPYY (did you mean COPY?)")


@pytest.mark.parametrize(
    "line",
    [
        # Dev Containers
        "docker buildx build --load --build-arg BUILDKIT_INLINE_CACHE=1 -f Dockerfile -t dev .",
        # GoReleaser
        "docker buildx build --platform linux/amd64 -t {name}:rel --push --iidfile=id --label a=b --annotation c=d .",
        # Kamal
        "docker buildx build --output=type=registry --platform linux/amd64 --builder default -t {name}:kamal .",
        # build-push-action
        "buildx build --iidfile iid --metadata-file md.json --tag {name}:action --push .",
        "docker image build -t plain .",
        "docker builder build -t plain .",
    ],
)
def test_the_builds_of_other_callers(caller: Person, registry: RealRegistry, line: str) -> None:
    call(caller, line.format(name=f"{registry.host}/callers/other")).check()


def test_kaniko(caller: Person, registry: RealRegistry) -> None:
    caller.write(
        "app/Dockerfile", f"FROM {registry.host}/library/busybox\nARG V\nRUN echo $V >/v\n"
    )
    name = f"{registry.host}/callers/kaniko"
    flags = (
        f"--context dir://{caller.work} --context-sub-path app --destination {name}:one --destination {name}:two "
        "--build-arg V=7 --cache=true --cache-ttl=24h --snapshot-mode=redo --use-new-run "
        "--digest-file digest --image-name-tag-with-digest-file names"
    )

    first = call(caller, f"executor {flags}").check()
    again = call(caller, f"executor {flags}").check()
    refused = call(caller, f"executor --context s3://bucket/x --destination {name}:one")
    nowhere = call(caller, f"executor --context dir://{caller.work}")

    digest = (caller.work / "digest").read_text()
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)
    assert (caller.work / "names").read_text() == f"{name}:one@{digest}\n{name}:two@{digest}\n"
    shown = caller.run(
        "imagetools", "inspect", f"{name}:two", "--format={{.Manifest.Digest}}"
    ).check()
    assert shown.out.strip() == digest
    assert "--snapshot-mode has no effect here" in first.err
    assert "CACHED" in again.err
    assert "contexts of s3:// aren't supported" in refused.err
    assert "You must provide --destination" in nowhere.err
    assert (refused.status, nowhere.status) == (1, 1)
