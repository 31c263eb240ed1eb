"""What is asked of daemons beside plain builds: our own server, reached as a BuildKit daemon is."""

from __future__ import annotations

import signal
import tarfile
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.integration.test_peers import short_directory
from tests.support.fakes.dockerengine import WITH_CONTAINERD, fake_docker
from tests.support.machine.engines import ROOT
from tests.support.machine.handlers import enclave, handler_lines
from tests.support.machine.peers import docker_engine
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

BAKE = """\
group "default" {{ targets = ["app"] }}
target "base" {{
  dockerfile-inline = "FROM {base}\\nENV BELOW=yes\\nCOPY own /own\\nRUN cat /own >/made\\n"
}}
target "app" {{
  contexts = {{ below = "target:base" }}
  dockerfile-inline = "FROM below AS b\\nRUN echo $BELOW >/env\\nFROM scratch\\nCOPY --from=b /env /made /\\n"
  output = ["baked"]
}}
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody whose builder `far` is a server of somebody else."""
    homes = tmp_path_factory.mktemp("daemons")
    who, owner = person(ROOT, homes / "client"), person(ROOT, homes / "owner")
    with short_directory() as directory:
        address = f"unix://{directory}/s"
        with owner.start("serve", "--addr", address) as server:
            try:
                assert server.stderr is not None
                assert server.stderr.readline().startswith(b"serving at")
                make = ("create", "--driver", "remote", "--platform", "linux/amd64")
                who.run(*make, "--name", "far", address).check()
                who.run(*make, "--name", "two", address).check()
                local = ("--platform", "linux/riscv64", "local")
                who.run("create", "--name", "two", "--append", *local).check()
                yield who
            finally:
                server.send_signal(signal.SIGTERM)
                server.communicate()


@pytest.mark.parametrize(
    "words",
    [
        ("--check",),
        ("--call=check,format=json",),
        ("--call=outline", "--build-arg=V=2"),
        ("--call=targets,format=json",),
    ],
)
def test_questions_are_answered_as_they_are_here(client: Person, words: tuple[str, ...]) -> None:
    client.write("asked/Dockerfile", "FROM scratch AS App\nARG V=1\nCOPY $X x /\n")

    there = client.run("build", "--builder", "far", *words, "asked")
    here = client.run("build", *words, "asked")

    assert (there.status, there.out) == (here.status, here.out)
    assert 'building with "far" instance' in there.err


def test_targets_are_built_on_one_another(client: Person, registry: RealRegistry) -> None:
    client.write("bake/docker-bake.hcl", BAKE.format(base=f"{registry.host}/library/busybox"))
    client.write("own", "mine")

    client.run("bake", "--builder", "far", "-f", "bake/docker-bake.hcl").check()

    found = {path.name: path.read_text() for path in (client.work / "baked").iterdir()}
    assert found == {"env": "yes\n", "made": "mine"}


def test_layouts_and_keys_are_lent(client: Person, registry: RealRegistry) -> None:
    base = f"FROM {registry.host}/library/busybox\nCOPY key.pub /\n"
    client.run_other("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key").check()
    client.write("base.Dockerfile", base)
    client.run(
        "build", "-f", "base.Dockerfile", "-o", "type=oci,tar=false,dest=layout", "."
    ).check()
    step = "RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && cat /key.pub >/told"
    client.write(
        "lent/Dockerfile", f"FROM below AS b\n{step}\nFROM scratch\nCOPY --from=b told /\n"
    )
    lent = ("--build-context", "below=oci-layout://layout", "--ssh", "default=key")

    client.run("build", "--builder", "far", *lent, "-o", "lent/out", "lent").check()

    told = (client.work / "lent/out/told").read_text()
    assert told == (client.work / "key.pub").read_text()


def test_files_of_two_nodes_have_a_directory_for_each_platform(client: Person) -> None:
    client.write("files/Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n")
    words = ("--platform", "linux/amd64,linux/riscv64", "-o", "f", "-o", "type=tar,dest=f.tar")

    client.run("build", "--builder", "two", *words, "files").check()

    expected = ["linux_amd64/amd64", "linux_riscv64/riscv64"]
    found = (client.work / "f").rglob("*")
    assert [
        str(each.relative_to(client.work / "f")) for each in sorted(found) if each.is_file()
    ] == expected
    with tarfile.open(client.work / "f.tar") as tar:
        assert [each.name for each in tar if each.isfile()] == expected


def test_what_is_built_there_is_loaded_here(client: Person) -> None:
    client.write("load/Dockerfile", 'FROM scratch\nCOPY Dockerfile /\nCMD ["x"]\n')
    platforms = ("--platform", "linux/amd64,linux/arm64")
    with (
        enclave(handler_lines([])) as inside,
        short_directory() as directory,
        docker_engine(directory / "d", inside, client) as engine,
    ):
        client.environ["DOCKER_HOST"] = engine.address
        try:
            for words in (("-t", "one:1"), ("-t", "many:1", *platforms)):
                client.run("build", "--builder", "far", *words, "--load", "load").check()
        finally:
            del client.environ["DOCKER_HOST"]
        names = engine("images", "--format={{.Repository}}:{{.Tag}}").split()
        command = engine("image", "inspect", "--format={{.Config.Cmd}}", "one:1")

    assert sorted(names) == ["many:1", "many:1-amd64", "many:1-arm64", "one:1"]
    assert command == "[x]\n"


@pytest.mark.parametrize("provenance", ["true", "false"])
def test_the_id_is_that_by_which_an_engine_knows_what_it_was_given(
    client: Person, provenance: str
) -> None:
    client.write("given/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    with short_directory() as directory, fake_docker(directory) as docker:
        docker.info = WITH_CONTAINERD
        who = replace(client, environ={**client.environ, "DOCKER_HOST": docker.address})
        words = ("--builder", "far", f"--provenance={provenance}", "-t", "given:1", "--load", "-q")
        printed = who.run("build", *words, "--iidfile=i", "given").check().out.strip()

    assert docker.loaded == {"docker.io/library/given:1": printed}
    assert printed == (client.work / "i").read_text()
