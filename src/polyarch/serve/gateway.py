"""The service `LLBBridge`: frontends that run at the client, as docker buildx does, ask here for what they need.

What a frontend gets for a Dockerfile is a promise: it is built when the client has returned it as its result, with the
outputs that were asked for in the first place; or before, if the client wants to look into it.

Source: BuildKit's `gateway.proto`, `frontend/gateway/gateway.go`, `control/gateway`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from grpclib.const import Handler as Method
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from polyarch.buildkit.messages import read_pairs
from polyarch.errors import NotFound
from polyarch.golang.json import compact
from polyarch.history.status import read_warning
from polyarch.platforms import Platform, host, normalize
from polyarch.progress import step
from polyarch.record import replace
from polyarch.request.values import CacheEntry
from polyarch.serve.attested import read_attestations
from polyarch.serve.building import Builds, check_frontend
from polyarch.serve.calls import streamed, unary
from polyarch.serve.capabilities import FRONTEND_CAPABILITIES, LLB_CAPABILITIES
from polyarch.serve.containers import Containers, Held, Told
from polyarch.serve.definitions import Mounted
from polyarch.serve.inside import list_directory, read_part, stat_of
from polyarch.serve.jobs import Job
from polyarch.serve.llb.execs import ExecReader
from polyarch.serve.messages import CONFIG, SolveRequest, typed
from polyarch.serve.metadata import AskedSource
from polyarch.serve.programs import Programs
from polyarch.serve.promises import Promise, definition_of
from polyarch.serve.results import (
    attesting_of,
    check_result,
    names_of,
    platform_json,
    platforms_of,
    refs_of,
    remark_on,
    with_metadata,
)
from polyarch.serve.sessions import Session
from polyarch.wire import Message, field, present

__all__ = ["Gateways"]

_SERVICE = "/moby.buildkit.v1.frontend.LLBBridge/"
_BUILD_ID = "buildkit-controlapi-buildid"
_REQUEST_ID = "requestid"
_PLATFORMS = "refs.platforms"
_SECONDS = 30.0
"""How long calls wait for the build that they belong to."""

T = TypeVar("T")


class _Gateway:
    """What one client's frontend has asked for, and what it returned."""

    def __init__(
        self, request: SolveRequest, session: Session, job: Job, threads: ThreadPoolExecutor
    ) -> None:
        self.request = request
        self.session = session
        self.job = job
        self.returned: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.containers = Containers(threads)

    def promise(self, request: SolveRequest, platform: str = "") -> Promise:
        """Return a promise of a result for this client."""
        return Promise(request=request, session=self.session, job=self.job, platform=platform)


class Gateways:
    """The gateways of builds that go on; calls name the build in their metadata."""

    def __init__(self, builds: Builds, worker: Callable[[], Awaitable[bytes]]) -> None:
        self._builds = builds
        self._promises = builds.promises
        self._worker = worker
        self._gateways: dict[str, _Gateway] = {}
        self._changed = asyncio.Condition()

    def __mapping__(self) -> dict[str, Method]:
        """Return the methods by their paths."""
        found = {
            "Ping": self._ping,
            "Solve": self._solve,
            "Return": self._return,
            "Inputs": self._inputs,
            "Evaluate": self._evaluate,
            "ReadFile": self._read_file,
            "ReadDir": self._read_directory,
            "StatFile": self._stat_file,
            "ResolveImageConfig": self._resolve,
            "ResolveSourceMeta": self._source_metadata,
            "Warn": self._warn,
            "NewContainer": self._new_container,
            "ReleaseContainer": self._release_container,
            "ReadFileContainer": self._read_container_file,
            "ReadDirContainer": self._read_container_directory,
            "StatFileContainer": self._stat_container_file,
        }
        methods = {_SERVICE + name: self._method(call) for name, call in found.items()}
        return {
            **methods,
            f"{_SERVICE}ExecProcess": streamed(self._exec_process, takes_many=True),
        }

    def _method(self, call: Callable[[_Gateway, Message], Awaitable[bytes]]) -> Method:
        async def answer(data: bytes, metadata: Any) -> bytes:
            return await call(await self._find(str(metadata.get(_BUILD_ID, ""))), Message(data))

        return unary(answer)

    async def _find(self, ref: str) -> _Gateway:
        if not ref:
            raise GRPCError(Status.UNKNOWN, "no buildid found in context")
        async with self._changed:
            # The client doesn't wait until its call of Solve has come here.
            try:
                async with asyncio.timeout(_SECONDS):
                    await self._changed.wait_for(lambda: ref in self._gateways)
            except TimeoutError as error:
                raise GRPCError(Status.NOT_FOUND, f"no such job {ref}") from error
            return self._gateways[ref]

    async def result(self, request: SolveRequest, session: Session, job: Job) -> SolveRequest:
        """Let the client's frontend decide what is built, which may be nothing. Raises GRPCError, InputError."""
        gateway = _Gateway(request, session, job, self._builds.threads)
        async with self._changed:
            self._gateways[job.ref] = gateway
            self._changed.notify_all()
        try:
            returned = await gateway.returned
            if returned.all(2):
                raise _failure(Message(returned.bytes(2)))
            return self._returned(request, Message(returned.bytes(1)), job)
        finally:
            del self._gateways[job.ref]
            await gateway.containers.close()

    def _returned(self, request: SolveRequest, result: Message, job: Job) -> SolveRequest:
        """Return what a frontend's result is to be built from, with the outputs of the request."""
        refs = refs_of(result)
        promises = {name: self._find_promise(ref) for name, ref in refs.items() if ref}
        metadata = {each.text(1): each.bytes(2) for each in result.messages(10)}
        check_result(metadata)
        if any(each.request.frontend for each in promises.values()):
            return _only_request(promises.values())
        if not promises and not request.exporters:
            return replace(request, metadata=metadata, is_nothing=True)
        remark = remark_on(request.attributes.get("platform", ""), list(promises), metadata)
        if promises and remark:
            with step(job.tell, "verifying platforms") as shown:
                shown.warn(remark)
        return replace(
            request,
            # Nothing is an empty tree, for those who want an image of it.
            definitions={
                name: promises[name].request.definition if name in promises else b""
                for name in names_of(refs, metadata)
            },
            metadata=metadata,
            attested=read_attestations(result, self._definition),
            exporters=with_metadata(request.exporters, metadata),
        )

    def _find_promise(self, ref: str) -> Promise:
        promise = self._promises.find(ref)
        if promise is None:
            raise GRPCError(Status.NOT_FOUND, f"no such ref: {ref}")
        return promise

    # --- calls ---

    async def _ping(self, _gateway: _Gateway, _message: Message) -> bytes:
        return b"".join(
            (
                *(field(1, field(1, each) + field(2, 1)) for each in FRONTEND_CAPABILITIES),
                *(field(2, field(1, each) + field(2, 1)) for each in LLB_CAPABILITIES),
                field(3, await self._worker()),
            )
        )

    async def _solve(self, gateway: _Gateway, message: Message) -> bytes:
        # Who has asked for the build says what is attested.
        attributes = {**attesting_of(gateway.request), **read_pairs(message, 3)}
        caches = (CacheEntry(type=kind, attributes=each) for kind, each in typed(message, 12))
        request = replace(
            gateway.request,
            frontend=message.text(2),
            attributes=attributes,
            definition=message.bytes(1),
            inputs={each.text(1): each.bytes(2) for each in message.messages(13)},
            cache_from=(*gateway.request.cache_from, *caches),
            policies=(*gateway.request.policies, *message.all(15)),
        )
        request = check_frontend(request)
        promise = gateway.promise(request)
        if request.frontend and _REQUEST_ID in attributes:
            # The answer is in metadata, and there is no ref.
            found = await self._threaded(self._builds.ask, promise)
            told = (field(10, field(1, name) + field(2, value)) for name, value in found.items())
            return field(3, present(3, b"") + b"".join(told))
        result = self._promised(gateway, request)
        if message.integer(14):
            await self._threaded(self._builds.evaluate, promise)
        # Programs that call the frontend read what will be the image's config.
        configs = await self._threaded(self._builds.begin, promise) if request.frontend else {}
        is_one = len(configs) == 1 and not platforms_of(request)
        told = (
            field(
                10,
                field(1, CONFIG if is_one else f"{CONFIG}/{each}")
                + field(2, compact(config.to_json())),
            )
            for each, config in configs.items()
        )
        return field(3, result + b"".join(told))

    def _promised(self, gateway: _Gateway, request: SolveRequest) -> bytes:
        platforms = platforms_of(request)
        if not platforms:
            if not request.frontend and not Message(request.definition).all(1):
                return present(3, b"")  # nothing at all
            return present(3, self._ref(gateway.promise(request)))
        refs = [
            field(1, name) + present(2, self._ref(gateway.promise(request, name)))
            for name in platforms
        ]
        told = {
            "Platforms": [
                {"ID": name, "Platform": platform_json(each)} for name, each in platforms.items()
            ]
        }
        metadata = field(1, _PLATFORMS) + field(2, compact(told))
        return field(4, b"".join(field(1, each) for each in refs)) + field(10, metadata)

    def _ref(self, promise: Promise) -> bytes:
        """Return a new ref to a promise, with the definition that stands for it where it is a context."""
        ref = self._promises.add(promise)
        request = promise.request
        definition = definition_of(ref) if request.frontend else request.definition
        return field(1, ref) + field(2, definition)

    async def _threaded(self, work: Callable[..., T], *arguments: object) -> T:
        call = partial(work, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._builds.threads, call)

    async def _looked(self, work: Callable[..., T], *arguments: object) -> T:
        """Look into a result; a file that isn't there is told by a status of its own."""
        try:
            return await self._threaded(work, *arguments)
        except NotFound as error:
            raise GRPCError(Status.NOT_FOUND, str(error)) from error

    async def _return(self, gateway: _Gateway, message: Message) -> bytes:
        if not gateway.returned.done():
            gateway.returned.set_result(message)
        return b""

    async def _inputs(self, _gateway: _Gateway, _message: Message) -> bytes:
        return b""

    async def _evaluate(self, _gateway: _Gateway, message: Message) -> bytes:
        await self._threaded(self._builds.evaluate, self._find_promise(message.text(1)))
        return b""

    async def _read_file(self, _gateway: _Gateway, message: Message) -> bytes:
        limits, promise = Message(message.bytes(3)), self._find_promise(message.text(1))
        part = (message.text(2), limits.integer(1), limits.integer(2))
        return field(1, await self._looked(self._builds.read_file, promise, *part))

    async def _read_directory(self, _gateway: _Gateway, message: Message) -> bytes:
        promise = self._find_promise(message.text(1))
        wanted = (message.text(2), message.text(3))
        found = await self._looked(self._builds.read_directory, promise, *wanted)
        return b"".join(field(1, each.to_bytes()) for each in found)

    # --- containers ---

    async def _new_container(self, gateway: _Gateway, message: Message) -> bytes:
        execs = ExecReader(allow=frozenset(gateway.request.entitlements))
        told = Told.of(message, execs)
        mounts = [self._mounted(each) for each in message.all(2)]
        promise = gateway.promise(replace(gateway.request, definition=b"", inputs={}))
        held = Held(
            told,
            [Message(each.message).text(3) for each in mounts],
            lambda cancel: self._builds.container(
                promise, mounts, told.first, told.platform, cancel
            ),
        )
        await gateway.containers.open(message.text(1), held)
        return b""

    def _mounted(self, data: bytes) -> Mounted:
        ref = Message(data).text(23)
        if not ref:
            return Mounted(message=data)
        left = self._promises.find_left(ref)
        if left is not None:
            return Mounted(message=data, result=left)
        return Mounted(message=data, definition=self._definition(ref))

    def _definition(self, ref: str) -> bytes:
        """Return the definition of a promise, or one that stands for it."""
        request = self._find_promise(ref).request
        return definition_of(ref) if request.frontend else request.definition

    async def _release_container(self, gateway: _Gateway, message: Message) -> bytes:
        await gateway.containers.release(message.text(1))
        return b""

    async def _exec_process(self, stream: Any) -> None:
        gateway = await self._find(str(stream.metadata.get(_BUILD_ID, "")))
        await Programs(stream, gateway.containers.find, self._builds.threads).carry()

    async def _read_container_file(self, gateway: _Gateway, message: Message) -> bytes:
        root = gateway.containers.find(message.text(1)).tree(message.integer(4))
        limits = Message(message.bytes(3))
        part = (message.text(2), limits.integer(1), limits.integer(2))
        return field(1, await self._looked(read_part, root, *part))

    async def _read_container_directory(self, gateway: _Gateway, message: Message) -> bytes:
        root = gateway.containers.find(message.text(1)).tree(message.integer(4))
        wanted = (message.text(2), message.text(3))
        found = await self._looked(list_directory, root, *wanted)
        return b"".join(field(1, each.to_bytes()) for each in found)

    async def _stat_container_file(self, gateway: _Gateway, message: Message) -> bytes:
        root = gateway.containers.find(message.text(1)).tree(message.integer(3))
        return field(1, (await self._looked(stat_of, root, message.text(2))).to_bytes())

    async def _stat_file(self, _gateway: _Gateway, message: Message) -> bytes:
        promise = self._find_promise(message.text(1))
        found = await self._looked(self._builds.stat_file, promise, message.text(2))
        return field(1, found.to_bytes())

    async def _resolve(self, gateway: _Gateway, message: Message) -> bytes:
        name, mode = message.text(1), message.text(3)
        told = Message(message.bytes(2))
        platform = (
            normalize(Platform(os=told.text(2), architecture=told.text(1), variant=told.text(3)))
            if message.bytes(2)
            else host()
        )
        resolve = partial(self._builds.resolve, pull=mode == "pull")
        promise = gateway.promise(gateway.request)
        digest, config = await self._threaded(resolve, promise, name, platform)
        return field(1, digest) + field(2, compact(config.to_json())) + field(3, name)

    async def _source_metadata(self, gateway: _Gateway, message: Message) -> bytes:
        if not message.all(1):
            raise GRPCError(Status.INVALID_ARGUMENT, "source is required")
        promise = gateway.promise(gateway.request)
        return await self._threaded(self._builds.metadata, promise, AskedSource(message=message))

    async def _warn(self, gateway: _Gateway, message: Message) -> bytes:
        # A WarnRequest has the fields of a VertexWarning, by the same numbers.
        gateway.job.tell(read_warning(message))
        return b""


def _only_request(promises: Iterable[Promise]) -> SolveRequest:
    """Return the request that all of a frontend's results come from. Raises GRPCError if there are several."""
    requests = {id(each.request): each.request for each in promises}
    if len(requests) > 1:
        raise GRPCError(
            Status.UNIMPLEMENTED, "a result of several Dockerfiles can't be exported yet"
        )
    return next(iter(requests.values()))


def _failure(status: Message) -> GRPCError:
    """Return the error with which a client's frontend ended, with all details that it has."""
    code = status.integer(1)
    known = {each.value: each for each in Status}
    details = b"".join(field(3, each) for each in status.all(3))
    return GRPCError(known.get(code, Status.UNKNOWN), status.text(2), details or None)
