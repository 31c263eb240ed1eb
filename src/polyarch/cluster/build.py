"""A build on a cluster: contexts are sent once, each platform is a task, and the parts get one index under all names.

Events come back by Dask's own messages about a topic. Where a worker dies, Dask has its task done by another one: what the
first was doing then is ended, and the user told that the part has moved.
"""

from __future__ import annotations

import json
import os
import queue
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from polyarch.builders.values import BuilderNode
from polyarch.cluster.address import Cluster, parse_cluster
from polyarch.cluster.carrying import LIMIT, read_archive, send_pieces, send_whole
from polyarch.cluster.packing import Archive
from polyarch.cluster.parcel import Parcel, credentials_for, parcel_of
from polyarch.cluster.scheduler import Future, Scheduler, connected
from polyarch.cluster.wire import Answer, Sent, Task
from polyarch.digest import Digest, sha256
from polyarch.engine.engine import Engine
from polyarch.errors import MachineError
from polyarch.exporter.outfile import write_output
from polyarch.layer.apply import extract
from polyarch.layer.tar import Sink as TarSink
from polyarch.layer.tarread import Source
from polyarch.library.codec import decode, encode
from polyarch.library.messages import read_answer, read_event
from polyarch.pipeline.nodes import (
    by_digest,
    check_joinable,
    joined,
    of_platforms,
    with_node_name,
)
from polyarch.pipeline.recorded import recorded
from polyarch.platforms import Platform, host, normalize
from polyarch.progress import CANCELED, CancelToken, Event, Sink, StepEvent, WarningEvent, step
from polyarch.record import field, frozen, mutable, replace
from polyarch.release import RELEASE
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output, OutputType

__all__ = ["build_on_cluster"]

_POLL = 0.2
"""Seconds after which it is looked whether tasks have ended, while nothing is told."""
_LATE = 5.0
"""Seconds for which the last events of a task are waited for after its end."""
_CHUNK = 1 << 20

Message = Mapping[str, Any]


def build_on_cluster(
    engine: Engine, node: BuilderNode, request: BuildRequest, *, sink: Sink, cancel: CancelToken
) -> BuildResult:
    """Carry out a request on a cluster, and keep its record.

    Raises MachineError where no worker runs a platform, or the scheduler or the workers are lost; InputError for what can't
    be sent or joined; and what builds raise.
    """
    cluster = parse_cluster(node.endpoint, node.driver_opts)

    def build(kept: Sink) -> BuildResult:
        parcel = parcel_of(request, engine.environ)
        with connected(cluster) as scheduler:
            building = _Building(
                engine=engine, cluster=cluster, scheduler=scheduler, sink=kept, cancel=cancel
            )
            return building.run(parcel)

    return recorded(engine, request, sink, build)


@frozen
class _Building:
    """What a build is carried out with."""

    engine: Engine
    cluster: Cluster
    scheduler: Scheduler
    sink: Sink
    cancel: CancelToken

    def run(self, parcel: Parcel) -> BuildResult:
        """Carry out what is in a parcel."""
        request = parcel.request
        platforms = tuple(map(normalize, request.platforms)) or (self._first(),)
        self._require(platforms)
        if len(platforms) > 1:
            check_joinable(request.outputs)
        with ExitStack() as stack:
            sent, futures = self._send(parcel)
            stack.callback(self.scheduler.cancel, list(futures.values()))
            parts = [
                _Part(
                    platform=platform,
                    request=replace(
                        by_digest(request) if len(platforms) > 1 else request, platforms=(platform,)
                    ),
                )
                for platform in platforms
            ]
            topic = f"polyarch-{os.urandom(8).hex()}"
            make = partial(self._task, parcel, sent, topic)
            answers = _Following(self.scheduler, self.sink, self.cancel).run(
                parts, topic, lambda part: self._submit(make(part), futures, part)
            )
            results = []
            for part in parts:
                answer, files = answers[part.name]
                result = read_answer(json.loads(answer.message))
                results.append(of_platforms(result, (part.platform,)) if len(parts) > 1 else result)
                self._deliver(part.request.outputs, answer, files)
        if len(parts) == 1:
            return results[0]
        return joined(self.engine, request, results, self.sink, self.cancel)

    def _first(self) -> Platform:
        """Return the platform that a build is for that names none: this machine's, if the cluster has it."""
        known = [each for worker in self.scheduler.workers() for each in worker.platforms]
        return host() if host() in known or not known else known[0]

    def _require(self, platforms: Sequence[Platform]) -> None:
        """Raise MachineError unless there are workers for all platforms, within the time that they have to come."""
        until = time.monotonic() + self.cluster.wait
        while True:
            workers = self.scheduler.workers()
            known = {each for worker in workers for each in worker.platforms}
            missing = [each for each in platforms if each not in known]
            if not missing:
                return
            if time.monotonic() >= until:
                break
            self.cancel.check()
            time.sleep(_POLL)
        shown = ", ".join(sorted(map(str, known))) or "none"
        raise MachineError(
            f"no worker of the cluster at {self.cluster.address} runs {', '.join(map(str, missing))} natively: "
            f"its {len(workers)} workers have {shown}",
            hint=f"start one on such a machine: polyarch worker {self.cluster.address}",
        )

    # --- there ---

    def _send(self, parcel: Parcel) -> tuple[dict[str, Sent], dict[str, Future]]:
        """Send the contexts; returns where they are, and those that Dask carries."""
        sent: dict[str, Sent] = {}
        futures: dict[str, Future] = {}
        for name, archive in parcel.archives.items():
            shown = f"[internal] send {name.removeprefix(':')} to the cluster"
            with step(self.sink, shown, sha256(f"{shown} {archive.root}".encode())) as sending:
                started = time.time()
                if self.cluster.transfer is None:
                    sent[name], data = send_whole(archive.write, f"the directory {archive.root}")
                    futures[name] = self.scheduler.keep(data, sent[name].digest)
                    sending.status("packed", sent[name].size, started=started, is_done=True)
                else:
                    sent[name] = self._send_pieces(archive)
                    sending.status("sent", sent[name].size, started=started, is_done=True)
        return sent, futures

    def _send_pieces(self, archive: Archive) -> Sent:
        assert self.cluster.transfer is not None
        return send_pieces(
            archive.write,
            archive.size,
            self.cluster.transfer,
            latest=f"{os.uname().nodename}:{archive.root.resolve()}",
            environ=self.engine.environ,
            cancel=self.cancel,
            on_bytes=lambda _bytes: None,
        )

    def _task(self, parcel: Parcel, sent: Mapping[str, Sent], topic: str, part: _Part) -> Task:
        transfer = self.cluster.transfer
        domains = (transfer.domain,) if transfer is not None else ()
        return Task(
            part=part.name,
            topic=topic,
            version=RELEASE,
            request=part.request,
            archives=sent,
            dockerfile=parcel.dockerfile,
            auths=credentials_for(parcel, domains, self.engine.environ),
            transfer=transfer.repository if transfer is not None else "",
            limit=LIMIT,
        )

    def _submit(self, task: Task, futures: Mapping[str, Future], part: _Part) -> Future:
        along = [futures[name] for name, each in task.archives.items() if not each.place]
        key = f"polyarch-{part.name}-{os.urandom(8).hex()}"
        return self.scheduler.submit(json.dumps(encode(task)), along, part.platform, key)

    # --- back ---

    def _deliver(self, outputs: Sequence[Output], answer: Answer, files: Sequence[bytes]) -> None:
        """Write what outputs have written on the worker to where it was asked for."""
        along = iter(files)
        for number, sent in answer.files.items():
            data = b"" if sent.place else next(along)
            output = outputs[int(number)]
            with tempfile.TemporaryFile() as file:
                read_archive(
                    sent,
                    data,
                    partial(_save, file),
                    environ=self.engine.environ,
                    cancel=self.cancel,
                )
                file.seek(0)
                if output.type == OutputType.LOCAL:
                    directory = Path(output.destination)
                    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
                    extract(file, directory, "/", owner=(os.geteuid(), os.getegid()))
                else:
                    write_output(output.destination, partial(_copy, file))


def _save(file: BinaryIO, source: Source) -> None:
    while data := source.read(_CHUNK):
        file.write(data)


def _copy(file: BinaryIO, sink: TarSink) -> None:
    while data := file.read(_CHUNK):
        sink.write(data)


# --- what workers tell ---


@mutable
class _Part:
    """A platform of a build: who builds it at this moment, and what is under way there."""

    platform: Platform
    request: BuildRequest
    attempt: str = ""
    worker: str = ""
    batches: int = 0
    """How many batches of events of this attempt have come."""
    open: dict[Digest, StepEvent] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the part is called in messages: the platform."""
        return str(self.platform)


class _Following:
    """Waits for tasks, and shows what they tell."""

    def __init__(self, scheduler: Scheduler, sink: Sink, cancel: CancelToken) -> None:
        self._scheduler = scheduler
        self._sink = sink
        self._cancel = cancel
        self._heard: queue.SimpleQueue[Message | None] = queue.SimpleQueue()

    def run(
        self, parts: Sequence[_Part], topic: str, submit: Callable[[_Part], Future]
    ) -> dict[str, tuple[Answer, list[bytes]]]:
        """Have all parts built; returns the answers by the parts' names.

        Raises what a part fails with, once the others don't run any more, and Cancelled.
        """
        by_name = {part.name: part for part in parts}
        self._scheduler.hear(topic, self._heard)
        forget = self._cancel.on_cancel(partial(self._heard.put, None))
        futures: dict[str, Future] = {}
        try:
            futures |= {part.name: submit(part) for part in parts}
            return self._wait(by_name, futures)
        finally:
            forget()
            self._scheduler.cancel(list(futures.values()))
            self._scheduler.forget(topic)

    def _wait(
        self, parts: Mapping[str, _Part], futures: Mapping[str, Future]
    ) -> dict[str, tuple[Answer, list[bytes]]]:
        answers: dict[str, tuple[Answer, list[bytes]]] = {}
        while len(answers) < len(parts):
            self._take(parts, _POLL)
            self._cancel.check()
            waiting = [future for name, future in futures.items() if name not in answers]
            self._scheduler.check(waiting)
            for name, future in futures.items():
                if name not in answers and future.done():
                    text, files = self._scheduler.result(future)
                    answer = decode(Answer, json.loads(text))
                    self._take_rest(parts, parts[name], answer)
                    answers[name] = answer, files
                    read_answer(json.loads(answer.message))  # or raise what it has failed with
        return answers

    def _take_rest(self, parts: Mapping[str, _Part], part: _Part, answer: Answer) -> None:
        """Show what was told before an answer, which may come later than that."""
        until = time.monotonic() + _LATE
        while time.monotonic() < until and (
            part.attempt != answer.attempt or part.batches < answer.batches
        ):
            self._take(parts, _POLL)

    def _take(self, parts: Mapping[str, _Part], seconds: float) -> None:
        """Show what has been told so far; wait for a while if that is nothing."""
        try:
            message = self._heard.get(timeout=seconds)
            while message is not None:
                self._show(parts[message["part"]], message)
                message = self._heard.get_nowait()
        except queue.Empty:
            return

    def _show(self, part: _Part, batch: Message) -> None:
        if batch["attempt"] != part.attempt:
            self._begin(part, batch)
        part.batches += 1
        show = with_node_name(self._sink, part.worker)
        for each in json.loads(batch["events"]):
            event = read_event(each)
            if event is not None:
                show(self._of_part(part, event))

    def _begin(self, part: _Part, batch: Message) -> None:
        """Take note of who builds a part; if somebody else did before, say so, and end what that one had begun."""
        before, part.worker = part.worker, str(batch["node"])
        part.attempt, part.batches = batch["attempt"], 0
        if not before:
            return
        moved = f"{before} was lost: {part.name} is built again on {part.worker}"
        now = time.time()
        show = with_node_name(self._sink, before)
        for event in part.open.values():
            show(replace(event, completed=now, error=CANCELED))
        part.open.clear()
        told = sha256(f"{part.attempt} moved".encode())
        self._sink(StepEvent(step=told, name=moved, started=now, completed=now))
        self._sink(WarningEvent(step=told, short=moved))

    def _of_part(self, part: _Part, event: Event) -> Event:
        """Tell an event from those of other parts and attempts, in which the same step may be under way."""

        def own(digest: Digest) -> Digest:
            return sha256(f"{part.name} {part.attempt} {digest}".encode())

        event = replace(event, step=own(event.step))
        if isinstance(event, StepEvent):
            event = replace(event, inputs=tuple(map(own, event.inputs)))
            if event.completed is not None:
                part.open.pop(event.step, None)
            elif event.started is not None:
                part.open[event.step] = event
        return event
