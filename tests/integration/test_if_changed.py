"""`build --if-changed`: a result that a name stands for already isn't pushed, and the next steps are told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]


def test_only_what_changed_is_pushed(root: Person, registry: RealRegistry) -> None:
    name = f"{registry.host}/changed/app"
    root.write("Dockerfile", "FROM scratch\nCOPY file /\n")
    root.write("file", "one")
    outputs = root.home / "github"
    root = replace(root, environ={"GITHUB_OUTPUT": str(outputs)})

    def build(tag: str, *words: str) -> tuple[bool, str]:
        flags = (
            "--metadata-file=m.json",
            "--dotenv-file=gitlab.env",
            "--if-changed",
            f"{name}:live",
        )
        root.run("build", "-t", f"{name}:{tag}", "--push", *flags, *words, ".").check()
        told = json.loads((root.work / "m.json").read_text())
        line = f"changed={str(told['polyarch.changed']).lower()}"
        text = f"{line}\ndigest={told['containerimage.digest']}\n"
        assert (root.work / "gitlab.env").read_text() == text
        assert outputs.read_text().endswith(text)
        return told["polyarch.changed"], told["containerimage.digest"]

    def is_there(tag: str) -> bool:
        return root.run("imagetools", "inspect", f"{name}:{tag}").status == 0

    first = build("live")
    second = build("second")
    as_index = build("third", "--platform=linux/amd64,linux/arm64")
    again = build("fourth", "--platform=linux/amd64,linux/arm64")
    root.write("file", "two")
    edited = build("fifth")

    assert (first[0], second) == (True, (False, first[1]))
    assert (as_index[0], again[0], edited[0]) == (True, True, True)
    assert list(map(is_there, ("second", "third", "fifth"))) == [False, True, True]
    assert "no output of this build holds one" in root.run("build", "--if-changed=x", ".").err
