"""Builds by our own client of BuildKit's API on our own server: real sessions, steps that run nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from grpclib.client import UnaryStreamMethod, UnaryUnaryMethod
from grpclib.exceptions import GRPCError

from polyarch.buildkit.api import SolveFailed
from polyarch.buildkit.build import Remote, build_remotely
from polyarch.buildkit.connection import connect
from polyarch.buildkit.messages import pairs, read_workers
from polyarch.buildkit.nodes import look_at
from polyarch.digest import sha256
from polyarch.progress import CancelToken, Event, StatusEvent, StepEvent, ignore_events
from polyarch.release import BUILDKIT_RELEASE
from polyarch.request.make import make_request
from polyarch.request.result import BuildResult
from polyarch.request.values import Output
from polyarch.wire import Message, field
from tests.support.callers.frontends import Frontend
from tests.support.fakes.engine import BASE, FakeEngine
from tests.support.images.layouts import read_archive, validate
from tests.support.images.trees import plant

_CONTROL = "/moby.buildkit.v1.Control"
_CONTENT = "/containerd.services.content.v1.Content"
DOCKERFILE = f"""\
FROM {BASE} AS tools
RUN prepare
FROM {BASE}
COPY --from=tools /ran/prepare /tools
COPY src/a /app/
COPY --from=extra e /extra
CMD ["/app/a"]
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    plant(tmp_path / "extra", {"e": "more"})
    files = {"Dockerfile": DOCKERFILE, "src/a": "text a", "src/b": "b", "unread": "x"}
    return plant(tmp_path / "context", files)


def build(remote: Remote, context: Path, **options: Any) -> BuildResult:
    contexts = {"extra": str(context.parent / "extra")}
    request = make_request(context, **{"build_contexts": contexts, "attestations": (), **options})
    return build_remotely(remote, request, sink=ignore_events, cancel=CancelToken())


def call(remote: Remote, path: str, message: bytes = b"", *, streams: bool = False) -> list[bytes]:
    """Call a method, and return its answers."""

    async def ask() -> list[bytes]:
        channel = connect(remote.target)
        try:
            kind: Any = UnaryStreamMethod if streams else UnaryUnaryMethod
            answer = await kind(channel, path, bytes, bytes)(message)
            return list(answer) if streams else [answer]
        finally:
            channel.close()

    return asyncio.run(ask())


def test_a_daemon_as_clients_look_at_it(remote: Remote) -> None:
    state = look_at(remote)
    workers = read_workers(call(remote, f"{_CONTROL}/ListWorkers")[0])

    assert (state.error, state.version) == ("", BUILDKIT_RELEASE)
    assert state.platforms
    assert workers[0].platforms == state.platforms
    assert workers[0].labels == {"org.mobyproject.buildkit.worker.executor": "polyarch"}


def test_an_image_of_contexts_that_are_brought(
    engine: FakeEngine, remote: Remote, context: Path, tmp_path: Path
) -> None:
    archive, files = tmp_path / "image.tar", tmp_path / "files"
    events: list[Event] = []
    outputs = (
        Output(type="oci", destination=str(archive)),
        Output(type="local", destination=str(files)),
    )
    request = make_request(
        context,
        build_contexts={"extra": str(tmp_path / "extra")},
        attestations=(),
        outputs=outputs,
        tags=["registry.test/app:1"],
    )

    result = build_remotely(remote, request, sink=events.append, cancel=CancelToken())

    layout = read_archive(archive.read_bytes())
    validate(layout)
    assert result.digest in {
        each["digest"] for each in json.loads(layout["index.json"])["manifests"]
    }
    found = {name: (files / name).read_text() for name in ("app/a", "tools", "extra", "base")}
    assert found == {"app/a": "text a", "tools": "linux/amd64", "extra": "more", "base": ""}
    ended = [each.name for each in events if isinstance(each, StepEvent) and each.completed]
    assert "[internal] load build context" in ended
    assert "[context extra] load from client" in ended
    kept = [path for path in engine.store.scratch.rglob("src/*") if "context" in str(path)]
    assert [path.name for path in kept] == ["a"], "only what is read travels"


def test_only_what_has_changed_travels_again(remote: Remote, context: Path, tmp_path: Path) -> None:
    plant(
        context,
        {"src/big": "x" * 100_000, "Dockerfile": f"FROM {BASE}\nCOPY src/big src/a /app/\n"},
    )
    (tmp_path / "docker").mkdir(exist_ok=True)
    sizes = []
    for text in ("text a", "changed"):
        plant(context, {"src/a": text})
        events: list[Event] = []
        request = make_request(context, attestations=(), outputs=())
        build_remotely(remote, request, sink=events.append, cancel=CancelToken())
        told = [each for each in events if isinstance(each, StatusEvent)]
        sizes.append(max(each.current for each in told if each.id == "transferring context:"))

    assert sizes[0] > 100_000
    assert sizes[1] < 10_000


def test_errors_are_those_of_the_build(remote: Remote, context: Path) -> None:
    plant(context, {"Dockerfile": f"FROM {BASE}\nRUN fail\n"})
    with pytest.raises(SolveFailed, match="it failed"):
        build(remote, context, outputs=())

    plant(context, {"Dockerfile": "FRM x\n"})
    with pytest.raises(SolveFailed, match="unknown instruction: FRM"):
        build(remote, context, outputs=())

    (context / "Dockerfile").unlink()
    with pytest.raises(SolveFailed, match="open Dockerfile: no such file or directory"):
        build(remote, context, outputs=())


def test_records_of_builds_are_told_and_removed(remote: Remote, context: Path) -> None:
    build(remote, context, outputs=())
    early = field(3, 1)

    first = call(remote, f"{_CONTROL}/ListenBuildHistory", early, streams=True)
    record = Message(Message(first[0]).bytes(2))
    ref = record.text(1)
    shown = call(remote, f"{_CONTROL}/Status", field(1, ref), streams=True)
    digest = Message(Message(record.bytes(10)).bytes(2)).text(2)
    info = Message(Message(call(remote, f"{_CONTENT}/Info", field(1, digest))[0]).bytes(1))
    read = call(remote, f"{_CONTENT}/Read", field(1, digest), streams=True)
    call(remote, f"{_CONTROL}/UpdateBuildHistory", field(1, ref) + field(3, 1))
    left = call(remote, f"{_CONTROL}/ListenBuildHistory", early, streams=True)

    assert Message(first[0]).integer(1) == 1
    assert b"prepare" in b"".join(shown)
    assert (len(first), left) == (1, [])
    provenance = b"".join(Message(each).bytes(2) for each in read)
    assert (sha256(provenance), len(provenance)) == (digest, info.integer(2))
    assert b"buildType" in provenance


def test_what_the_store_holds_is_told_and_pruned(
    engine: FakeEngine, remote: Remote, context: Path
) -> None:
    build(remote, context, outputs=())

    before = Message(call(remote, f"{_CONTROL}/DiskUsage")[0])
    pruned = call(remote, f"{_CONTROL}/Prune", field(2, 1), streams=True)
    after = Message(call(remote, f"{_CONTROL}/DiskUsage")[0])

    assert {each.integer(3) for each in before.messages(1)} == {0}, (
        "nothing is in use after a build"
    )
    assert len(list(before.messages(1))) == len(pruned) > 0
    assert list(after.messages(1)) == []
    assert engine.store.snapshots.all() == ()


# --- frontends at the client ---


LAYER = sha256(field(3, field(1, f"docker-image://{BASE}")))
IMAGE = b"".join(
    (
        field(1, field(3, field(1, f"docker-image://{BASE}"))),
        field(1, field(1, field(1, LAYER))),
    )
)


def test_a_graph_of_the_clients_frontend(remote: Remote) -> None:
    frontend = Frontend(remote)
    config = b'{"architecture": "arm64", "os": "linux", "config": {"Cmd": ["x"]}}'
    result = field(3, field(1, "ref-1")) + field(
        10, field(1, "containerimage.config") + field(2, config)
    )

    ping, solved, read, listed, status, *_ = frontend.run(
        ("Ping", b""),
        ("Solve", field(1, IMAGE) + field(6, 1)),
        ("ReadFile", field(1, "ref-1") + field(2, "/base")),
        ("ReadDir", field(1, "ref-1") + field(2, "/")),
        ("StatFile", field(1, "ref-1") + field(2, "/base")),
        ("Evaluate", field(1, "ref-1")),
        ("Inputs", b""),
        ("Warn", field(1, "sha256:aa") + field(3, "odd")),
        ("Return", field(1, result)),
        exporters=(("image", {"name": "registry.test/made:1"}),),
    )

    assert {each.text(1) for each in ping.messages(2)} >= {"mergeop", "exec.meta.base"}
    ref = Message(Message(solved.bytes(3)).bytes(3))
    assert (ref.text(1), ref.bytes(2)) == ("ref-1", IMAGE)
    assert read.bytes(1) == b""
    assert [each.text(1) for each in listed.messages(1)] == ["base"]
    assert Message(status.bytes(1)).text(1) == "base"
    assert frontend.solved["image.name"] == "registry.test/made:1"


def test_what_the_clients_frontend_is_told_of_images_and_errors(remote: Remote) -> None:
    failed = field(2, field(1, 2) + field(2, "the frontend failed"))
    platform = field(1, "arm64") + field(2, "linux")

    with pytest.raises(GRPCError, match="the frontend failed"):
        Frontend(remote).run(
            ("ResolveImageConfig", field(1, BASE) + field(2, platform)), ("Return", failed)
        )
    (image, _) = Frontend(remote).run(
        ("ResolveImageConfig", field(1, BASE) + field(2, platform)), ("Return", field(1, b""))
    )
    with pytest.raises(GRPCError, match="no such ref: nothing"):
        Frontend(remote).run(("Evaluate", field(1, "nothing")))

    assert json.loads(image.bytes(2))["architecture"] == "arm64"


def test_a_question_about_a_dockerfile(remote: Remote, tmp_path: Path) -> None:
    attributes = {
        "requestid": "frontend.outline",
        "target": "app",
        "context": "https://127.0.0.1:1/r.git",
    }

    solved, _ = Frontend(remote).run(
        ("Solve", field(2, "dockerfile.v0") + pairs(3, attributes)), ("Return", field(1, b""))
    )

    told = {each.text(1): each.bytes(2) for each in Message(solved.bytes(3)).messages(10)}
    assert told == {"result.txt": b"frontend.outline of app", "version": b"1.0.0"}


def test_the_config_of_an_image_that_is_not_built_yet(remote: Remote, tmp_path: Path) -> None:
    plant(tmp_path / "context", {"Dockerfile": f"FROM {BASE}\nENV A=b\nCMD x\n", "wrong": "FRO x"})
    contexts = dict.fromkeys(("context", "dockerfile"), tmp_path / "context")

    def told(attributes: dict[str, str]) -> dict[str, Any]:
        asked = field(2, "dockerfile.v0") + pairs(3, attributes)
        solved, _ = Frontend(remote, contexts).run(("Solve", asked), ("Return", field(1, b"")))
        found = Message(solved.bytes(3)).messages(10)
        return {each.text(1): json.loads(each.bytes(2)) for each in found}

    one = told({})
    two = told({"platform": "linux/amd64,linux/arm64"})

    assert one["containerimage.config"]["config"]["Cmd"] == ["/bin/sh", "-c", "x"]
    assert "A=b" in one["containerimage.config"]["config"]["Env"]
    assert {name: each["architecture"] for name, each in two.items() if "config" in name} == {
        "containerimage.config/linux/amd64": "amd64",
        "containerimage.config/linux/arm64": "arm64",
    }
    # What is wrong with a Dockerfile is told by the build.
    assert told({"filename": "wrong"}) == {}


def test_nothing_is_an_empty_image_for_who_wants_one(remote: Remote) -> None:
    frontend, name = Frontend(remote), "registry.test/empty:1"

    frontend.run(("Return", field(1, b"")), exporters=(("image", {"name": name}),))

    assert frontend.solved["image.name"] == name
