"""polyarch for programs: builds by an engine of one's own, from a process with threads."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import polyarch
from tests.support.machine.engines import ROOT
from tests.support.machine.processes import below, watching
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

SCRATCH = "FROM scratch\nCOPY greeting /greeting\n"
PLATFORMS = ["linux/amd64", "linux/arm64"]
ENDLESS = "RUN echo started; sleep 100000"
PATIENCE = 60.0

# What a program does that is to be killed: it says that its build has got to the endless step.
PROGRAM = """
import sys
import polyarch

def tell(event):
    if isinstance(event, polyarch.LogEvent):
        print(event.data.decode(), end="", flush=True)

polyarch.build(".", sink=tell)
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    (directory / "greeting").write_text("hello\n")
    (directory / "Dockerfile").write_text(SCRATCH)
    return directory


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[polyarch.Builder]:
    with polyarch.Builder(root=tmp_path / "store") as builder:
        yield builder


@pytest.fixture
def dockerfile(registry: RealRegistry) -> Callable[..., bytes]:
    """Return what makes a Dockerfile of lines after a FROM that has a shell."""

    def make(*lines: str) -> bytes:
        return "\n".join([f"FROM {registry.host}/library/busybox", *lines]).encode()

    return make


@pytest.fixture
def program(registry: RealRegistry, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program in the middle of an endless step."""
    root = person(ROOT, tmp_path / "home")
    root.write("Dockerfile", f"FROM {registry.host}/library/busybox\n{ENDLESS}\n")
    with subprocess.Popen(
        [*root.command()[:1], "-c", PROGRAM],
        env=root.environment(),
        cwd=root.work,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"started\n"
            yield process
        finally:
            process.kill()


def mounts_of(directory: Path) -> list[str]:
    text = Path("/proc/self/mountinfo").read_text()
    return [line for line in text.splitlines() if str(directory) in line]


# --- what comes out ---


def test_two_platforms_go_to_a_layout_and_a_registry(
    builder: polyarch.Builder, context: Path, tmp_path: Path, registry: RealRegistry
) -> None:
    name = f"{registry.host}/api/scratch:1"
    layout = polyarch.Output(
        type="oci", destination=str(tmp_path / "layout"), attributes={"tar": "false"}
    )

    result = builder.build(
        context, platforms=PLATFORMS, tags=[name], outputs=[layout], push=True, attestations=()
    )

    assert result.names == (name,)
    assert list(result.manifests) == PLATFORMS
    assert (result.ran, result.cached) == (1, 0)  # a COPY from the context is the same for all
    index = json.loads((tmp_path / "layout/index.json").read_text())
    assert [each["digest"] for each in index["manifests"]] == [result.digest]
    stored = registry.directory / "docker/registry/v2/repositories/api/scratch/_manifests/revisions"
    pushed = {each.name for each in (stored / "sha256").iterdir()}
    digests = {result.digest, *result.manifests.values()}
    assert {f"sha256:{each}" for each in pushed} == digests


def test_a_second_build_runs_nothing(builder: polyarch.Builder, context: Path) -> None:
    first = builder.build(context)
    second = builder.build(context)

    assert (second.ran, second.cached) == (0, 1)
    assert second.digest == first.digest
    assert first.descriptor is not None


def test_a_result_says_why_steps_ran(builder: polyarch.Builder, context: Path) -> None:
    first = builder.build(context)
    second = builder.build(context)
    (context / "greeting").write_text("good morning\n")
    third = builder.build(context)

    assert [each.causes[0].kind for each in first.explanations] == ["new"]
    assert second.explanations == ()
    (step,) = third.explanations
    assert (step.outcome, step.causes[0].kind, step.causes[0].what) == (
        "ran",
        "changed",
        "greeting",
    )


def test_one_build_needs_no_builder(
    context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYARCH_ROOT", str(tmp_path / "store"))
    monkeypatch.chdir(context.parent)

    result = polyarch.build("context", outputs=[polyarch.Output(type="local", destination="out")])

    assert (result.ran, result.cached, result.descriptor) == (1, 0, None)
    assert (tmp_path / "out/greeting").read_text() == "hello\n"


def test_events_come_in_order_to_the_thread_that_builds(
    builder: polyarch.Builder, dockerfile: Callable[..., bytes]
) -> None:
    events: list[polyarch.Event] = []
    threads: set[int] = set()

    def take(event: polyarch.Event) -> None:
        events.append(event)
        threads.add(threading.get_ident())

    lines = ["RUN printf 'one\\377\\n'; echo two", "RUN echo three"]
    builder.build("-", dockerfile="-", stdin=dockerfile(*lines), sink=take)

    steps = [each for each in events if isinstance(each, polyarch.StepEvent) and "RUN" in each.name]
    first, second = dict.fromkeys(each.step for each in steps)
    logged = {first: b"", second: b""}
    for event in events:
        if isinstance(event, polyarch.LogEvent):
            logged[event.step] += event.data
    assert logged == {first: b"one\xff\ntwo\n", second: b"three\n"}
    assert [(each.step, each.completed is not None) for each in steps if each.started] == [
        (first, False),
        (first, True),
        (second, False),
        (second, True),
    ]
    places = [events.index(each) for each in events if isinstance(each, polyarch.LogEvent)]
    assert events.index(steps[0]) < min(places)
    assert max(places) < events.index(steps[-1])
    assert threads == {threading.get_ident()}


def test_a_secret_comes_from_the_caller(
    builder: polyarch.Builder,
    dockerfile: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("API_TEST_TOKEN", "from a variable")
    (tmp_path / "file").write_text("from a file")
    monkeypatch.chdir(tmp_path)
    secrets = [
        polyarch.Secret(id="variable", env="API_TEST_TOKEN"),
        polyarch.Secret(id="file", path="file"),
        polyarch.Secret(id="value", value=b"as it is"),
    ]
    lines = [
        f"RUN --mount=type=secret,id={each.id} cat /run/secrets/{each.id} >>/all"
        for each in secrets
    ]

    builder.build(
        "-",
        dockerfile="-",
        stdin=dockerfile(*lines),
        secrets=secrets,
        outputs=[polyarch.Output(type="local", destination="out")],
    )

    assert (tmp_path / "out/all").read_text() == "from a variablefrom a fileas it is"


# --- what goes wrong ---


def test_a_failing_step_raises_with_its_last_lines(
    builder: polyarch.Builder, dockerfile: Callable[..., bytes]
) -> None:
    stdin = dockerfile("RUN true", "RUN echo one; echo two >&2; exit 7")

    with pytest.raises(polyarch.errors.StepFailed) as caught:
        builder.build("-", dockerfile="-", stdin=stdin)

    assert (caught.value.status, caught.value.tail) == (7, ("one", "two"))
    assert caught.value.line == 3
    assert caught.value.place is not None
    assert ">>> RUN echo one; echo two >&2; exit 7\n" in caught.value.place.excerpt()


def test_a_wrong_dockerfile_raises_with_its_line(builder: polyarch.Builder) -> None:
    with pytest.raises(polyarch.errors.DockerfileError, match="unknown instruction: RNU") as caught:
        builder.build("-", dockerfile="-", stdin=b"FROM scratch\nRNU x\n")

    assert caught.value.line == 2


def test_a_missing_directory_raises(builder: polyarch.Builder, tmp_path: Path) -> None:
    with pytest.raises(polyarch.errors.NotFound, match="nowhere") as caught:
        builder.build(tmp_path / "nowhere")

    assert caught.value.hint


def test_an_engine_that_cant_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(polyarch.errors.StoreError, match=r"file"),
        polyarch.Builder(root=tmp_path / "file/store"),
    ):
        pass


def test_a_killed_engine_is_told_as_such(
    builder: polyarch.Builder, dockerfile: Callable[..., bytes]
) -> None:
    def kill(event: polyarch.Event) -> None:
        if isinstance(event, polyarch.LogEvent):
            os.kill(builder.pid, signal.SIGKILL)

    with pytest.raises(polyarch.errors.MachineError, match=r"the engine has ended: .* SIGKILL"):
        builder.build("-", dockerfile="-", stdin=dockerfile(ENDLESS), sink=kill)
    with pytest.raises(polyarch.errors.MachineError, match=r"the engine has ended: .* SIGKILL"):
        builder.build("-", dockerfile="-", stdin=b"FROM scratch")


# --- how it ends ---


def test_cancelling_from_another_thread_ends_the_build_only(
    builder: polyarch.Builder, dockerfile: Callable[..., bytes], context: Path
) -> None:
    cancel = polyarch.CancelToken()
    started = threading.Event()

    def cancel_once_started() -> None:
        assert started.wait(PATIENCE)
        cancel.cancel()

    canceller = threading.Thread(target=cancel_once_started)
    canceller.start()

    def take(event: polyarch.Event) -> None:
        if isinstance(event, polyarch.LogEvent):
            started.set()

    with pytest.raises(polyarch.errors.Cancelled):
        builder.build("-", dockerfile="-", stdin=dockerfile(ENDLESS), sink=take, cancel=cancel)
    canceller.join()
    with pytest.raises(polyarch.errors.Cancelled):
        builder.build(context, cancel=cancel)

    assert builder.build(context).ran == 1


def test_an_exception_of_the_sink_ends_the_build(
    builder: polyarch.Builder, dockerfile: Callable[..., bytes]
) -> None:
    steps: list[int] = []

    def fail(event: polyarch.Event) -> None:
        if isinstance(event, polyarch.LogEvent):
            # The shell has spoken; what it runs next may not have begun.
            end = time.monotonic() + PATIENCE
            while not steps and time.monotonic() < end:
                steps.extend(sleeping(builder.pid))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        builder.build("-", dockerfile="-", stdin=dockerfile(ENDLESS), sink=fail)

    assert len(steps) == 1
    assert sleeping(builder.pid) == []


def sleeping(engine: int) -> list[int]:
    """Return the steps of an engine that run `ENDLESS`."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in below(engine)}
    return [pid for pid, words in commands.items() if b"sleep\x00100000" in words]


def test_leaving_the_block_ends_builds_and_leaves_nothing(
    tmp_path: Path, dockerfile: Callable[..., bytes]
) -> None:
    started = threading.Event()

    def take(event: polyarch.Event) -> None:
        if isinstance(event, polyarch.LogEvent):
            started.set()

    with ThreadPoolExecutor() as pool:
        with polyarch.Builder(root=tmp_path / "store") as builder:
            stdin = dockerfile(ENDLESS)
            built = pool.submit(builder.build, "-", dockerfile="-", stdin=stdin, sink=take)
            assert started.wait(PATIENCE)
            processes = [builder.pid, *below(builder.pid)]
            with watching(processes) as watched:
                builder.__exit__(None, None, None)
                assert watched.left_after(0.1) == []
        with pytest.raises(polyarch.errors.Cancelled):
            built.result(PATIENCE)

    assert len(processes) >= 4
    assert mounts_of(tmp_path) == []


def test_an_interrupt_cancels_and_cleans_up(
    program: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with watching(below(program.pid)) as watched:
        program.send_signal(signal.SIGINT)
        _, complaint = program.communicate(timeout=PATIENCE)

        assert watched.left_after(0.1) == []
    assert program.returncode == -signal.SIGINT
    assert complaint.decode().endswith("KeyboardInterrupt\n")
    assert mounts_of(tmp_path) == []


def test_an_interrupt_that_another_thread_gets_is_heeded(
    program: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    # The kernel interrupts nothing that the main thread does, as if it had come just before that waits.
    threads = [int(task.name) for task in Path(f"/proc/{program.pid}/task").iterdir()]
    other = next(thread for thread in threads if thread != program.pid)
    with watching(below(program.pid)) as watched:
        assert ctypes.CDLL(None).tgkill(program.pid, other, signal.SIGINT) == 0
        _, complaint = program.communicate(timeout=PATIENCE)

        assert watched.left_after(0.1) == []
    assert program.returncode == -signal.SIGINT
    assert complaint.decode().endswith("KeyboardInterrupt\n")
    assert mounts_of(tmp_path) == []


def test_a_killed_caller_leaves_nothing(program: subprocess.Popen[bytes], tmp_path: Path) -> None:
    processes = below(program.pid)
    with watching(processes) as watched:
        program.kill()
        program.wait()

        assert watched.left_after(PATIENCE) == []
    assert len(processes) >= 4
    assert mounts_of(tmp_path) == []


# --- who calls ---


def test_builds_run_side_by_side_in_one_engine(
    builder: polyarch.Builder, dockerfile: Callable[..., bytes]
) -> None:
    def build(number: int) -> tuple[polyarch.BuildResult, set[bytes]]:
        logged: set[bytes] = set()

        def take(event: polyarch.Event) -> None:
            if isinstance(event, polyarch.LogEvent):
                logged.add(event.data)

        stdin = dockerfile("RUN echo shared", f"RUN echo {number}")
        result = builder.build("-", dockerfile="-", stdin=stdin, sink=take)
        return result, logged

    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(build, range(4)))

    logged = [logs - {b"shared\n"} for _, logs in built]
    assert logged == [{f"{number}\n".encode()} for number in range(4)]
    # The step that they share was run by one of them, while the others waited for it.
    assert sum(result.ran for result, _ in built) == 1 + 4
    assert len({result.digest for result, _ in built}) == 4


def test_an_idle_thread_of_the_caller_is_no_trouble(context: Path, tmp_path: Path) -> None:
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    before = os.readlink("/proc/self/ns/mnt"), os.getcwd(), threading.active_count()

    with polyarch.Builder(root=tmp_path / "store") as builder:
        assert builder.build(context).ran == 1

    assert (os.readlink("/proc/self/ns/mnt"), os.getcwd(), threading.active_count()) == before
    end.set()
    for thread in threads:
        thread.join()


def test_whoever_calls_gets_the_same(who: Person, registry: RealRegistry) -> None:
    who.write("Dockerfile", f"FROM {registry.host}/library/busybox\nRUN id -u >/id\n")
    script = """
import polyarch
with polyarch.Builder() as builder:
    out = polyarch.Output(type="local", destination="out")
    result = builder.build(".", platforms="linux/amd64", outputs=[out])
    with open("out/id") as file:
        print(result.ran, file.read(), end="")
"""
    words = [*who.become(), *who.command()[len(who.become()) :][:1], "-W", "error", "-c", script]

    assert who.run_other(*words).check().out == "1 0\n"


def test_a_fork_may_not_use_its_parents_builder(builder: polyarch.Builder, context: Path) -> None:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            builder.build(context)
        except polyarch.errors.InputError as error:
            status = 0 if "belongs to another process" in str(error) else 2
        finally:
            builder.__exit__(None, None, None)
            os._exit(status)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert builder.build(context).ran == 1


def test_a_builder_is_open_in_its_block_only(tmp_path: Path, context: Path) -> None:
    builder = polyarch.Builder(root=tmp_path / "store")
    with pytest.raises(polyarch.errors.InputError, match="isn't open"):
        builder.build(context)
    with builder:
        assert builder.pid
        with pytest.raises(polyarch.errors.InputError, match="open already"), builder:
            pass
    assert builder.pid == 0
    with pytest.raises(polyarch.errors.InputError, match="isn't open"):
        builder.build(context)


def test_starting_an_engine_takes_moments(tmp_path: Path, context: Path) -> None:
    with polyarch.Builder(root=tmp_path / "store") as builder:
        builder.build(context)
    start = time.monotonic()
    with polyarch.Builder(root=tmp_path / "store") as builder:
        assert builder.build(context).cached == 1
    # About a third of a second on an idle machine; what matters is that nothing waits for a time-out.
    assert time.monotonic() - start < 15
