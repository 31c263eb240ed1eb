"""The whole path of a build, top to bottom: text, graph, layers, images, index, and out.

It runs inside the engine, the process that has entered its namespaces. The command line is one;
programs get theirs from `polyarch.library`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.digest import Digest
from polyarch.dockerfile.context import LowerOptions
from polyarch.dockerfile.epoch import find_epoch
from polyarch.dockerfile.lint import Finding, Linter
from polyarch.dockerfile.lower import Lowered, lower
from polyarch.dockerfile.mount import Device
from polyarch.dockerfile.parser import Dockerfile, parse
from polyarch.errors import Cancelled, PolyarchError
from polyarch.exporter.annotations import INDEX_DESCRIPTOR, annotated
from polyarch.exporter.assemble import assemble, assemble_index
from polyarch.exporter.export import (
    IMAGE_TYPES,
    Engines,
    Exporter,
    annotations_of,
    check_outputs,
    epoch_of,
    is_true,
    names_of,
)
from polyarch.exporter.layers import CompressionChoice
from polyarch.exporter.result import Export
from polyarch.graph.graph import Graph, GraphMaker
from polyarch.graph.location import SourceText
from polyarch.graph.op import GitOp, HttpOp
from polyarch.node.inputs import Contexts, Loader, MainContext
from polyarch.node.local import LocalNode
from polyarch.platforms import Platform, host, normalize
from polyarch.progress import CancelToken, Sink, WarningEvent, ignore_events, step
from polyarch.record import frozen, replace
from polyarch.request import BuildRequest, Output
from polyarch.result import BuildResult
from polyarch.snapshot.stack import LayerStack
from polyarch.solver.solver import Outcome, Solved
from polyarch.text.gotext import parse_bool
from polyarch.worker.remote import RemoteSources
from polyarch.worker.secrets import Secrets, SecretSource
from polyarch.worker.source_image import ImageSource
from polyarch.worker.worker import Result

if TYPE_CHECKING:
    from polyarch.node.fetched import Fetcher

__all__ = ["CheckResult", "build_on", "check_on"]

_OWN_ADDRESS = "127.0.0.1"
_MULTI_PLATFORM = "BUILDKIT_MULTI_PLATFORM"
"""The build argument that makes an index even of one platform."""


def build_on(
    node: LocalNode,
    request: BuildRequest,
    *,
    sink: Sink = ignore_events,
    cancel: CancelToken | None = None,
) -> BuildResult:
    """Carry out `request` on `node`, inside the engine.

    Raises what the errors module lists; nothing is exported, and no name is set, unless all platforms
    were built.
    """
    cancel = cancel or CancelToken()
    request = replace(request, outputs=annotated(request.outputs, request.annotations))
    platforms = tuple(dict.fromkeys(map(normalize, request.platforms or (host(),))))
    engines = node.docker_engines(request.outputs)
    options = _options(request, platforms, node)
    check_outputs(request.outputs, len(platforms), engines, is_index=options.is_multi_platform)
    with _secrets(node, request) as secrets, node.remote_sources(secrets) as remote:
        loader = _loader(node, request, remote, sink, cancel)
        main = loader.main()
        lint = _linter(request)
        dockerfile, shown = _load(loader, main, sink, lint)
        contexts = loader.contexts(main)
        images = node.images(sink)
        resolver = images.resolver(cancel, pull=request.pull)
        maker = GraphMaker()
        options = replace(
            options,
            epoch=find_epoch(
                dockerfile, request.build_args, host(), _Dates(contexts=contexts, loader=loader)
            ),
            ignores=contexts.ignores,
            lint=lint,
        )
        lowered = [
            lower(dockerfile, platform, options=options, maker=maker, images=resolver)
            for platform in platforms
        ]
        _warn(lint, shown, sink)
        graph = Graph(targets=tuple(each.vertex for each in lowered))
        solved = node.solve(graph, contexts, images, cancel, remote=remote, jobs=request.jobs)
    contexts.save()
    stacks = [result for result in solved.results if isinstance(result, LayerStack)]
    export = _export(node, request, lowered, stacks, (images, engines, cancel))
    return _result(export, solved)


@frozen
class CheckResult:
    """What a check found in `source`; `error` is what keeps the Dockerfile from being built at all."""

    source: SourceText
    findings: tuple[Finding, ...]
    error: PolyarchError | None = None


def check_on(
    node: LocalNode,
    request: BuildRequest,
    *,
    sink: Sink = ignore_events,
    cancel: CancelToken | None = None,
) -> CheckResult:
    """Look at what `request` would build, and at all stages if it names none; nothing is built.

    Raises what keeps the Dockerfile from being read, and Cancelled.
    """
    cancel = cancel or CancelToken()
    lint = _linter(request)
    platforms = tuple(map(normalize, request.platforms or (host(),)))
    error: PolyarchError | None = None
    with _secrets(node, request) as secrets, node.remote_sources(secrets) as remote:
        loader = _loader(node, request, remote, sink, cancel)
        main = loader.main()
        source = loader.dockerfile(main)
        try:
            dockerfile = parse(source, lint)
            options = replace(
                _options(request, platforms, node),
                # Nothing runs, so nothing needs to be allowed.
                allow=frozenset({"network.host", "security.insecure"}),
                grant_devices=None,
                all_stages=not request.target,
                ignores=loader.contexts(main).ignores,
                lint=lint,
            )
            resolver = node.images(sink).resolver(cancel, pull=request.pull)
            lower(dockerfile, platforms[0], options=options, maker=GraphMaker(), images=resolver)
        except Cancelled:
            raise
        except PolyarchError as failure:
            error = failure
    return CheckResult(source=source, findings=tuple(lint.findings), error=error)


def _linter(request: BuildRequest) -> Linter:
    return Linter(override=request.build_args.get("BUILDKIT_DOCKERFILE_CHECK"))


def _warn(lint: Linter, shown: Digest, sink: Sink) -> None:
    """Tell of what the checks found, at the step that read the Dockerfile."""
    for finding in lint.findings:
        line = finding.location.line
        sink(
            WarningEvent(
                step=shown,
                short=f"{finding.rule.name}: {finding.detail} (line {line})",
                detail=(finding.rule.description,),
                url=finding.rule.url,
                excerpt=finding.location.excerpt(),
                line=line,
            )
        )


@frozen
class _Dates:
    """Where SOURCE_DATE_EPOCH comes from if it isn't a number."""

    contexts: Contexts
    loader: Loader

    def of_context(self, name: str) -> int | None:
        return self.contexts.date(name)

    def of_source(self, op: HttpOp | GitOp) -> int | None:
        return self.loader.fetcher().date(op)


def _loader(
    node: LocalNode, request: BuildRequest, remote: RemoteSources, sink: Sink, cancel: CancelToken
) -> Loader:
    def fetcher() -> Fetcher:
        from polyarch.node.fetched import Fetcher  # noqa: PLC0415 - folders need nothing of it

        def folder() -> Path:
            return node.store.temporary("context")

        kept = request.build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "")
        return Fetcher(
            remote=remote,
            folder=folder,
            sink=sink,
            cancel=cancel,
            keep_git_dir=kept in {"1", "true"},
        )

    return Loader(
        request=request,
        index=node.store.stat_index,
        empty=node.store.scratch,
        fetcher=fetcher,
    )


def _load(loader: Loader, main: MainContext, sink: Sink, lint: Linter) -> tuple[Dockerfile, Digest]:
    """Return the Dockerfile, and the step that it was read in."""
    given = loader.request.dockerfile
    name = given if given not in {"", "-"} else "Dockerfile"
    with step(sink, f"[internal] load build definition from {name.rpartition('/')[2]}") as shown:
        source = loader.dockerfile(main)
        with shown.part(f"transferring dockerfile: {len(source.text)}B"):
            return parse(source, lint), shown.digest


@contextmanager
def _secrets(node: LocalNode, request: BuildRequest) -> Iterator[Secrets]:
    """Give the secrets of a request; agents that are started for keys end with the block."""
    sources = {
        secret.id: SecretSource(path=secret.path, env=secret.env, value=secret.value)
        for secret in request.secrets
    }
    if not request.ssh_keys:
        yield Secrets(sources=sources, agents=dict(request.ssh))
        return
    from polyarch.worker.keyagent import Agents  # noqa: PLC0415 for keys only

    with Agents(request.ssh, request.ssh_keys, lambda: node.store.temporary("agent")) as agents:
        yield Secrets(sources=sources, agents=agents)


def _device_granter(
    request: BuildRequest, environ: Mapping[str, str]
) -> Callable[[Sequence[Device]], tuple[str, ...]]:
    """Return what chooses devices of this machine for a step, and refuses those that aren't allowed."""

    def grant(devices: Sequence[Device]) -> tuple[str, ...]:
        from polyarch.cdi.devices import (  # noqa: PLC0415 few steps have any
            Wish,
            find_devices,
            parse_grants,
            spec_folders,
        )

        wishes = [Wish(name=each.name, required=each.required) for each in devices]
        return find_devices(spec_folders(environ)).grant(wishes, parse_grants(request.allow))

    return grant


def _options(request: BuildRequest, platforms: Sequence[Platform], node: LocalNode) -> LowerOptions:
    args = request.build_args
    return LowerOptions(
        build_platform=host(),
        is_explicit=bool(request.platforms),
        is_multi_platform=len(platforms) > 1 or bool(parse_bool(args.get(_MULTI_PLATFORM, ""))),
        target=request.target,
        build_args=args,
        labels=request.labels,
        contexts=request.build_contexts,
        no_cache=request.no_cache,
        no_cache_stages=frozenset(name.lower() for name in request.no_cache_filter),
        network=request.network,
        hostname=args.get("BUILDKIT_SANDBOX_HOSTNAME", ""),
        extra_hosts=_extra_hosts(request.add_hosts),
        ulimits=tuple((each.name, each.soft, each.hard) for each in request.ulimits),
        shm_size=request.shm_size,
        cgroup_parent=request.cgroup_parent,
        resources=request.resources,
        allow=frozenset(request.allow),
        grant_devices=_device_granter(request, node.environ),
    )


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


def _export(
    node: LocalNode,
    request: BuildRequest,
    lowered: Sequence[Lowered],
    stacks: Sequence[LayerStack],
    carried: tuple[ImageSource, Engines, CancelToken],
) -> Export | None:
    """Make what the outputs asked for of the results; return the image, if one was wanted."""
    images, engines, cancel = carried
    outputs = [each for each in request.outputs if each.type != "cacheonly"]
    export = None
    if any(output.type in IMAGE_TYPES for output in outputs):
        export = _assemble(node, outputs, lowered, stacks, (images, cancel))
    platforms = [each.platform for each in lowered]
    vertices = tuple(each.vertex for each in lowered)
    exporter = Exporter(
        store=node.store,
        carrier=node.carrier(images),
        trees=lambda: node.trees(platforms, stacks, images, vertices, cancel),
        epoch=lowered[0].epoch,
        is_split=lowered[0].is_multi_platform,
        sink=images.sink,
        cancel=cancel,
        engines=engines,
    )
    for output in outputs:
        names = names_of(output)
        exporter.run(output, replace(export, names=names) if export else None)
    return export


def _assemble(
    node: LocalNode,
    outputs: Sequence[Output],
    lowered: Sequence[Lowered],
    stacks: Sequence[LayerStack],
    carried: tuple[ImageSource, CancelToken],
) -> Export:
    images, cancel = carried
    output = next(each for each in outputs if each.type in IMAGE_TYPES)
    epoch = epoch_of(output, lowered[0].epoch)
    choice = CompressionChoice.parse(
        output.attributes.get("compression", ""), output.attributes.get("compression-level", "")
    )
    if is_true(output, "rewrite-timestamp"):
        choice = replace(choice, latest=epoch)
    annotations = annotations_of(output, 2 if lowered[0].is_multi_platform else 1)
    with step(images.sink, "exporting layers"):
        made = tuple(
            assemble(
                part.config,
                part.history,
                node.layers.export(stack, choice, cancel),
                part.platform,
                epoch=epoch,
                annotations=annotations,
            )
            for part, stack in zip(lowered, stacks, strict=True)
        )
    is_multi = lowered[0].is_multi_platform
    root = assemble_index(made, annotations) if is_multi else made[0].manifest
    return Export(
        root=root,
        images=made,
        names=tuple(dict.fromkeys(name for output in outputs for name in names_of(output))),
        created=time.time() if epoch is None else epoch,
        annotations=annotations.find(INDEX_DESCRIPTOR),
    )


def _result(export: Export | None, solved: Solved[Result]) -> BuildResult:
    ran, cached = solved.report.count(Outcome.RAN), solved.report.count(Outcome.CACHED)
    if export is None:
        return BuildResult(ran=ran, cached=cached)
    single = export.images[0] if export.root == export.images[0].manifest else None
    return BuildResult(
        descriptor=export.root.descriptor,
        config_digest=single.config.descriptor.digest if single else None,
        names=tuple(map(str, export.names)),
        manifests={
            str(image.platform): image.manifest.descriptor.digest for image in export.images
        },
        ran=ran,
        cached=cached,
    )
