"""polyarch as `docker buildx`: with nothing of Docker but a client, of whatever age, and no engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.images.greetings import DOCKERFILE, GREETINGS, PLATFORMS, shown_digests
from tests.support.machine.programs import Ended, Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]


def _clients() -> list[str]:
    """The client that is found first, and Debian's own if that is another one."""
    found = filter(None, (shutil.which("docker"), "/usr/bin/docker"))
    return list({os.path.realpath(path): path for path in found if os.path.exists(path)}.values())


CLIENTS = _clients()


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """Someone who has a client of Docker's."""

    who: Person
    client: str

    def __call__(self, *words: str) -> Ended:
        return self.who.run_other(*self.who.become(), self.client, *words)

    @property
    def version(self) -> tuple[int, ...]:
        said = subprocess.run([self.client, "--version"], capture_output=True, check=True).stdout
        found = re.search(rb"version (\d+)\.(\d+)", said)
        assert found
        return tuple(map(int, found.groups()))


def without_engine(who: Person) -> Person:
    nowhere = {"DOCKER_CONFIG": f"{who.home}/docker", "DOCKER_HOST": f"unix://{who.home}/nobody"}
    return replace(who, environ=nowhere)


@pytest.fixture(params=CLIENTS)
def docker(request: pytest.FixtureRequest, who: Person) -> Docker:
    """Each client, with each kind of user, after the plugin was installed."""
    owner = without_engine(who)
    owner.run("plugin", "install", "--as", "buildx").check()
    return Docker(who=owner, client=request.param)


@pytest.fixture(params=CLIENTS)
def root_docker(request: pytest.FixtureRequest, root: Person) -> Docker:
    owner = without_engine(root)
    owner.run("plugin", "install", "--as", "buildx").check()
    return Docker(who=owner, client=request.param)


def test_the_walk_through(docker: Docker, registry: RealRegistry) -> None:
    name = f"{registry.host}/{docker.who.user.name}/plugin-hello"
    docker.who.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))

    assert docker("buildx", "create", "--use", "--name", "mybuilder").check().out == "mybuilder\n"
    inspected = docker("buildx", "inspect", "--bootstrap").check().out
    assert re.search(r"^Name: +mybuilder$", inspected, re.MULTILINE)
    assert "mybuilder*" in docker("buildx", "ls").check().out
    words = ("-t", name, f"--platform={PLATFORMS}", ".", "--push")
    docker("buildx", "build", *words).check()
    shown = docker("buildx", "imagetools", "inspect", name).check().out
    archive = "type=docker,dest=../image.tar"
    docker("buildx", "build", "--platform=linux/arm64", "-o", archive, ".").check()

    greetings = {
        platform: docker("buildx", "run", "--rm", f"{name}@{digest}").check().out
        for platform, digest in shown_digests(shown).items()
    }
    assert greetings == GREETINGS
    with tarfile.open(docker.who.home / "image.tar") as packed:
        described = packed.extractfile("manifest.json")
        assert described
        (image,) = json.load(described)
        config = packed.extractfile(image["Config"])
        assert config
        assert json.load(config)["architecture"] == "arm64"


def test_version_and_help(root_docker: Docker) -> None:
    version = root_docker("buildx", "version").check().out
    assert re.fullmatch(
        r"github.com/docker/buildx v\d+\.\d+\.\d+ polyarch-\d+\.\d+\.\d+\n", version
    )
    root_help = root_docker("buildx", "--help").check().out
    assert root_help.startswith("Usage:  docker buildx [OPTIONS] COMMAND\n")
    build_help = root_docker("buildx", "build", "--help").check().out
    assert build_help.startswith("Usage:  docker buildx build [OPTIONS] PATH | URL | -\n")
    assert "--platform stringArray" in build_help
    assert root_docker("help", "buildx").check().out == root_help


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("build", "--nope", "."), 125, "ERROR: unknown flag: --nope\n"),
        (("--nope",), 125, "ERROR: unknown flag: --nope\n"),
        (("build",), 1, "ERROR: docker: 'docker buildx build' requires 1 argument\n"),
        (("nope",), 1, 'ERROR: unknown command: "nope"\n'),
        (("use", "nobody"), 1, 'ERROR: failed to find instance "nobody"'),
    ],
)
def test_wrong_calls(
    root_docker: Docker, words: tuple[str, ...], status: int, message: str
) -> None:
    refused = root_docker("buildx", *words)

    assert refused.status == status
    assert message in refused.err


def test_the_clients_own_flags(root_docker: Docker, tmp_path: Path) -> None:
    root_docker("buildx", "create", "--name", "elsewhere").check()
    refused = root_docker("--host=unix:///nobody", "buildx", "build", "--load", "-t", "x", ".")
    assert "elsewhere" in root_docker("--debug", "buildx", "ls").check().out
    assert "Cannot connect to the Docker daemon at unix:///nobody" in refused.err


def test_docker_build_leads_here(root_docker: Docker, registry: RealRegistry) -> None:
    root_docker.who.write("Dockerfile", f"FROM {registry.host}/library/busybox\nRUN echo built\n")

    ended = root_docker("build", "-t", "by-docker:v1", ".")

    if root_docker.version >= (23, 0):
        assert "using polyarch driver" in ended.check().err
        assert "by-docker" in root_docker.who.run("images").check().out
    else:
        # Older clients only have a builder of their own, which is the engine's.
        assert "Cannot connect to the Docker daemon" in ended.err


def test_docker_bake_leads_here(root_docker: Docker) -> None:
    root_docker.who.write("docker-bake.hcl", 'target "default" { tags = ["by-bake"] }\n')

    by_plugin = root_docker("buildx", "bake", "--print").check().out
    assert json.loads(by_plugin)["target"]["default"]["tags"] == ["by-bake"]
    if root_docker.version >= (28, 0):
        assert root_docker("bake", "--print").check().out == by_plugin


def test_ours_goes_before_the_machines_own(root: Person, tmp_path: Path) -> None:
    directory = tmp_path / "system"
    other = directory / "docker/cli-plugins/docker-buildx"
    other.parent.mkdir(parents=True)
    about = json.dumps({"SchemaVersion": "0.1.0", "Vendor": "Other", "Version": "v1"})
    other.write_text(
        f"#!/bin/sh\nif [ \"$1\" = docker-cli-plugin-metadata ]; then echo '{about}'; else echo other; fi\n"
    )
    other.chmod(0o755)
    over = f"lowerdir={directory}:/usr/libexec"
    script = f'mount -t overlay -o {over} overlay /usr/libexec && exec "$@"'
    owner = replace(without_engine(root), prefix=("unshare", "--mount", "sh", "-c", script, "sh"))

    for client in CLIENTS:
        docker = Docker(who=owner, client=client)
        assert docker("buildx", "version").check().out == "other\n"
        owner.run("plugin", "install").check()
        assert docker("buildx", "version").check().out.startswith("github.com/docker/buildx v")
        owner.run("plugin", "uninstall").check()


def test_another_plugin_of_the_user_stays(root: Person) -> None:
    owner = without_engine(root)
    other = owner.home / "docker/cli-plugins/docker-buildx"
    other.parent.mkdir(parents=True)
    other.write_text("#!/bin/sh\n")

    refused = owner.run("plugin", "install")

    assert refused.status == 1
    assert f"{other} is another program's" in refused.err
    assert other.read_text() == "#!/bin/sh\n"
    owner.run("plugin", "install", "--force").check()
    assert "polyarch" in other.read_text()
