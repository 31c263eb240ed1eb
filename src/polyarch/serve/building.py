"""One build for a client, from what it asked for to what it is answered; in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from polyarch.buildkit.messages import Stat
from polyarch.digest import Digest, parse_digest
from polyarch.engine.caller import Reads
from polyarch.engine.engine import Engine
from polyarch.errors import InputError, NotFound
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.oci.config import ImageConfig
from polyarch.oci.reference import parse as parse_reference
from polyarch.pipeline.build import build_on
from polyarch.pipeline.recorded import exporter_response, recorded_build
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Sink
from polyarch.record import frozen, replace
from polyarch.request.caches import check_caches
from polyarch.request.values import BuildRequest, CacheEntry, Output, OutputType
from polyarch.serve.asking import Client
from polyarch.serve.attributes import read_request
from polyarch.serve.content import fetch_layout, read_manifest_entry, send_layout
from polyarch.serve.contexts import KeptDirectories, LocalContexts
from polyarch.serve.inside import list_directory, read_part, stat_of
from polyarch.serve.jobs import Job
from polyarch.serve.lending import LentAgents, LentCredentials, LentSecrets
from polyarch.serve.messages import SolveRequest, cache_imports
from polyarch.serve.outputs import ClientOutputs
from polyarch.serve.sessions import Session

__all__ = ["Answers", "Builds", "check_frontend"]

Answers = Callable[[str, Engine, BuildRequest, Sink, CancelToken], Mapping[str, bytes]]
"""Answers a question about a Dockerfile by its name, in the form in which frontends do."""

_BUILDER = "default/default"
_DOCKERFILE, _GATEWAY = "dockerfile.v0", "gateway.v0"


@frozen
class Lender:
    """What a client lends to a build, as `polyarch.engine.caller.Caller`."""

    secrets: LentSecrets
    agents: LentAgents
    credentials: LentCredentials
    contexts: LocalContexts

    def bring(self, reads: Reads, sink: Sink) -> None:
        """See Caller."""
        self.contexts.bring(reads, sink)


def check_frontend(request: SolveRequest) -> SolveRequest:
    """Return a request to a Dockerfile frontend as one to the built-in one. Raises InputError for other frontends."""
    if request.frontend == _GATEWAY:
        image = request.attributes.get("source", "")
        # The file is looked at as if it had named the image itself.
        arguments = {"build-arg:BUILDKIT_SYNTAX": image, **request.attributes}
        return replace(request, frontend=_DOCKERFILE, attributes=arguments)
    if request.frontend != _DOCKERFILE:
        raise InputError(f"frontend {request.frontend} not found")
    return request


@frozen
class Builds:
    """Carries out builds on an engine."""

    engine: Engine
    kept: KeptDirectories
    loop: asyncio.AbstractEventLoop
    threads: ThreadPoolExecutor
    answers: Answers

    def evaluate(self, request: SolveRequest, session: Session, job: Job) -> None:
        """Build something without exporting it."""
        self.build(replace(request, exporters=(), cache_to=(), is_internal=True), session, job)

    def ask(self, request: SolveRequest, session: Session, job: Job) -> Mapping[str, bytes]:
        """Answer a question about a Dockerfile, the attribute `requestid`. Raises what keeps it from being read."""
        with self._opened(request, session, job) as (engine, work):
            name = request.attributes.get("requestid", "")
            return self.answers(name, engine, work.request, job.tell, job.cancel)

    def resolve(
        self, name: str, platform: Platform, pull: bool, session: Session, job: Job
    ) -> tuple[Digest, ImageConfig]:
        """Return the digest and the config of an image. Raises NotFound, RemoteError."""
        client = Client(session=session, loop=self.loop, cancel=job.cancel)
        with self.engine.transport.known_by(LentCredentials(client)) as transport:
            engine = replace(self.engine, transport=transport)
            resolver = engine.images(job.tell).resolver(job.cancel, pull=pull)
            image = resolver.resolve(parse_reference(name).canonical, platform)
        return image.root or image.digest, image.config

    @contextmanager
    def _files(
        self, request: SolveRequest, platform: str, session: Session, job: Job
    ) -> Iterator[Path]:
        """Give the files of a result."""
        attributes = dict(request.attributes)
        if platform:
            attributes |= {"platform": platform, "multi-platform": ""}
        asked = replace(request, attributes=attributes, exporters=(), cache_to=(), is_internal=True)
        with self._opened(asked, session, job) as (engine, work):
            path = engine.store.temporary("files")
            try:
                output = Output(type=OutputType.LOCAL, destination=str(path))
                wanted = replace(work.request, outputs=(output,), attestations=())
                build_on(engine, wanted, sink=job.tell, cancel=job.cancel)
                yield path
            finally:
                engine.store.discard(path)

    def read_file(
        self,
        request: SolveRequest,
        platform: str,
        wanted: tuple[str, int, int],
        session: Session,
        job: Job,
    ) -> bytes:
        """Return a part of a file of a result: its path, where the part begins, and its size, 0 for all."""
        with self._files(request, platform, session, job) as root:
            return read_part(root, *wanted)

    def read_directory(
        self,
        request: SolveRequest,
        platform: str,
        wanted: tuple[str, str],
        session: Session,
        job: Job,
    ) -> list[Stat]:
        """Return the entries of a directory of a result: its path, and a pattern for names, "" for all."""
        with self._files(request, platform, session, job) as root:
            return list_directory(root, *wanted)

    def stat_file(
        self, request: SolveRequest, platform: str, path: str, session: Session, job: Job
    ) -> Stat:
        """Return what there is to tell of a file of a result."""
        with self._files(request, platform, session, job) as root:
            return stat_of(root, path)

    def build(self, request: SolveRequest, session: Session, job: Job) -> dict[str, str]:
        """Build what a Dockerfile frontend is asked for, in this thread; returns what the exporters answer.

        Raises as `recorded_build`, and RemoteError for a client that went.
        """
        request = check_frontend(request)
        if request.has_policy:
            raise InputError("source policies aren't supported yet")
        with self._opened(request, session, job) as (engine, work):
            outputs = ClientOutputs(work.client, request.exporters, engine.store)
            try:
                asked = replace(work.request, outputs=tuple(outputs.outputs))
                build = build_on if request.is_internal else recorded_build
                result = build(engine, asked, sink=job.tell, cancel=job.cancel)
                outputs.send(job.tell)
                caches = work.caches.send()
            finally:
                outputs.discard()
        return {**exporter_response(result), **caches}

    @contextmanager
    def _opened(
        self, request: SolveRequest, session: Session, job: Job
    ) -> Iterator[tuple[Engine, _Work]]:
        """Give an engine that asks the client, and the request with what was brought for it."""
        client = Client(session=session, loop=self.loop, cancel=job.cancel)
        store = self.engine.store
        with ExitStack() as stack:
            caches = _ClientCaches(client, stack, self.engine)
            agents = stack.enter_context(
                closing(LentAgents(client, lambda: store.temporary("agent")))
            )
            contexts = stack.enter_context(
                closing(LocalContexts(client, self.kept, request.attributes, caches.bring_layout))
            )
            lender = Lender(
                secrets=LentSecrets(client),
                agents=agents,
                credentials=LentCredentials(client),
                contexts=contexts,
            )
            asked = read_request(request.attributes, contexts.find())
            asked = replace(
                asked,
                ref=f"{_BUILDER}/{request.ref}",
                allow=request.entitlements,
                cache_from=tuple(caches.to_read(request)),
                cache_to=tuple(caches.to_write(request)),
            )
            check_caches(asked.cache_from, asked.cache_to)
            engine = stack.enter_context(self.engine.for_caller(lender))
            yield engine, _Work(client=client, request=asked, caches=caches)


@frozen
class _Work:
    client: Client
    request: BuildRequest
    caches: _ClientCaches


class _ClientCaches:
    """Caches and layouts in directories of the client: copies here, which end with the block of `stack`."""

    def __init__(self, client: Client, stack: ExitStack, engine: Engine) -> None:
        self._client = client
        self._stack = stack
        self._store = engine.store
        self._written: list[tuple[str, Path]] = []

    def _directory(self, kind: str) -> Path:
        path = self._store.temporary(kind)
        self._stack.callback(self._discard, path)
        return path

    def _discard(self, path: Path) -> None:
        if path.exists():
            self._store.discard(path)

    def bring_layout(self, address: str) -> str:
        """Return the address here of a layout of the client's. Raises InputError, NotFound, RemoteError."""
        name, at, digest = address.removeprefix(LAYOUT_SCHEME).rpartition("@")
        if not at:
            raise InputError(f"oci-layout reference {address} has no digest")
        store, found = name, parse_digest(digest)
        with suppress(InputError):
            store = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
        path = self._directory("layout")
        self._client.wait(fetch_layout(self._client.session, f"oci:{store}", found, path, "latest"))
        return f"{LAYOUT_SCHEME}{path}@{found}"

    def to_read(self, request: SolveRequest) -> Iterator[CacheEntry]:
        """Give the caches that are read, those of the client's directories brought here."""
        seen = []
        for entry in (*request.cache_from, *cache_imports(request.attributes)):
            if entry in seen:
                continue
            seen.append(entry)
            if entry.type != "local":
                yield entry
                continue
            path = self._directory("cache")
            digest = entry.attributes.get("digest", "")
            try:
                store = f"local:{entry.attributes.get('src', '')}"
                self._client.wait(
                    fetch_layout(self._client.session, store, parse_digest(digest), path, "latest")
                )
            except NotFound:
                continue  # a cache that isn't there any more
            yield CacheEntry(type="local", attributes={"src": str(path), "digest": digest})

    def to_write(self, request: SolveRequest) -> Iterator[CacheEntry]:
        """Give the caches that are written, to directories here in place of the client's."""
        for entry in request.cache_to:
            if entry.type != "local":
                yield entry
                continue
            path = self._directory("cache")
            self._written.append((f"local:{entry.attributes.get('dest', '')}", path))
            changed = {**entry.attributes, "dest": str(path), "tag": "latest"}
            yield CacheEntry(type="local", attributes=changed)

    def send(self) -> dict[str, str]:
        """Send the caches that were written; returns what the client has to know of the last one."""
        found: Mapping[str, str] = {}
        for store, path in self._written:
            self._client.wait(send_layout(self._client.session, store, path))
            if entry := read_manifest_entry(path):
                found = {"cache.manifest": entry}
        return dict(found)
