"""A build on a daemon: a request to BuildKit's own Dockerfile frontend, and its results to where they were asked for.

Contexts are sent as the daemon asks for them, what it pushes it pushes by our credentials, and archives come
back through the session. Cancelling ends the remote build.
"""

from __future__ import annotations

import asyncio
import base64
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

from grpclib.exceptions import GRPCError

from polyarch.buildkit.address import Target
from polyarch.buildkit.api import Api, told_trouble
from polyarch.buildkit.connection import connect
from polyarch.buildkit.files import Directory
from polyarch.buildkit.masked import MaskedLogs
from polyarch.buildkit.messages import SolveOptions
from polyarch.buildkit.provenance import provenance_of
from polyarch.buildkit.services import Attached, methods
from polyarch.buildkit.session import run_session
from polyarch.digest import Digest, parse_digest
from polyarch.errors import Cancelled, ContextNotFound, InputError, MachineError, PolyarchError
from polyarch.exporter.delivery import deliver
from polyarch.golang.json import read_json
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import CancelToken, Sink
from polyarch.record import frozen, replace
from polyarch.registry.credentials import Credentials
from polyarch.request.attestation import attest_attributes
from polyarch.request.frontend import frontend_attributes
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output, OutputType, is_address
from polyarch.worker.archive import unpack_archive
from polyarch.worker.masking import Masker
from polyarch.worker.secrets import Secrets, sources_of
from polyarch.worker.users import Owner

__all__ = ["Remote", "build_remotely"]

_IMAGES = frozenset({OutputType.IMAGE, OutputType.REGISTRY})
_ARCHIVES = frozenset({OutputType.DOCKER, OutputType.OCI})


@frozen
class Remote:
    """A daemon: its address as users write it, and what that means.

    `is_engine` says that it is a part of Docker's engine, which keeps images itself.
    """

    address: str
    target: Target
    environ: Mapping[str, str]
    is_engine: bool = False


def build_remotely(
    remote: Remote, request: BuildRequest, *, sink: Sink, cancel: CancelToken
) -> BuildResult:
    """Carry out a request on a daemon. Raises SolveFailed, RemoteError, InputError, Cancelled."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="polyarch-")))
        local = _Local(request, scratch)
        outputs = _Outputs(request.outputs, scratch, is_engine=remote.is_engine)
        stack.callback(outputs.close)
        secrets = _secrets(request, remote.environ)
        if secrets.masker is not None:
            secrets.teach()
            logs = MaskedLogs(sink, secrets.masker)
            stack.enter_context(secrets.masker.masks_errors())
            stack.callback(logs.end)
            sink = logs
        attached = Attached(
            directories=local.directories(),
            secrets=secrets,
            credentials=Credentials(remote.environ),
            outputs=outputs.takers(),
        )
        session = os.urandom(12).hex()
        shared = os.path.basename(os.path.abspath(request.context))
        options = SolveOptions(
            ref=request.ref.rpartition("/")[2] or session,
            session=session,
            attributes={
                **({"image-resolve-mode": "local"} if remote.is_engine else {}),
                **frontend_attributes(request),
                **local.attributes(),
                **attest_attributes(request.attestations),
            },
            exporters=tuple(outputs.exporters()),
            cache_to=tuple((each.type, each.attributes) for each in request.cache_to),
            cache_from=tuple((each.type, each.attributes) for each in request.cache_from),
            entitlements=request.allow,
        )
        work = _Work(
            remote=remote,
            attached=attached,
            options=options,
            shared=shared,
            sink=sink,
            cancel=cancel,
            provenance=request.result_provenance,
        )
        with told_trouble(remote.address):
            response, provenance = asyncio.run(work.run())
        outputs.deliver()
    return replace(_result(response, request), provenance=provenance)


def _secrets(request: BuildRequest, environ: Mapping[str, str]) -> Secrets:
    sources = sources_of(request.secrets)
    masker = Masker() if request.mask_secrets and sources else None
    return Secrets(sources=sources, agents=dict(request.ssh), environ=environ, masker=masker)


@frozen
class _Work:
    """One call of Solve with all that goes on beside it."""

    remote: Remote
    attached: Attached
    options: SolveOptions
    shared: str
    """What contexts of one directory have in common: the daemon compares them with the last one's."""
    sink: Sink
    cancel: CancelToken
    provenance: str
    """Whether it's to be said where results come from: min, max, or "" for not."""

    async def run(self) -> tuple[dict[str, str], dict[str, str]]:
        """Build; returns what the exporters answer, and where results come from, by platform."""
        channel = connect(self.remote.target)
        api = Api(channel)
        ready = asyncio.Event()
        session = asyncio.create_task(
            run_session(api, self.options.session, self.shared, methods(self.attached), ready)
        )
        try:
            await self._first(asyncio.create_task(ready.wait()), session)
            status = asyncio.create_task(self._show(api))
            solving = asyncio.create_task(api.solve(self.options))
            loop = asyncio.get_running_loop()

            def stop() -> None:
                loop.call_soon_threadsafe(solving.cancel)

            forget = self.cancel.on_cancel(stop)
            try:
                response = await solving
            except asyncio.CancelledError:
                raise Cancelled("context canceled") from None
            finally:
                forget()
                with suppress(asyncio.TimeoutError, asyncio.CancelledError):
                    # Its last events come after the answer.
                    await asyncio.wait_for(status, timeout=5)
            return response, await self._provenance(api)
        finally:
            session.cancel()
            await asyncio.wait({session})
            channel.close()

    async def _provenance(self, api: Api) -> dict[str, str]:
        if not self.provenance:
            return {}
        try:
            return await provenance_of(api, self.options.ref, self.provenance)
        except (GRPCError, PolyarchError, ValueError, KeyError):
            return {}  # the image is there, and an older daemon keeps no records

    @staticmethod
    async def _first(wanted: asyncio.Task[bool], other: asyncio.Task[None]) -> None:
        """Wait for one task, or raise what the other one fails with before."""
        await asyncio.wait({wanted, other}, return_when=asyncio.FIRST_COMPLETED)
        if other.done():
            wanted.cancel()
            other.result()

    async def _show(self, api: Api) -> None:
        async for _, event in api.status(self.options.ref):
            self.sink(event)


# --- what is sent ---


class _Local:
    """What of a request is on this machine, made ready to be sent: directories by the daemon's names."""

    def __init__(self, request: BuildRequest, scratch: Path) -> None:
        self._request = request
        self._scratch = scratch
        self._context = self._main()

    def directories(self) -> dict[str, Directory]:
        """Return the directories that the daemon may read. Raises ContextNotFound."""
        found = {"dockerfile": self._dockerfile()}
        if self._context is not None:
            found["context"] = self._context
        for name, value in self._request.build_contexts.items():
            if is_address(value) or "://" in value:
                continue
            if not Path(value).is_dir():
                raise ContextNotFound(
                    f"failed to get build context {name}: {value} is no directory"
                )
            found[f"_{name}" if name in {"context", "dockerfile"} else name] = Path(value)
        return {name: Directory(path) for name, path in found.items()}

    def attributes(self) -> dict[str, str]:
        """Return what the frontend must know beside the request."""
        if self._request.stdin and self._request.dockerfile == "-":
            return {"filename": "Dockerfile"}
        return {}

    def _main(self) -> Path | None:
        context = self._request.context
        if context == "-":
            return self._from_stdin()
        if is_address(context):
            return None
        if not Path(context).is_dir():
            raise ContextNotFound(
                f'unable to prepare context: path "{context}" not found',
                hint="the last argument is the directory of the build context, often a single dot",
            )
        return Path(context)

    def _from_stdin(self) -> Path:
        """Return a directory with the archive, or the Dockerfile alone, that standard input holds."""
        directory = self._scratch / "context"
        directory.mkdir()
        archive = self._scratch / "stdin"
        archive.write_bytes(self._request.stdin)
        owner = Owner(uid=os.geteuid(), gid=os.getegid())
        if not unpack_archive(archive, directory, "/", owner, []):
            (directory / "Dockerfile").write_bytes(self._request.stdin)
        return directory

    def _dockerfile(self) -> Path:
        name = self._request.dockerfile
        if name == "-":
            directory = self._scratch / "dockerfile"
            directory.mkdir()
            (directory / "Dockerfile").write_bytes(self._request.stdin)
            return directory
        if name and not is_address(name):
            return Path(name).parent
        return self._context or self._scratch


# --- what comes back ---


class _Outputs:
    """The outputs of a request: what the daemon makes itself, and archives that it sends."""

    def __init__(
        self, outputs: tuple[Output, ...], scratch: Path, *, is_engine: bool = False
    ) -> None:
        self._is_engine = is_engine
        self._asked = bool(outputs)
        self._outputs = tuple(each for each in outputs if each.type != OutputType.CACHEONLY)
        self._scratch = scratch
        self._files: dict[int, BinaryIO] = {}

    def exporters(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Give what the daemon is asked for. Raises InputError for what can't come from one."""
        if self._is_engine and not self._asked:
            yield "moby", {}
        for output in self._outputs:
            attributes = dict(output.attributes)
            if self._stays(output):
                push = {"push": "true"} if output.type == OutputType.REGISTRY else {}
                yield "moby" if self._is_engine else "image", {**attributes, **push}
            elif output.type == OutputType.LOCAL:
                # As an archive, which is unpacked by our own rules.
                yield "tar", attributes
            elif attributes.pop("tar", "true") not in {"true", "1"}:
                raise InputError(
                    "a layout in a directory can't come from another machine yet",
                    hint="write an archive, without tar=false",
                )
            else:
                yield str(output.type), attributes

    def _stays(self, output: Output) -> bool:
        """Whether the daemon has an output, and sends nothing: an engine loads its own images."""
        is_loaded = output.type == OutputType.DOCKER and not output.destination
        return output.type in _IMAGES or (self._is_engine and is_loaded)

    def takers(self) -> dict[int, _Taker]:
        """Return what takes the bytes of archives, by the exporter's number."""
        found = {}
        for number, output in enumerate(self._outputs):
            if not self._stays(output):
                file = (self._scratch / f"output-{number}").open("w+b")
                self._files[number] = file
                found[number] = _Taker(file)
        return found

    def deliver(self) -> None:
        """Move archives to their places, and unpack those that were to be directories."""
        for number, file in self._files.items():
            output = self._outputs[number]
            if output.type in _ARCHIVES and not output.destination:
                raise MachineError(
                    "images of another machine can't be loaded here yet",
                    hint="push them, or write an archive: -o type=docker,dest=FILE",
                )
            deliver(output, file)

    def close(self) -> None:
        """Close what was received."""
        for file in self._files.values():
            file.close()


class _Taker:
    """Writes what comes to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __call__(self, data: bytes) -> None:
        """Take the next bytes."""
        self._file.write(data)


def _result(response: Mapping[str, str], request: BuildRequest) -> BuildResult:
    """Understand what the exporters answered."""
    digest = response.get("containerimage.digest")
    config = response.get("containerimage.config.digest")
    descriptor = None
    if text := response.get("containerimage.descriptor"):
        descriptor = Descriptor.from_json(read_json(base64.b64decode(text)))
    elif digest:
        descriptor = Descriptor(media_type="", digest=parse_digest(digest), size=0)
    is_single = config is not None and len(request.platforms) < 2
    return BuildResult(
        descriptor=descriptor,
        config_digest=Digest(config) if config is not None and is_single else None,
        names=tuple(filter(None, response.get("image.name", "").split(","))),
        ref=request.ref,
    )
