"""Programs that we did not write accept what is pushed and written, and run it."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.images.greetings import GREETINGS, PLATFORMS, Greeter, build_greeter
from tests.support.machine.engines import ROOT
from tests.support.machine.handlers import Enclave, enclave, handler_lines
from tests.support.machine.peers import Engine, Podman, docker_engine
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Person:
    return person(ROOT, tmp_path_factory.mktemp("peers") / "home")


@pytest.fixture(scope="module")
def greeter(builder: Person, registry: RealRegistry) -> Greeter:
    return build_greeter(builder, registry.host, "peers/hello")


@pytest.fixture(scope="module")
def emulating() -> Iterator[Enclave]:
    with enclave(handler_lines(["arm", "arm64"])) as inside:
        yield inside


@pytest.fixture(scope="module")
def engine(builder: Person, emulating: Enclave, greeter: Greeter) -> Iterator[Engine]:
    """Docker's engine, with the greeter of each platform.

    All is pulled before anything runs: in a user namespace the threads of this engine that have been
    in a container's network can't come back, and no longer find a registry.
    """
    with (
        short_directory() as directory,
        docker_engine(directory / "d", emulating, builder) as running,
    ):
        for digest in greeter.manifests.values():
            running("pull", "--quiet", f"{greeter.name}@{digest}")
        yield running


@pytest.fixture(scope="module")
def podman(builder: Person) -> Iterator[Podman]:
    before = podman_cgroups()
    with short_directory() as directory:
        yield Podman(directory=directory, who=builder)
    for left in sorted(podman_cgroups() - before, reverse=True):
        with contextlib.suppress(OSError):  # another podman may have come meanwhile
            left.rmdir()


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """Make a directory whose path is as short as sockets and podman want it."""
    with tempfile.TemporaryDirectory(prefix="polyarch-", dir="/tmp") as directory:
        yield Path(directory)


def podman_cgroups() -> set[Path]:
    """Return the groups that podman makes for all of its containers, and leaves behind."""
    top = Path("/sys/fs/cgroup")
    parents = {*top.glob("libpod_parent"), *top.glob("*/libpod_parent")}
    return parents | {parent / "conmon" for parent in parents}


def skopeo(who: Person, command: str, *words: str) -> str:
    insecure = {
        "copy": ("--src-tls-verify=false", "--dest-tls-verify=false", "--all", "--quiet"),
        "inspect": ("--tls-verify=false",),
    }
    return who.run_other("skopeo", command, *insecure[command], *words).check().out


# --- skopeo ---


def test_skopeo_shows_the_index_and_each_image(builder: Person, greeter: Greeter) -> None:
    raw = json.loads(skopeo(builder, "inspect", "--raw", f"docker://{greeter.name}"))
    digests = [each["digest"] for each in raw["manifests"]]
    assert digests == list(greeter.manifests.values())
    shown = {}
    for words in (("arm", "--override-variant=v7"), ("arm64",), ("amd64",)):
        chosen = (f"--override-arch={words[0]}", *words[1:])
        found = json.loads(skopeo(builder, "inspect", *chosen, f"docker://{greeter.name}"))
        shown[words[0]] = (found["Os"], found["Architecture"], found["Digest"])
    assert shown == {name: ("linux", name, greeter.digest) for name in ("arm", "arm64", "amd64")}


def test_skopeo_copies_all_platforms_out_of_the_registry(
    builder: Person, greeter: Greeter, tmp_path: Path
) -> None:
    skopeo(builder, "copy", f"docker://{greeter.name}", f"oci:{tmp_path}/layout:v1")

    (entry,) = json.loads((tmp_path / "layout/index.json").read_bytes())["manifests"]
    assert entry["digest"] == greeter.digest
    blobs = {f"sha256:{path.name}" for path in (tmp_path / "layout/blobs/sha256").iterdir()}
    assert blobs > {greeter.digest, *greeter.manifests.values()}


@pytest.mark.parametrize("form", ["tar", "directory"])
def test_skopeo_copies_written_layouts_into_the_registry(
    builder: Person, greeter: Greeter, tmp_path: Path, form: str
) -> None:
    output = f"type=oci,dest={tmp_path}/out" + (",tar=false" if form == "directory" else "")
    builder.run("build", f"--platform={PLATFORMS}", "-o", output, ".").check()
    source = ("oci-archive" if form == "tar" else "oci") + f":{tmp_path}/out"
    copied = f"{greeter.name}-{form}"

    skopeo(builder, "copy", source, f"docker://{copied}")

    raw = json.loads(skopeo(builder, "inspect", "--raw", f"docker://{copied}"))
    assert [each["digest"] for each in raw["manifests"]] == list(greeter.manifests.values())


def test_skopeo_reads_what_imagetools_made(builder: Person, greeter: Greeter) -> None:
    made = f"{greeter.name}-two"
    sources = [
        f"{greeter.name}@{greeter.manifests[each]}" for each in ("linux/amd64", "linux/arm64")
    ]

    builder.run("imagetools", "create", "-t", made, *sources).check()

    raw = json.loads(skopeo(builder, "inspect", "--raw", f"docker://{made}"))
    found = {each["digest"]: each["platform"]["architecture"] for each in raw["manifests"]}
    assert found == {
        greeter.manifests["linux/amd64"]: "amd64",
        greeter.manifests["linux/arm64"]: "arm64",
    }
    found_config = skopeo(builder, "inspect", "--override-arch=arm64", f"docker://{made}")
    assert json.loads(found_config)["Architecture"] == "arm64"


# --- podman ---


@pytest.mark.parametrize("platform", list(GREETINGS))
def test_podman_pulls_and_runs_each_platform(
    podman: Podman, greeter: Greeter, emulating: Enclave, platform: str
) -> None:
    where = ("--tls-verify=false", "--quiet", f"--platform={platform}")
    image = podman("pull", *where, greeter.name).strip()
    known = podman("image", "inspect", "--format", "{{.RepoDigests}}", image)
    assert f"@{greeter.manifests[platform]}" in known

    inside = f"--userns=ns:{emulating.user_namespace}"
    assert podman.run(image, inside) == GREETINGS[platform]


# --- Docker's engine ---


@pytest.mark.parametrize("platform", list(GREETINGS))
def test_docker_pulls_and_runs_each_platform_by_its_digest(
    engine: Engine, greeter: Greeter, platform: str
) -> None:
    image = f"{greeter.name}@{greeter.manifests[platform]}"
    fields = "{{.Os}}/{{.Architecture}}/{{.Variant}}"
    assert engine("image", "inspect", "--format", fields, image).strip("/\n") == platform

    assert engine.run(image) == GREETINGS[platform]


@pytest.mark.parametrize("platform", ["linux/arm64", "linux/amd64"])
def test_docker_loads_an_archive(
    engine: Engine, builder: Person, greeter: Greeter, tmp_path: Path, platform: str
) -> None:
    name = f"loaded/{platform.rpartition('/')[2]}:v1"
    output = f"type=docker,dest={tmp_path}/image.tar"
    builder.run("build", "-t", name, f"--platform={platform}", "-o", output, ".").check()

    said = engine("load", "--input", f"{tmp_path}/image.tar")

    assert said == f"Loaded image: {name}\n"
    assert engine.run(name) == GREETINGS[platform]


# --- --load ---

_WITHOUT_ENGINES = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount -t tmpfs tmpfs /run && mount --bind /dev/null /usr/bin/podman && exec "$@"',
    "sh",
)
"""Whatever engine this machine may have, it can't be seen."""


def test_load_gives_the_image_to_the_engine(engine: Engine, builder: Person) -> None:
    user = replace(builder, environ={"DOCKER_HOST": engine.address})

    said = user.run("build", "-t", "given:v1", "--platform=linux/arm64", "--load", ".").check().err

    assert "importing to docker" in said
    assert engine.run("given:v1") == GREETINGS["linux/arm64"]
    assert "given" in user.run("images").check().out


def test_load_takes_the_engine_of_a_context(
    engine: Engine, builder: Person, tmp_path: Path
) -> None:
    user = replace(builder, environ={"DOCKER_CONFIG": str(tmp_path)})
    endpoint = f"host={engine.address}"
    user.run_other("docker", "context", "create", "mine", "--docker", endpoint).check()

    user.run("build", "-t", "context:v1", "-o", "type=docker,context=mine", ".").check()

    assert engine.run("context:v1") == GREETINGS["linux/amd64"]


def test_load_of_several_platforms_gives_each_a_tag(engine: Engine, builder: Person) -> None:
    user = replace(builder, environ={"DOCKER_HOST": engine.address})

    wanted = ("-t", "several:v1", f"--platform={PLATFORMS}", "--iidfile=id", "--load", ".")
    said = user.run("build", *wanted).check()

    assert engine.run((user.work / "id").read_text()) == GREETINGS["linux/amd64"]
    assert "keeps images of one platform: it has several:v1-arm-v7 for linux/arm/v7" in said.err
    assert engine.run("several:v1") == GREETINGS["linux/amd64"]
    assert engine.run("several:v1-arm64") == GREETINGS["linux/arm64"]


def test_load_without_an_engine_keeps_the_image(greeter: Greeter, builder: Person) -> None:
    user = replace(builder, prefix=_WITHOUT_ENGINES)

    said = user.run("build", "-t", "kept:v1", f"--platform={PLATFORMS}", "--load", ".").check().err

    assert "no docker engine listens and there is no podman" in said
    ran = user.run("run", "--rm", "--platform=linux/arm64", "kept:v1").check().out
    assert ran == GREETINGS["linux/arm64"]


def test_load_into_a_chosen_engine_that_does_not_listen(
    greeter: Greeter, builder: Person, tmp_path: Path
) -> None:
    address = f"unix://{tmp_path}/nobody"
    user = replace(builder, environ={"DOCKER_HOST": address})

    refused = user.run("build", "-t", "nobody:v1", "--load", ".")

    assert refused.status == 1
    assert f"Cannot connect to the Docker daemon at {address}" in refused.err
