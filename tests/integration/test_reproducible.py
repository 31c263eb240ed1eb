"""`build --verify-reproducible`, and that a build is the same wherever and by whomever it is run."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.machine.engines import User
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

PLANTED = """\
RUN echo same > /same && date > /time
RUN mkdir -p /data && head -c 24 /dev/urandom | hexdump -e '24/1 "%02x"' > /data/id
RUN for part in one two three four five six; do echo "$part $(head -c 4 /dev/urandom | hexdump -e '4/1 "%02x"')"; \\
    done | sort -k 2 | cut -d ' ' -f 1 > /order
RUN mkdir -p /var/log && echo "$(date +%s) installed" > /var/log/install.log
RUN mkdir -p /lib/app/__pycache__ && date > /lib/app/__pycache__/app.cpython-311.pyc
"""
CLEAN = """\
WORKDIR /work
COPY Dockerfile /copied
RUN echo same > /same && touch /empty
RUN mkdir -p /a/b && ln -s b /a/c && ls -a /a | sort > /listed
RUN --mount=type=cache,target=/cache echo 1 >> /cache/runs && wc -l < /cache/runs > /runs
"""
IMAGE = ("--build-arg=SOURCE_DATE_EPOCH=1700000000", "--platform=linux/amd64")
SAID = ("--provenance=mode=max", "--sbom=format=spdx+cyclonedx")
OUTPUT = "type=image,rewrite-timestamp=true,name="


def test_what_differs_is_named_with_its_cause(root: Person, registry: RealRegistry) -> None:
    root.write("Dockerfile", f"FROM {registry.host}/library/busybox\n{PLANTED}")
    flags = (*IMAGE, f"--output={OUTPUT}planted")
    ended = root.run("build", "--verify-reproducible", "--progress=quiet", *flags, ".")

    found = re.findall(
        r"layer (\d) of 6 \(.*\): (\S+) differs\n +([\w-]+): .+\n +\S.*\n", ended.err
    )
    assert found == [
        ("2", "/time", "time"),
        ("3", "/data/id", "random"),
        ("4", "/order", "order"),
        ("5", "/var/log/install.log", "log"),
        ("6", "/lib/app/__pycache__/app.cpython-311.pyc", "byte-code"),
    ], ended.err
    assert ended.status == 1
    assert "the build isn't reproducible: 5 layers and 0 fields" in ended.err
    assert root.run("images", "-q").check().out == ""


def test_what_is_the_same_is_exported(root: Person, registry: RealRegistry) -> None:
    root.write("Dockerfile", f"FROM {registry.host}/library/busybox\n{CLEAN}")
    flags = (*IMAGE, f"--output={OUTPUT}clean")
    ended = root.run("build", "--verify-reproducible", "--progress=quiet", *flags, ".").check()

    assert (
        ended.err == "The build is reproducible: a second one, from an empty store, is the same.\n"
    )
    assert len(root.run("images", "-q").check().out.splitlines()) == 1
    assert [path.name for path in (root.root / "tmp").iterdir()] == []


def test_the_same_source_is_the_same_index_for_everybody_everywhere(
    root: Person,
    user_with_many_ids: User,
    tmp_path_factory: pytest.TempPathFactory,
    registry: RealRegistry,
) -> None:
    other = person(user_with_many_ids, tmp_path_factory.mktemp("elsewhere") / "deeper")
    digests = []
    for who in (root, other):
        who.write("Dockerfile", f"FROM {registry.host}/library/busybox\n{CLEAN}")
        # What is said of it is part of the index, too: how it was made, and what is in it.
        flags = ("--platform=linux/amd64,linux/arm64", IMAGE[0], f"--output={OUTPUT}same", *SAID)
        who.run("build", "--metadata-file=m.json", *flags, ".").check()
        digests.append(json.loads((who.work / "m.json").read_text())["containerimage.digest"])

    assert digests[0] == digests[1]
