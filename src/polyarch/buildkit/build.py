"""A build on a daemon: a request to BuildKit's own Dockerfile frontend, and its results to where they were asked for.

Contexts are sent as the daemon asks for them, what it pushes it pushes by our credentials, and archives come
back through the session. Cancelling ends the remote build.
"""

from __future__ import annotations

import asyncio
import base64
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from polyarch.buildkit.agents import LentAgents
from polyarch.buildkit.api import told_trouble
from polyarch.buildkit.caches import Caches, without_steps
from polyarch.buildkit.contexts import Contexts, Offered
from polyarch.buildkit.gateway import Gateway, Solved
from polyarch.buildkit.masked import MaskedLogs
from polyarch.buildkit.messages import SolveOptions
from polyarch.buildkit.services import Attached
from polyarch.buildkit.work import Asked, Remote, Steer, Work
from polyarch.digest import Digest, parse_digest
from polyarch.errors import PolyarchError
from polyarch.exporter.annotations import annotated
from polyarch.exporter.delivery import deliver
from polyarch.exporter.outputs import IMAGE_TYPES, is_for_engine, is_true
from polyarch.golang.json import compact, read_json
from polyarch.golang.strconv import find_bool
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import CancelToken, Sink
from polyarch.record import frozen, replace
from polyarch.registry.credentials import Credentials
from polyarch.request.attestation import attest_attributes
from polyarch.request.frontend import frontend_attributes
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output, OutputType
from polyarch.worker.masking import Masker
from polyarch.worker.secrets import Secrets, sources_of

__all__ = ["Policing", "Remote", "Taker", "ask_remotely", "build_remotely"]

_CAPABILITIES = "frontend.caps"
_SUBREQUESTS = "moby.buildkit.frontend.subrequests+forward"
_IMAGES = frozenset({OutputType.IMAGE, OutputType.REGISTRY})
_ARCHIVES = frozenset({OutputType.DOCKER, OutputType.OCI})
_SENT_OTHERWISE = "BUILDX_SEND_GIT_QUERY_AS_INPUT"
"""Says that daemons are to be sent no queries of addresses."""
_OURS = frozenset({"context", "tar"})
"""Attributes of outputs that are this machine's matter."""

Taker = Callable[[Output, BinaryIO], None]


def build_remotely(
    remote: Remote,
    request: BuildRequest,
    *,
    sink: Sink,
    cancel: CancelToken,
    take: Taker = deliver,
    steer: Steer | None = None,
    offered: Offered | None = None,
    policy: Policing | None = None,
) -> BuildResult:
    """Carry out a request on a daemon; `steer` has the frontend asked through the build's gateway.

    `offered` is what the daemon may read of this machine, None for the contexts of the request.
    `policy` is asked of each source that the daemon uses. `take` is given archives of images that aren't written as they are: those that are to be loaded, or unpacked as layouts.

    Raises SolveFailed, RemoteError, InputError, Cancelled.
    """

    def build(asked: BuildRequest) -> BuildResult:
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="polyarch-")))
            outputs = _Outputs(_annotated(asked), scratch, is_engine=remote.is_engine)
            stack.callback(outputs.close)
            around = _Around(
                scratch=scratch, sink=sink, cancel=cancel, offered=offered, policy=policy
            )
            work = _prepared(remote, asked, outputs, stack, around)
            work = replace(work, steer=steer, provenance=asked.result_provenance)
            with told_trouble(remote.address):
                response, provenance = asyncio.run(work.run())
            work.caches.note(response)
            outputs.deliver(take)
        return replace(_result(response, asked), provenance=provenance)

    try:
        return build(request)
    except PolyarchError as error:
        possible = without_steps(request, error, sink)
        if possible is None:
            raise
    return build(possible)


def ask_remotely(
    remote: Remote, request: BuildRequest, question: str, *, sink: Sink, cancel: CancelToken
) -> Mapping[str, bytes]:
    """Ask a daemon's frontend about the Dockerfile of a request; returns what it answers, by names. Nothing is built.

    Raises as `build_remotely`.
    """
    answers: dict[str, bytes] = {}

    async def steer(gateway: Gateway, asked: Asked) -> Solved:
        solved = await gateway.solve(asked.frontend, {**asked.attributes, **about}, {})
        answers.update(solved.metadata)
        return solved

    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="polyarch-")))
        nothing = _Outputs((Output(type=OutputType.CACHEONLY),), scratch)
        around = _Around(scratch=scratch, sink=sink, cancel=cancel)
        work = _prepared(remote, request, nothing, stack, around)
        needs = filter(None, (work.options.attributes.get(_CAPABILITIES), _SUBREQUESTS))
        about = {"requestid": f"frontend.{question}", _CAPABILITIES: ",".join(needs)}
        options = replace(work.options, internal=True, cache_to=())
        with told_trouble(remote.address):
            asyncio.run(replace(work, steer=steer, options=options).run())
    return answers


@frozen
class Policing:
    """What answers a daemon's requests about sources; with `proxy_network` steps are to reach nothing but a proxy."""

    check: Callable[[bytes], bytes]
    proxy_network: bool = False


@frozen
class _Around:
    """What a build is done with: a directory of its own, who is told of it, and who may end it.

    `offered` is what the daemon may read of this machine, None for the contexts of the request.
    """

    scratch: Path
    sink: Sink
    cancel: CancelToken
    offered: Offered | None = None
    policy: Policing | None = None


def _prepared(
    remote: Remote,
    request: BuildRequest,
    outputs: _Outputs,
    stack: ExitStack,
    around: _Around,
) -> Work:
    """Return a build that is ready to begin; what it holds open ends with `stack`."""
    has_queries = not find_bool(remote.environ.get(_SENT_OTHERWISE, ""))
    contexts = around.offered or Contexts(request, around.scratch, has_queries=has_queries)
    caches = Caches(request)
    secrets = _secrets(request, remote.environ, around.scratch, stack)
    sink = around.sink
    if secrets.masker is not None:
        secrets.teach()
        logs = MaskedLogs(sink, secrets.masker)
        stack.enter_context(secrets.masker.masks_errors())
        stack.callback(logs.end)
        sink = logs
    attached = Attached(
        directories=contexts.directories(),
        secrets=secrets,
        credentials=Credentials(remote.environ),
        outputs=outputs.takers(),
        layouts=contexts.layouts,
        caches=caches.layouts,
        policy=None if around.policy is None else around.policy.check,
    )
    attributes = {
        **({"image-resolve-mode": "local"} if remote.is_engine else {}),
        **frontend_attributes(request),
        **contexts.attributes(),
        **attest_attributes(request.attestations),
        **_cache_attributes(caches),
    }
    return Work(
        remote=remote,
        attached=attached,
        options=_options(request, attributes, outputs, caches, around.policy),
        shared=os.path.basename(os.path.abspath(request.context)),
        sink=sink,
        cancel=around.cancel,
        caches=caches,
    )


def _options(
    request: BuildRequest,
    attributes: Mapping[str, str],
    outputs: _Outputs,
    caches: Caches,
    policy: Policing | None,
) -> SolveOptions:
    """Return what the daemon is asked for."""
    session = os.urandom(12).hex()
    return SolveOptions(
        ref=request.ref.rpartition("/")[2] or session,
        session=session,
        attributes=attributes,
        exporters=tuple(outputs.exporters()),
        cache_to=caches.cache_to,
        cache_from=caches.cache_from,
        entitlements=request.allow,
        has_policy=policy is not None,
        proxy_network=policy is not None and policy.proxy_network,
    )


def _cache_attributes(caches: Caches) -> dict[str, str]:
    """Return the caches that the frontend's own builds read from: it hands them on."""
    if not caches.cache_from:
        return {}
    listed = [{"Type": kind, "Attrs": dict(each)} for kind, each in caches.cache_from]
    return {"cache-imports": compact(listed).decode()}


def _secrets(
    request: BuildRequest, environ: Mapping[str, str], scratch: Path, stack: ExitStack
) -> Secrets:
    sources = sources_of(request.secrets)
    masker = Masker() if request.mask_secrets and (sources or request.ssh_keys) else None
    agents = stack.enter_context(LentAgents(request.ssh, request.ssh_keys, scratch))
    keys = tuple(path for paths in request.ssh_keys.values() for path in paths)
    return Secrets(sources=sources, agents=agents, environ=environ, masker=masker, keys=keys)


# --- what comes back ---


def _annotated(request: BuildRequest) -> tuple[Output, ...]:
    """Return the outputs, images with the annotations that are asked for all of them."""
    annotations = request.annotations
    return tuple(
        annotated([each], annotations)[0] if each.type in IMAGE_TYPES else each
        for each in request.outputs
    )


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
        """Give what the daemon is asked for."""
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
            elif _is_taken(output):
                others = {name: each for name, each in attributes.items() if name not in _OURS}
                yield str(OutputType.OCI), others
            else:
                yield str(output.type), attributes

    def _stays(self, output: Output) -> bool:
        """Whether the daemon has an output, and sends nothing: an engine loads its own images."""
        return output.type in _IMAGES or (self._is_engine and is_for_engine(output))

    def takers(self) -> dict[int, _Writer]:
        """Return what takes the bytes of archives, by the exporter's number."""
        found = {}
        for number, output in enumerate(self._outputs):
            if not self._stays(output):
                file = (self._scratch / f"output-{number}").open("w+b")
                self._files[number] = file
                found[number] = _Writer(file)
        return found

    def deliver(self, take: Taker) -> None:
        """Move archives to their places, unpack those that were to be directories, and have others taken."""
        for number, file in self._files.items():
            output = self._outputs[number]
            (take if _is_taken(output) else deliver)(output, file)

    def close(self) -> None:
        """Close what was received."""
        for file in self._files.values():
            file.close()


def _is_taken(output: Output) -> bool:
    """Whether an image is brought here to be loaded, or to become a layout in a directory."""
    is_directory = output.type in _ARCHIVES and not is_true(output, "tar", default=True)
    return is_for_engine(output) or is_directory


class _Writer:
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
