"""The first hour of somebody who comes from docker buildx: what they have, type and expect."""

from __future__ import annotations

import pytest

from buildxfiles import folder_of_buildx
from programs import Person

pytestmark = [pytest.mark.runtime, pytest.mark.root]

FILES_ONLY = "FROM scratch\nCOPY Dockerfile /\n"


@pytest.mark.parametrize("driver", ["docker-container", "remote", "kubernetes"])
def test_a_current_builder_of_another_driver(root: Person, driver: str) -> None:
    folder_of_buildx(root.home, driver)
    root.write("Dockerfile", FILES_ONLY)
    line = f'WARNING: the current builder "theirs" has the driver {driver}, which polyarch'

    for words in (("build", "-o", "out", "."), ("du",), ("prune", "-f")):
        ended = root.run(*words).check()
        assert ended.err.startswith(line)
        assert ended.err.count("WARNING") == 1
    assert (root.work / "out/Dockerfile").read_text() == FILES_ONLY


def test_a_builder_of_another_driver_by_name(root: Person) -> None:
    folder_of_buildx(root.home)
    root.write("Dockerfile", FILES_ONLY)

    for words in (("build", "."), ("du",), ("prune", "-f"), ("inspect", "--bootstrap")):
        refused = root.run(*words, "--builder=theirs")
        assert refused.status == 1
        assert (
            'builder "theirs" has the driver kubernetes, which polyarch can\'t use' in refused.err
        )


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
