"""The whole path of a build, top to bottom: text, graph, layers, images, index, and out.

It runs inside the engine, the process that has entered its namespaces. The command line is one;
programs get theirs from `polyarch.library`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.digest import Digest
from polyarch.dockerfile.context import BaseImages, LowerOptions
from polyarch.dockerfile.epoch import SOURCE_DATE_EPOCH, find_epoch
from polyarch.dockerfile.lint import CHECK_ARG, Finding, Linter
from polyarch.dockerfile.lower import Lowered, lower
from polyarch.dockerfile.parser import Dockerfile, parse
from polyarch.dockerfile.syntax import check_syntax
from polyarch.errors import Cancelled, InputError, PolyarchError
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
from polyarch.node.telling import Telling
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
    from polyarch.dockerfile.outline import Outline
    from polyarch.node.fetched import Fetcher

__all__ = ["CheckResult", "build_on", "check_on", "outline_on", "targets_on"]

_MULTI_PLATFORM = "BUILDKIT_MULTI_PLATFORM"
"""The build argument that makes an index even of one platform."""

_BUILD_PLATFORM: tuple[Platform, ...] = ()
"""Platforms for questions about a Dockerfile: BuildKit answers for the machine that it runs on."""


def build_on(
    node: LocalNode,
    request: BuildRequest,
    *,
    sink: Sink = ignore_events,
    cancel: CancelToken | None = None,
    telling: Telling | None = None,
) -> BuildResult:
    """Carry out `request` on `node`, inside the engine; `telling` gathers why steps ran.

    Raises what the errors module lists; nothing is exported, and no name is set, unless all platforms
    were built.
    """
    cancel = cancel or CancelToken()
    telling = telling or Telling()
    telling.asked_for(request)
    request = replace(request, outputs=annotated(request.outputs, request.annotations))
    platforms = tuple(dict.fromkeys(map(normalize, request.platforms or (host(),))))
    engines = node.docker_engines(request.outputs)
    options = _options(request, platforms)
    check_outputs(request.outputs, len(platforms), engines, is_index=options.is_multi_platform)
    with node.remote_sources(_secrets(request)) as remote:
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
        # What there is to say of the Dockerfile is said of the first platform, as BuildKit does.
        mute = replace(options, lint=Linter.mute())
        try:
            lowered = [
                lower(
                    dockerfile,
                    platform,
                    options=mute if number else options,
                    maker=maker,
                    images=resolver,
                )
                for number, platform in enumerate(platforms)
            ]
        finally:
            _warn(lint.findings, shown, sink)
        graph = Graph(targets=tuple(each.vertex for each in lowered))
        solved = node.solve(
            graph,
            contexts,
            images,
            cancel,
            remote=remote,
            telling=telling,
            jobs=request.jobs,
        )
    telling.has_ended = True
    contexts.save()
    stacks = [result for result in solved.results if isinstance(result, LayerStack)]
    export = _export(node, request, lowered, stacks, (images, engines, cancel))
    return _result(export, solved, telling)


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

    Raises what keeps the Dockerfile or a build context from being read, and Cancelled.
    """
    lint = _linter(request)
    error: PolyarchError | None = None
    with _reading(node, request, sink, cancel) as (loader, main, resolver):
        source = loader.dockerfile(main)
        contexts = loader.contexts(main)
        if lint.override is not None:
            lint.begin(source)  # what the command line says is no fault of the Dockerfile
        try:
            dockerfile = _parsed(source, request, lint)
            options = replace(
                _options(request, _BUILD_PLATFORM),
                all_stages=not request.target,
                ignores=contexts.ignores,
                lint=lint,
            )
            lower(dockerfile, host(), options=options, maker=GraphMaker(), images=resolver)
        except Cancelled:
            raise
        except PolyarchError as failure:
            error = failure
    return CheckResult(source=source, findings=tuple(lint.findings), error=error)


def outline_on(
    node: LocalNode,
    request: BuildRequest,
    *,
    sink: Sink = ignore_events,
    cancel: CancelToken | None = None,
) -> Outline:
    """Find out what the target of `request` takes from outside; nothing is built.

    Raises what would keep it from being built, as far as that shows in the Dockerfile.
    """
    from polyarch.dockerfile.outline import outline  # noqa: PLC0415 - builds do without

    with _reading(node, request, sink, cancel) as (loader, main, resolver):
        lint = _linter(request)
        dockerfile, shown = _load(loader, main, sink, lint)
        options = replace(_options(request, _BUILD_PLATFORM), lint=lint)
        try:
            return outline(dockerfile, host(), options=options, images=resolver)
        finally:
            _warn(lint.findings, shown, sink)


def targets_on(
    node: LocalNode,
    request: BuildRequest,
    *,
    sink: Sink = ignore_events,
    cancel: CancelToken | None = None,
) -> Dockerfile:
    """Read and parse the Dockerfile of `request`: its stages are the targets that there are."""
    with _reading(node, request, sink, cancel) as (loader, main, _):
        return _load(loader, main, sink, Linter.mute())[0]


@contextmanager
def _reading(
    node: LocalNode, request: BuildRequest, sink: Sink, cancel: CancelToken | None
) -> Iterator[tuple[Loader, MainContext, BaseImages]]:
    """Have what a Dockerfile can be read with, without building it."""
    cancel = cancel or CancelToken()
    with node.remote_sources(_secrets(request)) as remote:
        loader = _loader(node, request, remote, sink, cancel)
        main = loader.main()
        yield loader, main, node.images(sink).resolver(cancel, pull=request.pull)


def _linter(request: BuildRequest) -> Linter:
    return Linter(override=request.build_args.get(CHECK_ARG))


def _warn(findings: Sequence[Finding], shown: Digest, sink: Sink) -> None:
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

        args = request.build_args
        return Fetcher(
            remote=remote,
            folder=folder,
            sink=sink,
            cancel=cancel,
            keep_git_dir=bool(parse_bool(args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", ""))),
            is_dated=bool(args.get(SOURCE_DATE_EPOCH)),
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
            try:
                return _parsed(source, loader.request, lint), shown.digest
            except PolyarchError:
                _warn(lint.findings, shown.digest, sink)
                raise


def _parsed(source: SourceText, request: BuildRequest, lint: Linter) -> Dockerfile:
    check_syntax(source, request.build_args)
    return parse(source, lint)


def _secrets(request: BuildRequest) -> Secrets:
    sources = {
        secret.id: SecretSource(path=secret.path, env=secret.env, value=secret.value)
        for secret in request.secrets
    }
    return Secrets(sources=sources, agents=dict(request.ssh))


def _options(request: BuildRequest, platforms: Sequence[Platform]) -> LowerOptions:
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
        ulimits=tuple((each.name, each.soft, each.hard) for each in request.ulimits),
        shm_size=request.shm_size,
        cgroup_parent=request.cgroup_parent,
        allow=frozenset(request.allow),
    )


def _is_multi_platform(args: Mapping[str, str], platforms: Sequence[Platform]) -> bool:
    """Tell if an index is to be made. Raises InputError for what the build argument can't mean."""
    text = args.get(_MULTI_PLATFORM, "")
    wanted = parse_bool(text) if text else len(platforms) > 1
    if wanted is None:
        raise InputError(
            f"invalid boolean value for multi-platform: {text}",
            hint=f"give {_MULTI_PLATFORM} as 1 or 0",
        )
    if not wanted and len(platforms) > 1:
        raise InputError(
            "conflicting config: returning multiple target platforms is not allowed",
            hint=f"leave out --build-arg {_MULTI_PLATFORM}={text}, or build for one platform",
        )
    return wanted


def _extra_hosts(values: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Split `name=address` pairs; a name with several addresses comes once for each."""
    pairs = []
    for value in values:
        name, _, addresses = value.partition("=")
        pairs += [(name, address) for address in addresses.split(",")]
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
                moment=part.epoch,
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


def _result(export: Export | None, solved: Solved[Result], telling: Telling) -> BuildResult:
    ran, cached = solved.report.count(Outcome.RAN), solved.report.count(Outcome.CACHED)
    if export is None:
        return BuildResult(ran=ran, cached=cached, explanations=telling.found)
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
        explanations=telling.found,
    )
