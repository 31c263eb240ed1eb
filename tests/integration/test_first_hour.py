"""The first hour of somebody who comes from docker buildx: what they have, type and expect."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.fakes.buildx import directory_of_buildx
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

FILES_ONLY = "FROM scratch\nCOPY Dockerfile /\n"


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        ("docker-container", "and was chosen with docker buildx"),
        ("cloud", "which polyarch can't use yet"),
    ],
)
def test_a_current_builder_of_another_driver(root: Person, driver: str, reason: str) -> None:
    directory_of_buildx(root.home, driver)
    root.write("Dockerfile", FILES_ONLY)
    line = f'WARNING: the current builder "theirs" has the driver {driver}, {reason}: '

    for words in (("build", "-o", "out", "."), ("du",), ("prune", "-f")):
        ended = root.run(*words).check()
        assert ended.err.startswith(line)
        assert ended.err.count("WARNING") == 1
    assert (root.work / "out/Dockerfile").read_text() == FILES_ONLY


def test_a_builder_of_another_driver_by_name(root: Person) -> None:
    directory_of_buildx(root.home)
    root.write("Dockerfile", FILES_ONLY)

    for words in (("build", "."), ("du",), ("prune", "-f"), ("inspect", "--bootstrap")):
        refused = root.run(*words, "--builder=theirs")
        assert refused.status == 1
        assert 'builder "theirs" has the driver cloud, which polyarch can\'t use' in refused.err


@pytest.mark.parametrize(
    ("words", "environ", "expected"),
    [
        (("--cache-to=type=gha", "--cache-from=type=gha"), {}, ""),
        (("--provenance=false", "--sbom=false"), {}, ""),
    ],
)
def test_what_a_build_goes_on_without(
    root: Person, words: tuple[str, ...], environ: dict[str, str], expected: str
) -> None:
    root.write("Dockerfile", FILES_ONLY)

    ended = replace(root, environ=environ).run("build", "-o", "out", *words, ".").check()

    assert ended.err.startswith(expected)
    assert ended.err.count("WARNING") == bool(expected)
    assert (root.work / "out/Dockerfile").exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ("--cache-to=type=s3,region=here",),
            "failed to solve: failed to configure s3 cache exporter: bucket ($AWS_BUCKET) not set for s3 cache",
        ),
        (("--cache-to=type=bogus",), 'failed to solve: unknown cache exporter: "bogus"'),
    ],
)
def test_what_it_does_not_go_on_without(root: Person, words: tuple[str, ...], error: str) -> None:
    root.write("Dockerfile", FILES_ONLY)

    refused = root.run("build", *words, ".")

    assert refused.status == 1
    assert refused.complaint().startswith(f"ERROR: failed to build: {error}")
    assert "#" not in refused.err


def test_steps_that_wait_run_at_once_and_natives_do_not_wait_for_emulated_ones(
    root: Person, registry: RealRegistry
) -> None:
    """Every step waits for all others: with a limit they never would have met."""
    base = f"{registry.host}/library/busybox"
    mount = "--mount=type=cache,target=/met"
    wait = "while [ $(ls /met | wc -l) -lt 8 ]; do sleep 0.1; done"
    stages = [
        f"FROM {base} AS s{number}\n"
        "ARG TARGETARCH\n"
        f"RUN {mount} touch /met/{number}-$TARGETARCH; {wait}; touch /done\n"
        for number in range(4)
    ]
    copies = [f"COPY --from=s{number} /done /{number}\n" for number in range(4)]
    root.write("Dockerfile", "".join([*stages, "FROM scratch\n", *copies]))

    root.run("build", "--platform=linux/amd64,linux/arm64", "-o", "out", ".").check()

    found = sorted(str(path.relative_to(root.work / "out")) for path in root.work.glob("out/*/*"))
    assert found == [f"linux_{arch}/{number}" for arch in ("amd64", "arm64") for number in range(4)]


# --- create and inspect ---

CREATE = ("create", "--name=mine", "--driver=docker-container", "--buildkitd-flags=--debug")


def test_the_name_of_a_new_builder_is_all_that_a_program_reads(root: Person) -> None:
    apart = root.run(*CREATE)
    script = " ".join(root.command(*CREATE, "--append", "--node=more"))
    as_one = root.run_other("sh", "-c", f"{script} 2>&1")

    assert (apart.out, as_one.check().out) == ("mine\n", "mine\n")
    assert [line.partition(":")[0] for line in apart.err.splitlines()] == ["WARNING", "WARNING"]


def test_a_configuration_is_shown_as_buildx_writes_it(root: Person) -> None:
    root.write("b.toml", 'debug=true\n[registry."docker.io"]\nmirrors = [ "m" ] # mine\n')

    root.run("create", "--name=mine", "--buildkitd-config=b.toml").check()

    shown = root.run("inspect", "mine").check().out
    assert shown.endswith(
        "File#buildkitd.toml:\n > debug = true\n > \n > [registry]\n > [registry.'docker.io']\n"
        " > mirrors = ['m']\n > \n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "buildkit configuration file not found: b.toml: stat b.toml: no such file or directory"),
        ("a b", "failed to parse buildkit configuration file: b.toml: no TOML: Expected '=' after"),
    ],
)  # fmt: skip
def test_a_configuration_that_is_none(root: Person, text: str | None, said: str) -> None:
    if text is not None:
        root.write("b.toml", text)

    refused = root.run("create", "--name=mine", "--buildkitd-config=b.toml")

    assert (refused.status, refused.out) == (1, "")
    assert refused.err.splitlines()[-1].startswith(f"ERROR: {said}")
