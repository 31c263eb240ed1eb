"""The whole path of a build, top to bottom: text, graph, layers, images, index, and out.

It runs inside the engine, the process that has entered its namespaces. The command line is one;
programs get theirs from `polyarch.library`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from polyarch.dockerfile.context import LowerOptions
from polyarch.dockerfile.lower import Lowered, lower
from polyarch.dockerfile.parser import Dockerfile, parse
from polyarch.errors import InputError
from polyarch.exporter.assemble import assemble, assemble_index
from polyarch.exporter.export import IMAGE_TYPES, Engines, Exporter, check_outputs, names_of
from polyarch.exporter.layers import CompressionChoice
from polyarch.exporter.result import Export
from polyarch.graph.graph import Graph, GraphMaker
from polyarch.node.inputs import load_contexts, read_dockerfile
from polyarch.node.local import LocalNode
from polyarch.platforms import Platform, host, normalize
from polyarch.progress import CancelToken, Sink, ignore_events, step
from polyarch.record import replace
from polyarch.request import BuildRequest, Output
from polyarch.result import BuildResult
from polyarch.snapshot.stack import LayerStack
from polyarch.solver.solver import Outcome, Solved
from polyarch.worker.secrets import Secrets, SecretSource
from polyarch.worker.source_image import ImageSource
from polyarch.worker.worker import Result

__all__ = ["build_on"]


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
    if request.annotations:
        raise InputError("annotations can't be carried out yet", hint="build without them")
    cancel = cancel or CancelToken()
    platforms = tuple(dict.fromkeys(map(normalize, request.platforms or (host(),))))
    engines = node.docker_engines(request.outputs)
    check_outputs(request.outputs, len(platforms), engines)
    dockerfile = _load(request, sink)
    contexts = load_contexts(request, node.store.stat_index, node.store.scratch)
    images = node.images(sink)
    resolver = images.resolver(cancel, pull=request.pull)
    maker = GraphMaker()
    options = _options(request, platforms)
    lowered = [
        lower(dockerfile, platform, options=options, maker=maker, images=resolver)
        for platform in platforms
    ]
    graph = Graph(targets=tuple(each.vertex for each in lowered))
    solved = node.solve(
        graph, contexts, images, cancel, secrets=_secrets(request), jobs=request.jobs
    )
    contexts.save()
    stacks = [result for result in solved.results if isinstance(result, LayerStack)]
    export = _export(node, request, lowered, stacks, (images, engines, cancel))
    return _result(export, solved)


def _load(request: BuildRequest, sink: Sink) -> Dockerfile:
    name = request.dockerfile if request.dockerfile not in {"", "-"} else "Dockerfile"
    with step(sink, f"[internal] load build definition from {name.rpartition('/')[2]}") as shown:
        source = read_dockerfile(request)
        with shown.part(f"transferring dockerfile: {len(source.text)}B"):
            return parse(source)


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
        is_multi_platform=len(platforms) > 1,
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
    attributes = next(each.attributes for each in outputs if each.type in IMAGE_TYPES)
    choice = CompressionChoice.parse(
        attributes.get("compression", ""), attributes.get("compression-level", "")
    )
    with step(images.sink, "exporting layers"):
        made = tuple(
            assemble(
                part.config, part.history, node.layers.export(stack, choice, cancel), part.platform
            )
            for part, stack in zip(lowered, stacks, strict=True)
        )
    root = made[0].manifest if len(made) == 1 else assemble_index(made)
    names = tuple(dict.fromkeys(name for output in outputs for name in names_of(output)))
    return Export(root=root, images=made, names=names, created=time.time())


def _result(export: Export | None, solved: Solved[Result]) -> BuildResult:
    ran, cached = solved.report.count(Outcome.RAN), solved.report.count(Outcome.CACHED)
    if export is None:
        return BuildResult(ran=ran, cached=cached)
    single = export.images[0] if len(export.images) == 1 else None
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
