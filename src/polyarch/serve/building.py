"""One build for a client, from what it asked for to what it is answered; in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from polyarch.buildkit.messages import Stat
from polyarch.digest import Digest
from polyarch.engine.engine import Engine
from polyarch.errors import InputError, PolyarchError
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.oci.config import ImageConfig
from polyarch.oci.reference import parse as parse_reference
from polyarch.pipeline.containers import container_on
from polyarch.pipeline.reading import open_reading
from polyarch.pipeline.recorded import exporter_response
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Sink
from polyarch.record import frozen, replace
from polyarch.request.caches import check_caches
from polyarch.request.frontend import FRONTEND
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output, OutputType, is_address
from polyarch.serve.asking import Client
from polyarch.serve.attributes import read_request
from polyarch.serve.begun import Begun
from polyarch.serve.caches import ClientCaches
from polyarch.serve.calls import error_of
from polyarch.serve.contexts import Found, KeptDirectories, LocalContexts, main_address
from polyarch.serve.definitions import ContainerMounts, Definitions, Mounted
from polyarch.serve.failures import Failures
from polyarch.serve.inside import list_directory, read_part, stat_of
from polyarch.serve.jobs import Job
from polyarch.serve.lending import LentAgents, LentCredentials, LentSecrets
from polyarch.serve.messages import SolveRequest, read_input_metadata
from polyarch.serve.metadata import AskedSource, source_metadata
from polyarch.serve.outputs import ClientOutputs
from polyarch.serve.policies import Policy
from polyarch.serve.promises import Promise, Promises
from polyarch.serve.rules import read_rules
from polyarch.serve.sessions import Session
from polyarch.serve.work import Lender, Sources, Work
from polyarch.store.snapshots import RecordType
from polyarch.worker.container import Container
from polyarch.worker.work import Left

__all__ = ["Answers", "Builds", "check_frontend"]

Answers = Callable[[str, Engine, BuildRequest, Sink, CancelToken], Mapping[str, bytes]]
"""Answers a question about a Dockerfile by its name, in the form in which frontends do."""

D = TypeVar("D", bound=Definitions)

_BUILDER = "default/default"
_GATEWAY = "gateway.v0"


def check_frontend(request: SolveRequest) -> SolveRequest:
    """Return a request to a Dockerfile frontend as one to the built-in one. Raises InputError for other frontends."""
    if request.frontend == _GATEWAY:
        image = request.attributes.get("source", "")
        # The file is looked at as if it had named the image itself.
        arguments = {"build-arg:BUILDKIT_SYNTAX": image, **request.attributes}
        return replace(request, frontend=FRONTEND, attributes=arguments)
    if request.frontend not in {"", FRONTEND}:
        raise InputError(f"frontend {request.frontend} not found")
    return request


@frozen
class Builds:
    """Carries out builds on an engine. All methods are called in threads of their own, and wait."""

    engine: Engine
    kept: KeptDirectories
    promises: Promises
    loop: asyncio.AbstractEventLoop
    threads: ThreadPoolExecutor
    answers: Answers
    allowed: frozenset[str] | None = None
    """The entitlements that requests may name, by their kinds; None for all."""

    def check_allowed(self, request: SolveRequest) -> None:
        """Raise InputError for an entitlement that clients of this server may not have."""
        for each in request.entitlements:
            if self.allowed is not None and each.partition("=")[0] not in self.allowed:
                raise InputError(
                    f"granting entitlement {each} is not allowed by build daemon configuration",
                    hint=f"the server allows it by --allow-insecure-entitlement {each.partition('=')[0]}",
                )

    def build(self, request: SolveRequest, session: Session, job: Job) -> dict[str, str]:
        """Build what is asked for; returns what the exporters answer.

        Raises as `recorded_build`, and RemoteError for a client that went.
        """
        request = check_frontend(request)
        told = self._finished(request, job)
        if told is not None:
            return dict(told)
        with self._opened(Promise(request=request, session=session, job=job)) as work:
            outputs = ClientOutputs(work.client, request.exporters, work.engine.store)
            try:
                wanted = tuple(outputs.outputs)
                result = work.recorded(wanted, job.tell, partial(work.carry_out, wanted))
                return _sent(work, outputs, result)
            finally:
                outputs.discard()

    def begin(self, promise: Promise) -> Mapping[Platform, ImageConfig]:
        """Begin to build what a Dockerfile makes; returns the configs of its images, as far as they are known.

        It goes on by `build`. Nothing is known of a Dockerfile that can't be built: `build` says why.
        """
        request = promise.request
        begun = Begun(request, promise.job.tell, promise.job.cancel)
        promise.job.begun.append(begun)
        return begun.start(partial(self._goes, promise))

    def _goes(self, promise: Promise, begun: Begun) -> Mapping[str, str]:
        request = promise.request
        with self._opened(promise) as work:
            outputs = ClientOutputs(work.client, request.exporters, work.engine.store)
            try:
                wanted = tuple(outputs.outputs)
                begun.recorded = partial(work.recorded, wanted)
                result = work.carry_out(wanted, begun.events, begun)
                begun.note(result)
                return _sent(work, outputs, result)
            finally:
                outputs.discard()

    @staticmethod
    def _finished(request: SolveRequest, job: Job) -> Mapping[str, str] | None:
        """Return what came of a build that has begun already, None if it hasn't."""
        begun = next((each for each in job.begun if each.request is request), None)
        return begun.finish() if begun is not None else None

    @staticmethod
    def _leave(promise: Promise) -> None:
        """End what has begun of a build, for somebody who looks into its result before it is returned.

        What it has taken of the client's directories is taken again, and then has to be back.
        """
        for each in promise.job.begun:
            if each.request is promise.request:
                each.leave()
                each.wait()

    def evaluate(self, promise: Promise) -> None:
        """Build something without exporting it.

        A step that fails is told of with what debuggers want to mount, which is there until the build ends.
        """
        self._leave(promise)
        failures = Failures()
        with self._opened(_inner(promise), failures.note) as work:
            try:
                work.carry_out((), promise.job.tell)
            except PolyarchError as error:
                details = failures.details(partial(self.promises.keep, promise.job))
                raise error_of(error, details) from error

    def forget(self, job: Job) -> None:
        """Forget what was promised in a build that has ended, and remove what steps that failed have left."""
        store, snapshotter = self.engine.store, self.engine.snapshotter
        for tree in self.promises.forget(job):
            top = tree.snapshots[-1] if tree.snapshots else None
            record = store.snapshots.find(top) if top is not None else None
            if top is not None and record is not None and record.type is RecordType.INTERNAL:
                store.snapshots.remove(top)
                snapshotter.remove(top)
        for each in job.begun:
            each.leave()
            each.wait()
        job.begun.clear()
        job.layouts.clear()

    def ask(self, promise: Promise) -> Mapping[str, bytes]:
        """Answer a question about a Dockerfile, the attribute `requestid`. Raises what keeps it from being read."""
        name = promise.request.attributes.get("requestid", "")
        with self._opened(promise) as work:
            job = promise.job
            return self.answers(name, work.engine, work.request, job.tell, job.cancel)

    def resolve(
        self, promise: Promise, name: str, platform: Platform, *, pull: bool
    ) -> tuple[Digest, ImageConfig]:
        """Return the digest and the config of an image. Raises NotFound, RemoteError."""
        job = promise.job
        client = Client(session=promise.session, loop=self.loop, cancel=job.cancel)
        with self.engine.transport.known_by(LentCredentials(client)) as transport:
            images = replace(self.engine, transport=transport).images(job.tell)
            resolver = images.resolver(job.cancel, pull=pull)
            image = resolver.resolve(parse_reference(name).canonical, platform)
        return image.root or image.digest, image.config

    def metadata(self, promise: Promise, asked: AskedSource) -> bytes:
        """Return what can be told of a source, a ResolveSourceMetaResponse. Raises as `source_metadata`."""
        policy = self._policy(promise, self._client(promise))
        if policy is not None:
            policy.check_source(asked)
        return self._metadata(promise, asked)

    def _metadata(self, promise: Promise, asked: AskedSource) -> bytes:
        cancel = promise.job.cancel
        bare = replace(_inner(promise).request, frontend="", policy_session="", policies=())
        with (
            self._opened(replace(promise, request=bare)) as work,
            open_reading(work.engine, work.request, promise.job.tell, cancel) as reading,
        ):
            return source_metadata(
                asked, Sources(work=work, reading=reading, cancel=cancel), cancel
            )

    def _client(self, promise: Promise) -> Client:
        return Client(session=promise.session, loop=self.loop, cancel=promise.job.cancel)

    def read_file(self, promise: Promise, path: str, offset: int, size: int) -> bytes:
        """Return a part of a file of a result, from `offset` on, `size` bytes or (0) all. Raises NotFound."""
        with self._files(promise) as root:
            return read_part(root, path, offset, size)

    def read_directory(self, promise: Promise, path: str, pattern: str) -> list[Stat]:
        """Return the entries of a directory of a result; those that match a pattern, "" for all. Raises NotFound."""
        with self._files(promise) as root:
            return list_directory(root, path, pattern)

    def stat_file(self, promise: Promise, path: str) -> Stat:
        """Return what there is to tell of a file of a result. Raises NotFound."""
        with self._files(promise) as root:
            return stat_of(root, path)

    @contextmanager
    def container(
        self,
        promise: Promise,
        mounts: Sequence[Mounted],
        told: bytes,
        platform: Platform,
        cancel: CancelToken,
    ) -> Iterator[Container]:
        """Yield a container of mounts; `told` is what an ExecOp says beside them. Raises what building them raises."""
        with self._opened(_inner(promise)) as work:
            wanted = ContainerMounts(work.definitions(Definitions), mounts, told, platform)
            sink = promise.job.tell
            with container_on(work.engine, work.request, wanted, sink, cancel) as container:
                yield container

    @contextmanager
    def _files(self, promise: Promise) -> Iterator[Path]:
        """Yield the files of a result."""
        self._leave(promise)
        with self._opened(_inner(promise)) as work:
            path = work.caches.directory("files")
            output = Output(type=OutputType.LOCAL, destination=str(path))
            work.carry_out((output,), promise.job.tell)
            yield path

    def _layout(self, promise: Promise, path: Path) -> str:
        """Build a result into a layout at `path`; returns its address."""
        self._leave(promise)
        with self._opened(_inner(promise)) as work:
            output = Output(type=OutputType.OCI, destination=str(path), attributes={"tar": "false"})
            result = work.carry_out((output,), promise.job.tell)
        return f"{LAYOUT_SCHEME}{path}@{result.digest}"

    @contextmanager
    def _opened(self, promise: Promise, left: Left | None = None) -> Iterator[Work]:
        """Yield what a build needs: an engine that asks the client, and the request."""
        request, session, job = promise.request, promise.session, promise.job
        client = Client(session=session, loop=self.loop, cancel=job.cancel)
        store = self.engine.store
        with ExitStack() as stack:
            caches = ClientCaches(client, stack, store)

            def bring_input(name: str) -> str:
                return self._input(promise, name, caches.directory("input"))

            contexts = LocalContexts(
                client, self.kept, request.attributes, caches.bring_layout, bring_input
            )
            stack.callback(contexts.close)
            agents = LentAgents(client, lambda: store.temporary("agent"))
            policy = self._policy(promise, client)
            lender = Lender(
                secrets=LentSecrets(client),
                agents=stack.enter_context(closing(agents)),
                credentials=LentCredentials(client),
                contexts=contexts,
                # Graphs are checked before their sources are resolved.
                policy=policy if request.frontend else None,
                left=left,
            )
            asked = _asked(request, contexts, caches)
            engine = stack.enter_context(self.engine.for_caller(lender))
            yield Work(
                promise=promise,
                engine=engine,
                client=client,
                request=asked,
                caches=caches,
                contexts=contexts,
                policy=policy,
                bring_result=partial(self._promised, job),
            )

    def _promised(self, job: Job, ref: str) -> str:
        """Return the address of a layout with what is promised by a ref, made for whoever needs it first."""
        promise = self.promises.find(ref)
        if promise is None:
            raise InputError(f"no such ref: {ref}")
        store = self.engine.store
        make = partial(self._layout, promise)
        return job.layouts.once(ref, lambda: store.temporary("input"), make, store.discard)

    def _policy(self, promise: Promise, client: Client) -> Policy | None:
        """Return whom to ask what may be used, None for nobody; the main context is asked about here."""
        request = promise.request
        if not (request.policy_session or request.policies):
            return None
        policy = Policy(
            client=client,
            tell=partial(self._metadata, promise),
            rules=read_rules(request.policies),
            is_asked=bool(request.policy_session),
        )
        address = main_address(request.attributes)
        if is_address(address):
            policy.check_address(address)
        return policy

    def _input(self, promise: Promise, name: str, path: Path) -> str:
        """Return the address of a layout with the result of another build, which is the context `name`."""
        definition = promise.request.inputs.get(name)
        if definition is None:
            raise InputError(f"invalid input {name}")
        if ref := self.promises.ref_in(definition):
            return self._promised(promise.job, ref)
        config = promise.request.attributes.get(f"input-metadata:{name}", "")
        request = replace(
            promise.request,
            frontend="",
            attributes={},
            inputs={},
            definitions={"": definition},
            metadata=read_input_metadata(config),
        )
        return self._layout(replace(promise, request=request), path)


def _asked(request: SolveRequest, contexts: LocalContexts, caches: ClientCaches) -> BuildRequest:
    """Return what is to be built, with the caches that the client has or names. Raises InputError."""
    nothing = Found(context="-", dockerfile="")
    asked = replace(
        read_request(request.attributes, contexts.find() if request.frontend else nothing),
        ref=f"{_BUILDER}/{request.ref}",
        allow=request.entitlements,
        # docker buildx looks for it in the record, whether it is attested or not.
        result_provenance="" if request.is_internal else "max",
        cache_from=tuple(caches.to_read(request)),
        cache_to=tuple(caches.to_write(request)),
    )
    check_caches(asked.cache_from, asked.cache_to)
    return asked


def _sent(work: Work, outputs: ClientOutputs, result: BuildResult) -> dict[str, str]:
    """Send what was made for the client; returns what it is told."""
    told = {**exporter_response(result), **outputs.response()}
    outputs.send(work.promise.job.tell, told)
    return {**told, **work.caches.send()}


def _inner(promise: Promise) -> Promise:
    """Return a promise of the result alone, of one platform if it is for one: without outputs and records."""
    request = promise.request
    attributes = {
        name: value
        for name, value in request.attributes.items()
        if not name.startswith("attest:") and not (promise.platform and name == "multi-platform")
    }
    if promise.platform and request.frontend:
        attributes["platform"] = promise.platform
    asked = replace(request, attributes=attributes, exporters=(), cache_to=(), is_internal=True)
    return replace(promise, request=asked)
