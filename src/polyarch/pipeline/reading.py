"""What a Dockerfile is read with, by builds and by questions about it: sources, secrets, checks, options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.digest import Digest
from polyarch.dockerfile.lint.linter import CHECK_ARG, Finding, Linter
from polyarch.dockerfile.lowering.epoch import SOURCE_DATE_EPOCH
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.dockerfile.parser import Dockerfile, parse
from polyarch.dockerfile.syntax.frontend import check_syntax
from polyarch.dockerfile.syntax.mount import Device
from polyarch.engine.caller import Caller
from polyarch.engine.engine import Engine
from polyarch.errors import InputError, PolyarchError
from polyarch.golang.strconv import find_bool
from polyarch.graph.location import SourceText
from polyarch.graph.op import GitOp, HttpOp
from polyarch.pipeline.company import ALONE, Company
from polyarch.pipeline.contexts import KEEP_GIT_DIR_ARG, Contexts, Loader, MainContext
from polyarch.pipeline.guarded import Guarded
from polyarch.platforms import Platform, host
from polyarch.progress import CancelToken, Sink, WarningEvent, cancellable, step
from polyarch.record import frozen, replace
from polyarch.request.frontend import MULTI_PLATFORM_ARG
from polyarch.request.values import BuildRequest
from polyarch.worker.remote import RemoteSources
from polyarch.worker.secrets import Secrets, sources_of

if TYPE_CHECKING:
    from polyarch.pipeline.fetched import Fetcher

__all__ = [
    "Dates",
    "Reading",
    "grant_devices",
    "linter_of",
    "lower_options",
    "open_reading",
    "tell_findings",
]

_OWN_ADDRESS = "127.0.0.1"
"""The build argument that makes an index even of one platform."""


@frozen
class Reading:
    """The build context of a request, as far as a Dockerfile is read from it; `remote` fetches the rest."""

    request: BuildRequest
    loader: Loader
    main: MainContext
    remote: RemoteSources
    sink: Sink
    guarded: Guarded

    def source(self) -> SourceText:
        """Return the text of the Dockerfile. Raises InputError and its kin."""
        return self.loader.dockerfile(self.main)

    def contexts(self) -> Contexts:
        """Return the build context and the named ones."""
        return self.loader.contexts(self.main)

    def parse(self, source: SourceText, lint: Linter) -> Dockerfile:
        """Parse the Dockerfile. Raises DockerfileError."""
        check_syntax(source, self.request.build_args)
        return parse(source, lint)

    def load(self, lint: Linter) -> tuple[Dockerfile, Digest]:
        """Return the Dockerfile, and the step that it was read in; raises what `source` and `parse` raise."""
        given = self.request.dockerfile
        name = given if given not in {"", "-"} else "Dockerfile"
        shown_name = f"[internal] load build definition from {name.rpartition('/')[2]}"
        with step(self.sink, shown_name) as shown:
            source = self.source()
            with shown.part(f"transferring dockerfile: {len(source.text)}B"):
                try:
                    return self.parse(source, lint), shown.digest
                except PolyarchError:
                    tell_findings(lint.findings, shown.digest, self.sink)
                    raise


@contextmanager
def open_reading(
    engine: Engine,
    request: BuildRequest,
    sink: Sink,
    cancel: CancelToken,
    company: Company = ALONE,
    *,
    asks: bool = True,
) -> Iterator[Reading]:
    """Have what a Dockerfile can be read with; secrets are at hand until the block ends.

    Policies are loaded, and asked about the main context if this `asks`. Secrets are masked in errors, which is why the reading has a sink of its own.
    """
    with ExitStack() as stack:
        stack.enter_context(cancellable(cancel))
        secrets = stack.enter_context(_secrets(engine, request))
        if secrets.masker is not None:
            stack.enter_context(secrets.masker.masks_errors())
            sink = secrets.masker.sink(sink)
        remote = stack.enter_context(engine.remote_sources(secrets))
        guarded = Guarded(engine=engine, request=request, remote=remote, sink=sink, cancel=cancel)
        loader = _loader(engine, request, remote, sink, cancel, company, guarded.check)
        main = loader.main()
        guarded.load(main, asks=asks)
        yield Reading(
            request=request, loader=loader, main=main, remote=remote, sink=sink, guarded=guarded
        )


def linter_of(request: BuildRequest) -> Linter:
    """Return what looks for faults, as the command line asks for."""
    return Linter(override=request.build_args.get(CHECK_ARG))


def tell_findings(findings: Sequence[Finding], shown: Digest, sink: Sink) -> None:
    """Tell of what the checks found, at the step that read the Dockerfile."""
    for finding in findings:
        place = finding.location
        sink(
            WarningEvent(
                step=shown,
                short=f"{finding.rule.name}: {finding.detail} (line {place.start})",
                detail=(finding.rule.description,),
                url=finding.rule.url,
                excerpt=place.excerpt(),
                line=place.start,
                last_line=place.end,
                filename=place.source.name,
                source=place.source.text,
            )
        )


@frozen
class Dates:
    """Where SOURCE_DATE_EPOCH comes from if it isn't a number."""

    contexts: Contexts
    loader: Loader

    def of_context(self, name: str) -> int | None:
        """Return the date of a build context, in seconds since the epoch; None if it has none."""
        return self.contexts.date(name)

    def of_source(self, op: HttpOp | GitOp) -> int | None:
        """Return the date of a file of a web server, or of a commit."""
        return self.loader.fetcher().date(op)


def _loader(
    engine: Engine,
    request: BuildRequest,
    remote: RemoteSources,
    sink: Sink,
    cancel: CancelToken,
    company: Company,
    check: Callable[[HttpOp | GitOp], None],
) -> Loader:
    def fetcher() -> Fetcher:
        from polyarch.pipeline.fetched import Fetcher  # noqa: PLC0415 - directories need nothing of it

        def directory() -> Path:
            return engine.store.temporary("context")

        args = request.build_args
        return Fetcher(
            remote=remote,
            directory=directory,
            sink=sink,
            cancel=cancel,
            keep_git_dir=bool(find_bool(args.get(KEEP_GIT_DIR_ARG, ""))),
            is_dated=bool(args.get(SOURCE_DATE_EPOCH)),
            check=check,
        )

    return Loader(
        request=request,
        directories=company.directories(engine),
        empty=engine.store.scratch,
        fetcher=fetcher,
        company=company,
    )


@contextmanager
def _secrets(engine: Engine, request: BuildRequest) -> Iterator[Secrets]:
    """Give the secrets of a request; agents that are started for keys end with the block."""
    if engine.caller is not None:
        yield _asked(engine.caller, is_masked=request.mask_secrets)
        return
    sources = sources_of(request.secrets)
    masker = None
    if request.mask_secrets and (sources or request.ssh_keys):
        from polyarch.worker.masking import Masker  # noqa: PLC0415 for builds with secrets

        masker = Masker()
    secrets = Secrets(sources=sources, agents=dict(request.ssh), masker=masker)
    if not request.ssh_keys:
        yield secrets
        return
    from polyarch.worker.keyagent import Agents  # noqa: PLC0415 for keys only

    keys = tuple(path for paths in request.ssh_keys.values() for path in paths)
    with Agents(request.ssh, request.ssh_keys, lambda: engine.store.temporary("agent")) as agents:
        yield replace(secrets, agents=agents, keys=keys)


def _asked(caller: Caller, *, is_masked: bool) -> Secrets:
    """Return the secrets of somebody far away; what they are is known only as steps ask for them."""
    from polyarch.worker.masking import Masker  # noqa: PLC0415 for builds with secrets

    masker = Masker() if is_masked else None
    return Secrets(sources=caller.secrets, agents=caller.agents, masker=masker)


def lower_options(
    request: BuildRequest, platforms: Sequence[Platform], environ: Mapping[str, str]
) -> LowerOptions:
    """Return how Dockerfiles are lowered for a request. Raises InputError for what it can't mean."""
    args = request.build_args
    return LowerOptions(
        build_platform=host(),
        is_explicit=bool(request.platforms),
        is_multi_platform=_is_multi_platform(args, platforms),
        target=request.target,
        build_args=args,
        labels=request.labels,
        contexts=request.build_contexts,
        no_cache=request.no_cache,
        no_cache_stages=frozenset(name.lower() for name in request.no_cache_filter),
        network=request.network,
        hostname=args.get("BUILDKIT_SANDBOX_HOSTNAME", ""),
        extra_hosts=_extra_hosts(request.add_hosts),
        ulimits=request.ulimits,
        shm_size=request.shm_size,
        cgroup_parent=request.cgroup_parent,
        resources=request.resources,
        allow=frozenset(request.allow),
        grant_devices=_device_granter(request, environ),
    )


def _is_multi_platform(args: Mapping[str, str], platforms: Sequence[Platform]) -> bool:
    """Tell if an index is to be made. Raises InputError for what the build argument can't mean."""
    text = args.get(MULTI_PLATFORM_ARG, "")
    wanted = find_bool(text) if text else len(platforms) > 1
    if wanted is None:
        raise InputError(
            f"invalid boolean value for multi-platform: {text}",
            hint=f"give {MULTI_PLATFORM_ARG} as 1 or 0",
        )
    if not wanted and len(platforms) > 1:
        raise InputError(
            "conflicting config: returning multiple target platforms is not allowed",
            hint=f"leave out --build-arg {MULTI_PLATFORM_ARG}={text}, or build for one platform",
        )
    return wanted


def _extra_hosts(values: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Split `name=address` pairs; a name with several addresses comes once for each.

    The machine itself, `host-gateway`, is where its steps are: on its own network.
    """
    pairs = []
    for value in values:
        name, _, addresses = value.partition("=")
        given = (_OWN_ADDRESS if each == "host-gateway" else each for each in addresses.split(","))
        pairs += [(name, address) for address in given]
    return tuple(pairs)


def _device_granter(
    request: BuildRequest, environ: Mapping[str, str]
) -> Callable[[Sequence[Device]], tuple[str, ...]]:
    """Return what chooses devices of this machine for a step, and refuses those that aren't allowed."""
    return lambda devices: grant_devices(
        [(each.name, each.required) for each in devices], request.allow, environ
    )


def grant_devices(
    wishes: Sequence[tuple[str, bool]], allow: Iterable[str], environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the full names of the devices of this machine that a step gets of those it asks for.

    They are asked for by name, each required or not; `allow` are the entitlements. Raises InputError for one that isn't
    allowed, NotFound.
    """
    from polyarch.cdi.devices import (  # noqa: PLC0415 few steps have any
        Wish,
        find_devices,
        parse_grants,
        spec_directories,
    )

    wanted = [Wish(name=name, required=required) for name, required in wishes]
    return find_devices(spec_directories(environ)).grant(wanted, parse_grants(allow))
