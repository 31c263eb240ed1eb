"""What debuggers are told of a step that failed."""

from __future__ import annotations

import json

from polyarch.graph.graph import GraphMaker
from polyarch.graph.op import (
    BindMount,
    CacheMount,
    ExecOp,
    ScratchOp,
    SecretMount,
    SshMount,
    TmpfsMount,
)
from polyarch.platforms import Platform
from polyarch.serve.failures import Failures
from polyarch.snapshot.stack import LayerStack
from polyarch.wire import Message

MOUNTS = (
    BindMount(target="/src", input=1, source="/sub", read_only=True),
    CacheMount(target="/cache", id="key"),
    SecretMount(id="token", target="", env="TOKEN"),
    SecretMount(id="file", target="/run/secrets/file"),
    SshMount(id="default", target="/agent"),
    TmpfsMount(target="/tmp/x", size=10),
)


def details(failures: Failures) -> dict[str, dict[str, object]]:
    kept: list[LayerStack] = []

    def keep(tree: LayerStack) -> str:
        kept.append(tree)
        return f"ref{len(kept)}"

    found = [Message(each) for each in Message(failures.details(keep)).all(3)]
    return {each.text(1): json.loads(each.bytes(2)) for each in found}


def test_refs_and_the_op() -> None:
    maker = GraphMaker()
    op = ExecOp(
        argv=("sh", "-c", "x"),
        env=("A=1",),
        cwd="/w",
        user="u",
        platform=Platform(os="linux", architecture="arm64"),
        mounts=MOUNTS,
    )
    vertex = maker.add(op, (maker.add(ScratchOp()), maker.add(ScratchOp())), name="RUN x")
    failures = Failures()
    failures.note(vertex, {-1: LayerStack(), 0: LayerStack()})
    failures.note(maker.add(ScratchOp()), {})

    found = details(failures)

    assert found["github.com/moby/buildkit/errdefs.Vertex+json"] == {"digest": vertex.digest}
    told = found["github.com/moby/buildkit/errdefs.Solve+json"]
    assert told["mountIDs"] == ["ref1", "ref2", "", "", "", ""]
    assert told["op"]["platform"]["Architecture"] == "arm64"  # type: ignore[index]
    made = told["op"]["exec"]  # type: ignore[index]
    assert made["meta"]["args"] == ["sh", "-c", "x"]
    assert [(each["dest"], each["mountType"]) for each in made["mounts"]] == [
        ("/", 0),
        ("/src", 0),
        ("/cache", 3),
        ("/run/secrets/file", 1),
        ("/agent", 2),
        ("/tmp/x", 4),
    ]
    assert made["mounts"][1]["selector"] == "/sub"
    assert made["secretenv"] == [{"ID": "token", "name": "TOKEN", "optional": True}]


def test_what_was_no_program() -> None:
    assert details(Failures()) == {}
