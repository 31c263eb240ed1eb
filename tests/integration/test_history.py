"""`history`: records of real builds, by root and by a user."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

DOCKERFILE = """\
FROM {base} AS one
ARG NOTE
RUN --mount=type=secret,id=key echo "the key is $(cat /run/secrets/key)"
FROM one AS broken
RUN echo before; exit 3
"""


def build(who: Person, *words: str) -> None:
    who.run(
        "build",
        "--progress=quiet",
        "--secret=id=key,src=key",
        "--platform=linux/amd64",
        *words,
        ".",
    )


def test_builds_are_listed_shown_printed_again_and_taken_along(
    who: Person, registry: RealRegistry
) -> None:
    who.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
    who.write("key", "s3cr3t-k3y")
    build(who, "--target=one", "-t", "app", "--build-arg=NOTE=x", "--metadata-file=md.json")
    build(who, "--target=broken")
    ref = json.loads((who.work / "md.json").read_text())["buildx.build.ref"]

    rows = [
        json.loads(line)
        for line in who.run("history", "ls", "--format=json").check().out.splitlines()
    ]
    good = json.loads(who.run("history", "inspect", "--format=json", ref).check().out)
    bad = json.loads(who.run("history", "inspect", "--format=json").check().out)
    logs = who.run("history", "logs", "^1").check().err
    who.run("history", "export", "-o", "all.dockerbuild", "--all").check()
    os.mkfifo(who.work / "pipe")
    os.chmod(who.work / "pipe", 0o666)
    reader = os.open(who.work / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    who.run("history", "export", "-o", "pipe", "--all").check()
    piped = os.read(reader, 1 << 20)
    os.close(reader)
    who.run("history", "rm", "--all").check()
    empty = who.run("history", "ls").check().out
    names = who.run("history", "import", "-f", "all.dockerbuild").check().out.split()
    again = who.run("history", "logs", names[1]).check().err

    assert [(row["status"], row["ref"] == ref) for row in rows] == [
        ("Error", False),
        ("Completed", True),
    ]
    assert good["Status"] == "completed"
    assert good["BuildArgs"] == [{"Name": "NOTE", "Value": "x"}]
    assert good["Attachments"][0]["Type"] == "application/vnd.oci.image.manifest.v1+json"
    assert bad["Error"]["Message"].endswith("did not complete successfully: exit code: 3")
    assert bad["Error"]["Logs"] == ["before"]
    assert bad["Error"]["Name"].startswith("[broken")
    assert "the key is ***" in logs
    assert "s3cr3t" not in logs + json.dumps([good, bad])
    assert len(empty.splitlines()) == 1
    assert piped == (who.work / "all.dockerbuild").read_bytes()
    assert len(names) == 2
    assert again == logs


def test_programs_keep_records_as_well(root: Person) -> None:
    script = (
        "import polyarch; "
        "print(polyarch.build('.', dockerfile='-', stdin=b'FROM scratch\\nLABEL a=b').ref)"
    )

    ref = root.run_other(sys.executable, "-c", script).check().out.strip()

    listed = root.run("history", "ls", "--format={{.FullRef}}").check().out
    assert listed.split() == [ref]
