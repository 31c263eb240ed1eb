"""A build on a cluster: contexts are sent once, each platform is a task, and the parts get one index under all names.

Events come back by Dask's own messages about a topic. Where a worker dies, Dask has its task done by another one.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from polyarch.builders.values import BuilderNode
from polyarch.cluster.address import Cluster, parse_cluster
from polyarch.cluster.carrying import LIMIT, read_archive, send_pieces, send_whole
from polyarch.cluster.following import Built, Following, Part
from polyarch.cluster.packing import Archive
from polyarch.cluster.parcel import Parcel, credentials_for, parcel_of
from polyarch.cluster.scheduler import Future, Scheduler, connected
from polyarch.cluster.wire import Sent, Task
from polyarch.digest import sha256
from polyarch.engine.engine import Engine
from polyarch.errors import InputError, MachineError
from polyarch.exporter.delivery import deliver
from polyarch.images.place import Seal
from polyarch.layer.tarread import Source
from polyarch.library.codec import encode
from polyarch.pipeline.guarded import has_policies
from polyarch.pipeline.parts import (
    Joining,
    by_digest,
    check_joinable,
    check_sealable,
    of_platforms,
)
from polyarch.pipeline.recorded import recorded
from polyarch.pipeline.sealing import sealing
from polyarch.pipeline.separating import Separating
from polyarch.platforms import Platform, host, normalize
from polyarch.progress import CancelToken, Sink, step
from polyarch.record import field, frozen, replace
from polyarch.release import RELEASE
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output
from polyarch.threads import Once

__all__ = ["Carried", "Session", "build_on_cluster", "open_session"]

_POLL = 0.2
"""Seconds after which it is looked again for workers that aren't there yet."""
_CHUNK = 1 << 20


class Carried:
    """Archives that were sent already, by what is in them."""

    def __init__(self) -> None:
        self._found: dict[str, Once[tuple[Sent, Future | None]]] = {}
        self._lock = threading.Lock()

    def get(
        self, fingerprint: str, carry: Callable[[], tuple[Sent, Future | None]]
    ) -> tuple[Sent, Future | None, bool]:
        """Return where an archive is, sent by `carry` if it wasn't; and whether that was so."""
        with self._lock:
            sending = self._found.setdefault(fingerprint, Once())
        mine: list[bool] = []

        def send() -> tuple[Sent, Future | None]:
            mine.append(True)
            return carry()

        return (*sending.get(send), bool(mine))


def build_on_cluster(
    engine: Engine, node: BuilderNode, request: BuildRequest, *, sink: Sink, cancel: CancelToken
) -> BuildResult:
    """Carry out a request on a cluster, and keep its record.

    Raises MachineError where no worker runs a platform, or the scheduler or the workers are lost; InputError for what can't
    be sent or joined; and what builds raise.
    """
    with open_session(engine, node) as session:
        return session.build(request, sink=sink, cancel=cancel)


@contextmanager
def open_session(engine: Engine, node: BuilderNode) -> Iterator[Session]:
    """Give a connection to a node's cluster, for any number of builds. Raises InputError, MachineError."""
    cluster = parse_cluster(node.endpoint, node.driver_opts)
    with connected(cluster) as scheduler:
        yield Session(engine=engine, cluster=cluster, scheduler=scheduler)


@frozen
class Session:
    """Builds on one cluster, which may run side by side: what they are built from is sent once."""

    engine: Engine
    cluster: Cluster
    scheduler: Scheduler
    carried: Carried = field(default_factory=Carried)

    def build(self, request: BuildRequest, *, sink: Sink, cancel: CancelToken) -> BuildResult:
        """Carry out a request, and keep its record. Raises as `build_on_cluster`."""
        if has_policies(request, self.engine.environ):
            raise InputError(
                "policies aren't supported yet by clusters",
                hint="build on this machine or on a BuildKit daemon, or without them: --policy disabled=true",
            )

        def build(kept: Sink) -> BuildResult:
            seal = sealing(request, self.engine.environ, cancel)
            parcel = parcel_of(replace(request, signing=()), self.engine.environ)
            return _Building(session=self, sink=kept, cancel=cancel, seal=seal).run(parcel)

        return recorded(self.engine, request, sink, build)


@frozen
class _Building:
    """One build of a session."""

    session: Session
    sink: Sink
    cancel: CancelToken
    seal: Seal | None

    @property
    def engine(self) -> Engine:
        """The engine that asked for it."""
        return self.session.engine

    @property
    def cluster(self) -> Cluster:
        """The cluster that it's built on."""
        return self.session.cluster

    @property
    def scheduler(self) -> Scheduler:
        """The connection to it."""
        return self.session.scheduler

    def run(self, parcel: Parcel) -> BuildResult:
        """Carry out what is in a parcel."""
        request = parcel.request
        platforms = tuple(map(normalize, request.platforms)) or (self._first(),)
        self._require(platforms)
        if len(platforms) > 1:
            check_joinable(request.outputs)
        elif self.seal is not None:
            check_sealable(request.outputs)
        sent, futures = self._send(parcel)
        joining = Joining(engine=self.engine, sink=self.sink, cancel=self.cancel, seal=self.seal)
        if len(platforms) == 1:
            asked = request if self.seal is None else by_digest(request)
            whole = Part(platform=platforms[0], request=replace(asked, platforms=platforms))
            result = self._built(parcel, (whole,), sent, futures)[0]
            return result if self.seal is None else joining.named(request, result)
        with tempfile.TemporaryDirectory(prefix="polyarch-") as scratch:
            separating, asked = Separating(Path(scratch)), by_digest(request)
            parts = [
                Part(
                    platform=each,
                    request=separating.part(replace(asked, platforms=(each,)), (each,)),
                )
                for each in platforms
            ]
            built = self._built(parcel, parts, sent, futures)
            separating.join(request)
        results = [
            of_platforms(each, (part.platform,)) for each, part in zip(built, parts, strict=True)
        ]
        return joining.joined(request, results)

    def _built(
        self,
        parcel: Parcel,
        parts: Sequence[Part],
        sent: Mapping[str, Sent],
        futures: Mapping[str, Future],
    ) -> list[BuildResult]:
        """Have the parts built, and what they made brought to its place."""
        topic = f"polyarch-{os.urandom(8).hex()}"

        def submit(part: Part) -> Future:
            return self._submit(self._task(parcel, sent, topic, part), futures, part)

        answers = Following(self.scheduler, self.sink, self.cancel).run(parts, topic, submit)
        for part in parts:
            self._deliver(part.request.outputs, answers[part.name])
        return [answers[part.name].result for part in parts]

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
                sent[name], future, is_new = self.session.carried.get(
                    archive.fingerprint, partial(self._carry, archive)
                )
                if future is not None:
                    futures[name] = future
                text = "sent" if is_new else "there already"
                sending.status(text, sent[name].size, started=started, is_done=True)
        return sent, futures

    def _carry(self, archive: Archive) -> tuple[Sent, Future | None]:
        """Send an archive through the cluster's registry, or else through Dask."""
        if self.cluster.transfer is None:
            sent, data = send_whole(archive.write, f"the directory {archive.root}")
            return sent, self.scheduler.keep(data, sent.digest)
        sent = send_pieces(
            archive.write,
            archive.size,
            self.cluster.transfer,
            latest=f"{os.uname().nodename}:{archive.root.resolve()}",
            environ=self.engine.environ,
            cancel=self.cancel,
            on_bytes=lambda _bytes: None,
        )
        return sent, None

    def _task(self, parcel: Parcel, sent: Mapping[str, Sent], topic: str, part: Part) -> Task:
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

    def _submit(self, task: Task, futures: Mapping[str, Future], part: Part) -> Future:
        along = [futures[name] for name, each in task.archives.items() if not each.place]
        key = f"polyarch-{part.name}-{os.urandom(8).hex()}"
        return self.scheduler.submit(json.dumps(encode(task)), along, part.platform, key)

    # --- back ---

    def _deliver(self, outputs: Sequence[Output], built: Built) -> None:
        """Write what outputs have written on the worker to where it was asked for."""
        along = iter(built.along)
        for number, sent in built.files.items():
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
                deliver(output, file)


def _save(file: BinaryIO, source: Source) -> None:
    while data := source.read(_CHUNK):
        file.write(data)
