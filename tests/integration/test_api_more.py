"""polyarch for programs: what is shown, what comes back, contexts without directories, tasks that are cancelled."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

import polyarch
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

SCRATCH = b"FROM scratch\nCOPY --from=more . /more/\nCOPY a b/c /\n"
ENDLESS = "RUN echo started; sleep 100000"


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[polyarch.Builder]:
    with polyarch.Builder(root=tmp_path / "store") as builder:
        yield builder


@pytest.fixture
def endless(registry: RealRegistry) -> bytes:
    return f"FROM {registry.host}/library/busybox\n{ENDLESS}\n".encode()


def test_contexts_of_bytes_and_files(builder: polyarch.Builder, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    directories = set(os.listdir(Path(os.environ.get("TMPDIR", "/tmp"))))

    builder.build(
        {"Dockerfile": SCRATCH, "a": b"one", "b/c": tmp_path / "tool"},
        build_contexts={"more": {"deep/er": b"two"}},
        outputs=[polyarch.Output(type="local", destination=str(tmp_path / "out"))],
    )

    found = {
        path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert found == {"a": b"one", "c": b"#!/bin/sh\n", "er": b"two"}
    assert (tmp_path / "out/c").stat().st_mode & 0o777 == 0o755
    left = set(os.listdir(Path(os.environ.get("TMPDIR", "/tmp")))) - directories
    assert not [name for name in left if name.startswith("polyarch-context")]


def test_the_same_bytes_are_found_in_the_cache(builder: polyarch.Builder) -> None:
    files = {"Dockerfile": b"FROM scratch\nCOPY a /\n", "a": b"one"}

    ran = [builder.build(files).ran for _ in range(2)]

    assert ran == [1, 0]


def test_a_result_tells_times_and_sizes(builder: polyarch.Builder, registry: RealRegistry) -> None:
    dockerfile = f"FROM {registry.host}/library/busybox\nRUN sleep 0.3\n".encode()
    result = builder.build({"Dockerfile": dockerfile}, platforms=["linux/amd64"])

    slept = {step.name: step for step in result.steps}["[2/2] RUN sleep 0.3"]
    assert (0.3 <= slept.seconds <= result.seconds, slept.cached) == (True, False)
    assert result.sizes.keys() == result.manifests.keys() == {"linux/amd64"}
    assert 100_000 < result.sizes["linux/amd64"] < 5_000_000
    assert len(repr(result)) < 200
    assert repr(result).startswith(
        f"BuildResult(digest='{result.digest}', platforms=('linux/amd64',)"
    )


def test_without_an_image_there_is_no_digest(builder: polyarch.Builder, tmp_path: Path) -> None:
    output = polyarch.Output(type="local", destination=str(tmp_path / "out"))

    result = builder.build({"Dockerfile": b"FROM scratch\nCOPY . /\n"}, outputs=[output])

    assert result.descriptor is None
    assert repr(result).startswith("BuildResult(ran=")
    with pytest.raises(polyarch.errors.NotFound, match=r"^the build made no image: "):
        _ = result.digest


def test_people_may_watch(builder: polyarch.Builder, capfd: pytest.CaptureFixture[str]) -> None:
    events: list[polyarch.Event] = []
    files = {"Dockerfile": b"FROM scratch\nCOPY a /\n", "a": b"one"}

    builder.build(files, progress="plain", sink=events.append)
    shown = capfd.readouterr()
    builder.build(files)

    assert (shown.out, capfd.readouterr().err) == ("", "")
    assert "[1/1] COPY a /" in shown.err
    assert any(isinstance(each, polyarch.StepEvent) for each in events)


def test_a_display_that_does_not_exist(builder: polyarch.Builder) -> None:
    with pytest.raises(polyarch.errors.InputError, match=r"^invalid progress mode colourful$"):
        builder.build({"Dockerfile": b"FROM scratch\n"}, progress="colourful")  # type: ignore[arg-type]


class Begun:
    """A sink that lets others wait until a step has printed something."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.ends: list[str] = []

    def __call__(self, event: polyarch.Event) -> None:
        if isinstance(event, polyarch.LogEvent):
            self.event.set()
        if isinstance(event, polyarch.StepEvent) and event.completed and "RUN" in event.name:
            self.ends.append(event.error)


async def cancelled_once_begun(begun: Begun, work: Callable[[], Awaitable[object]]) -> None:
    """Run `work`, a coroutine function, as a task, and cancel it when its step has begun."""
    task = asyncio.ensure_future(work())
    await asyncio.to_thread(begun.event.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_cancelling_the_task_ends_the_build(builder: polyarch.Builder, endless: bytes) -> None:
    begun = Begun()

    asyncio.run(
        cancelled_once_begun(
            begun, lambda: builder.build_async({"Dockerfile": endless}, sink=begun)
        )
    )

    assert begun.ends == ["canceled"]
    assert builder.build({"Dockerfile": b"FROM scratch\n"}).ran == 0


def test_a_token_ends_what_runs_in_a_thread(builder: polyarch.Builder, endless: bytes) -> None:
    begun, ended = Begun(), threading.Event()

    def build(cancel: polyarch.CancelToken) -> None:
        try:
            builder.build({"Dockerfile": endless}, sink=begun, cancel=cancel)
        except polyarch.errors.Cancelled:
            ended.set()

    async def work() -> None:
        with polyarch.CancelToken() as cancel:
            await asyncio.to_thread(build, cancel)

    asyncio.run(cancelled_once_begun(begun, work))

    assert ended.wait(60)


def test_an_engine_of_its_own_may_be_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYARCH_ROOT", str(tmp_path / "store"))

    async def both() -> list[polyarch.BuildResult]:
        files = [{"Dockerfile": f"FROM scratch\nLABEL a={letter}\n".encode()} for letter in "ab"]
        return list(await asyncio.gather(*map(polyarch.build_async, files)))

    first, second = asyncio.run(both())

    assert first.digest != second.digest
