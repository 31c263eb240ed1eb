"""The worker's half of a task: contexts are unpacked, a build is carried out, its events are told as they come.

A worker has one engine for each set of credentials, which lives on for the next task. Whatever a build fails by is an
answer, and nothing for Dask to try again; Dask runs a task elsewhere where a worker was lost.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from polyarch.cluster.carrying import read_archive, send_pieces, send_whole
from polyarch.cluster.packing import unpack
from polyarch.cluster.wire import CONTEXT, DOCKERFILE, Answer, Sent, Task
from polyarch.errors import InputError
from polyarch.exporter.delivery import copy_file
from polyarch.layer.tarread import Source
from polyarch.library.builder import EngineBuilder
from polyarch.library.codec import decode, encode
from polyarch.library.messages import error_message, event_message, result_message
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken, Event
from polyarch.record import field, frozen, mutable, replace
from polyarch.release import RELEASE
from polyarch.request.values import BuildRequest, Output, OutputType

__all__ = ["read_task", "run_task"]

_TOLD_EVERY = 0.1
"""Seconds for which events are gathered, as each message goes through the scheduler."""
_ASKED_EVERY = 0.5
"""Seconds after which a task looks whether it is still wanted."""
_CONTEXTS_KEPT = 8
_ENGINES_KEPT = 4


def run_task(text: str, *archives: bytes) -> tuple[str, list[bytes]]:
    """Carry out a task; returns the answer as text, and the files that come along with it."""
    from distributed import get_worker  # noqa: PLC0415 there on workers only

    worker: Any = get_worker()
    told = _Telling(worker)
    files: list[bytes] = []
    found: dict[str, Sent] = {}
    message: Mapping[str, object]
    try:
        task = read_task(text)
        told.begin(task.topic, task.part)
        with _cancelled_with(worker, told.key) as cancel:
            message = _carry_out(task, archives, told, cancel, (found, files))
    except Exception as error:  # noqa: BLE001 the client raises it
        message = error_message(error)
    batches = told.end()
    answer = Answer(attempt=told.attempt, batches=batches, message=json.dumps(message), files=found)
    return json.dumps(encode(answer)), files


def read_task(text: str) -> Task:
    """Read a task. Raises InputError for one of another version."""
    data = json.loads(text)
    version = data.get("version") if isinstance(data, dict) else None
    if version != RELEASE:
        raise InputError(
            f"the worker {os.uname().nodename} has polyarch {RELEASE}, and the build is of {version}",
            hint="install the same version everywhere",
        )
    return decode(Task, data)


class _Telling:
    """Tells the client of events, a few at a time, in order."""

    def __init__(self, worker: Any) -> None:
        self.attempt = os.urandom(8).hex()
        self.key = worker.get_current_task()
        self.directory = Path(worker.local_directory)
        self._worker = worker
        self._topic = self._part = ""
        self._waiting: list[Mapping[str, Any]] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._batches = 0
        self._thread: threading.Thread | None = None

    def begin(self, topic: str, part: str) -> None:
        self._topic, self._part = topic, part
        self._flush(is_first=True)
        self._thread = threading.Thread(target=self._run, name="telling")
        self._thread.start()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._waiting.append(event_message(event))

    def end(self) -> int:
        """Tell the rest; returns how many batches there were."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._flush()
        return self._batches

    def _run(self) -> None:
        while not self._ended.wait(_TOLD_EVERY):
            self._flush()

    def _flush(self, *, is_first: bool = False) -> None:
        with self._lock:
            events, self._waiting = self._waiting, []
        if events or is_first:
            batch = {
                "part": self._part,
                "attempt": self.attempt,
                "node": str(self._worker.name),
                "events": json.dumps(events),  # Dask's own form doesn't tell lists from tuples
            }
            self._batches += 1
            self._worker.log_event(self._topic, batch)


@contextmanager
def _cancelled_with(worker: Any, key: str) -> Iterator[CancelToken]:
    """Give a token that is cancelled when the scheduler doesn't want the task any more, or has gone.

    A thread that runs a task isn't told; what is known of it is the state of the task.
    """
    cancel = CancelToken()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_ASKED_EVERY):
            state = worker.state.tasks.get(key)
            if state is None or state.state == "cancelled" or worker.status.name.startswith("clos"):
                cancel.cancel()
                return

    watcher = threading.Thread(target=watch, name="wanted")
    watcher.start()
    try:
        yield cancel
    finally:
        done.set()
        watcher.join()


def _carry_out(
    task: Task,
    archives: Sequence[bytes],
    told: _Telling,
    cancel: CancelToken,
    returned: tuple[dict[str, Sent], list[bytes]],
) -> Mapping[str, object]:
    environ = _environ(task.auths)
    place = _Place(directory=told.directory, environ=environ, cancel=cancel)
    whole = iter(archives)
    data = {name: b"" if sent.place else next(whole) for name, sent in task.archives.items()}
    with ExitStack() as stack:
        directories = {
            name: stack.enter_context(_CONTEXTS.opened(sent, data[name], place))
            for name, sent in task.archives.items()
        }
        scratch = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="task-", dir=told.directory))
        )
        builder = stack.enter_context(_ENGINES.opened(environ))
        request = _settled(task, directories, scratch)
        result = builder.carry_out(request, sink=told, cancel=cancel)
        found, files = returned
        for number, path in _written(request.outputs, scratch):
            sent, along = _send_file(path, task, environ, cancel)
            found[str(number)] = sent
            files += along
    return result_message(result)


def _environ(auths: str) -> dict[str, str]:
    return {**os.environ, "DOCKER_AUTH_CONFIG": auths} if auths else dict(os.environ)


def _settled(task: Task, directories: Mapping[str, Path], scratch: Path) -> BuildRequest:
    """Return the request with the paths of this machine."""
    request = task.request
    main = directories.get(CONTEXT)
    dockerfile = request.dockerfile
    if task.dockerfile:
        dockerfile = str(directories.get(DOCKERFILE, main or scratch) / task.dockerfile)
    named = {
        name: str(directories.get(f":{name}", value))
        for name, value in request.build_contexts.items()
    }
    outputs = tuple(
        _into(output, scratch / str(number)) for number, output in enumerate(request.outputs)
    )
    return replace(
        request,
        context=str(main) if main is not None else request.context,
        dockerfile=dockerfile,
        build_contexts=named,
        outputs=outputs,
    )


def _into(output: Output, path: Path) -> Output:
    """Return an output with its file at `path`; a directory is made as an archive, which the client unpacks."""
    if not output.destination:
        return output
    kind = OutputType.TAR if output.type == OutputType.LOCAL else output.type
    return replace(output, type=kind, destination=str(path))


def _written(outputs: Sequence[Output], scratch: Path) -> Iterator[tuple[int, Path]]:
    for number, output in enumerate(outputs):
        path = scratch / str(number)
        if output.destination and path.is_file():
            yield number, path


def _send_file(
    path: Path, task: Task, environ: Mapping[str, str], cancel: CancelToken
) -> tuple[Sent, list[bytes]]:
    with path.open("rb") as file:
        produce = partial(copy_file, file)
        if task.transfer:
            sent = send_pieces(
                produce,
                path.stat().st_size,
                parse_reference(task.transfer),
                latest=f"output of {task.request.context}",
                environ=environ,
                cancel=cancel,
                on_bytes=lambda _bytes: None,
            )
            return sent, []
        sent, frame = send_whole(produce, "what an output has written", task.limit)
        return sent, [frame]


# --- what tasks have in common ---


@mutable
class _Kept:
    """Something that is kept for the next task; `users` are the tasks that have it at this moment."""

    value: Any = None
    users: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Shared:
    """Things that several tasks use, made by the first; those that nobody uses are let go, the oldest first."""

    def __init__(self, most: int, let_go: Callable[[Any], None]) -> None:
        self._most = most
        self._let_go = let_go
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    @contextmanager
    def use(
        self, key: str, make: Callable[[], Any], is_good: Callable[[Any], bool]
    ) -> Iterator[Any]:
        """Give what has a key. What `make` raises is raised, and made anew by the next task."""
        with self._lock:
            kept = self._kept.pop(key, None) or _Kept()
            self._kept[key] = kept
            kept.users += 1
        try:
            with kept.lock:
                if kept.value is None or not is_good(kept.value):
                    kept.value = make()
            yield kept.value
        finally:
            with self._lock:
                kept.users -= 1
                unused = [name for name, each in self._kept.items() if not each.users]
                gone = [
                    self._kept.pop(name) for name in unused[: max(0, len(self._kept) - self._most)]
                ]
            for each in gone:
                if each.value is not None:
                    self._let_go(each.value)


@frozen
class _Place:
    """Where contexts are unpacked, which Dask clears of what dead workers have left; and what fetches them."""

    directory: Path
    environ: Mapping[str, str]
    cancel: CancelToken


class _Contexts:
    """Unpacked contexts by their digests."""

    def __init__(self) -> None:
        self._shared = _Shared(_CONTEXTS_KEPT, partial(shutil.rmtree, ignore_errors=True))

    @contextmanager
    def opened(self, sent: Sent, data: bytes, place: _Place) -> Iterator[Path]:
        """Give the directory that an archive unpacks to."""

        def make() -> Path:
            directory = Path(tempfile.mkdtemp(prefix="context-", dir=place.directory))

            def take(source: Source) -> None:
                unpack(source, directory)

            try:
                read_archive(sent, data, take, environ=place.environ, cancel=place.cancel)
            except BaseException:
                shutil.rmtree(directory, ignore_errors=True)
                raise
            return directory

        with self._shared.use(sent.digest, make, Path.is_dir) as directory:
            yield directory


class _Engines:
    """Engines by the credentials that they have."""

    def __init__(self) -> None:
        self._shared = _Shared(_ENGINES_KEPT, lambda builder: builder.__exit__(None, None, None))

    @contextmanager
    def opened(self, environ: Mapping[str, str]) -> Iterator[EngineBuilder]:
        """Give an engine with these variables."""
        auths = environ.get("DOCKER_AUTH_CONFIG", "")
        with self._shared.use(
            auths, lambda: EngineBuilder(environ=environ).__enter__(), _lives
        ) as builder:
            yield builder


def _lives(builder: EngineBuilder) -> bool:
    return os.path.exists(f"/proc/{builder.pid}")


_CONTEXTS = _Contexts()
_ENGINES = _Engines()
