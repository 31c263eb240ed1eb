"""The main job: one Dockerfile, three platforms, one name; by root and by ordinary users."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.images.greetings import DOCKERFILE, GREETINGS, PLATFORMS, shown_digests
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]


def test_each_platform_greets_by_its_digest(who: Person, registry: RealRegistry) -> None:
    name = f"{registry.host}/{who.user.name}/hello-arch"
    who.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))

    who.run("create", "--use", "--name", "mybuilder").check()
    inspected = who.run("inspect", "mybuilder", "--bootstrap").check().out
    assert re.search(r"^Platforms: .*linux/arm64.*linux/arm/v7", inspected, re.MULTILINE)
    assert "mybuilder*" in who.run("ls").check().out
    who.run("build", "-t", name, f"--platform={PLATFORMS}", ".", "--push").check()
    shown = who.run("imagetools", "inspect", name).check().out

    greetings = {
        platform: who.run("run", "--rm", f"{name}@{digest}").check().out
        for platform, digest in shown_digests(shown).items()
    }
    assert greetings == GREETINGS


def test_an_unchanged_rebuild_uploads_the_tag_only(root: Person, registry: RealRegistry) -> None:
    name = f"{registry.host}/again/hello-arch"
    root.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
    words = ("build", "-t", name, f"--platform={PLATFORMS}", "--metadata-file=../m", ".", "--push")
    root.run(*words).check()
    before = json.loads((root.home / "m").read_text())
    asked = len(registry.requests())

    shown = root.run(*words).check().err

    steps = set(re.findall(r"^#(\d+) \[linux", shown, re.MULTILINE))
    cached = set(re.findall(r"^#(\d+) CACHED$", shown, re.MULTILINE))
    assert len(steps) == 7 * 3  # FROM and the first RUN of both stages are equal
    assert cached == steps
    wrote = [line for line in registry.requests()[asked:] if line.startswith(("POST", "PUT"))]
    assert [line.partition("/manifests/")[2] for line in wrote] == ["latest"]
    after = json.loads((root.home / "m").read_text())
    assert after["containerimage.digest"] == before["containerimage.digest"]
