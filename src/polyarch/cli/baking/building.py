"""A plan -> builds: its targets in one graph, each of which is shown, recorded and exported for itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from polyarch.bakefile.config import Plan
from polyarch.bakefile.entries import Export
from polyarch.bakefile.target import Target
from polyarch.builders.saved import SavedBuilders
from polyarch.builders.values import ELSEWHERE, BuilderNode, SavedBuilder
from polyarch.buildkit.needs import require_grpc
from polyarch.cli.baking.flags import progress_mode
from polyarch.cli.baking.loading import Loading
from polyarch.cli.baking.requests import request_of
from polyarch.cli.baking.told import failure, prefixed
from polyarch.cli.builders.chosen import working_builder
from polyarch.cli.builders.loads import loads_by_default
from polyarch.cli.building.build import (
    distinct,
    metadata,
    settings_for,
    warnings_for_metadata,
    write_metadata,
)
from polyarch.cli.building.prefixes import solving
from polyarch.cli.building.request import result_provenance
from polyarch.cli.building.settings import (
    emulation_of,
    jobs_of,
    with_settings,
)
from polyarch.cli.building.signing import signing_flag
from polyarch.cli.building.values import call_flag
from polyarch.cli.display.base import Caption, Display
from polyarch.cli.display.display import open_display
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.engine import enter, open_engine
from polyarch.cli.frame.flags import Options
from polyarch.cluster.needs import require_dask
from polyarch.errors import InputError
from polyarch.progress import ignore_events
from polyarch.record import frozen, replace
from polyarch.request.baked import BakeResult
from polyarch.request.outputs import is_pushed
from polyarch.request.ref import local_state, new_ref
from polyarch.request.signing import Signing
from polyarch.request.values import BuildRequest, OutputType

__all__ = ["build_plan"]


@frozen
class _Building:
    """What all builds of a plan have in common."""

    context: Context
    display: Display
    builder: SavedBuilder
    node: BuilderNode
    options: Options
    loading: Loading
    signing: tuple[Signing, ...]


def build_plan(plan: Plan, options: Options, context: Context, loading: Loading) -> int:
    """Build a plan of which all was allowed; return the exit status. Raises what builds raise.

    Builds show in their display what `loading` has kept; other calls show it before they answer.
    """
    builders = SavedBuilders(context.environ)
    builder = working_builder(context, builders, elsewhere=ELSEWHERE)
    builders.touch(builder.name)
    display = open_display(
        progress_mode(options, context),
        stream=context.stderr,
        environ=context.environ,
        caption=Caption(builder=builder.name, driver=builder.driver),
        debug=context.debug,
    )
    if options.given("join"):
        loading.show()
        from polyarch.cli.baking.joining import join_plan  # noqa: PLC0415 seldom

        return join_plan(plan, options, context, display)
    if options.given("shard"):
        from polyarch.cli.baking.shards import sharded  # noqa: PLC0415 seldom

        plan = sharded(plan, options.values("shard"), options.text("output"))
    signing = signing_flag(options, context)
    node = builder.nodes[0]
    context = enter(replace(context, environ=with_settings(node, context.environ)))
    building = _Building(
        context=context,
        display=display,
        builder=builder,
        node=node,
        options=options,
        loading=loading,
        signing=signing,
    )
    if any(call_flag(each.call or "build") for each in plan.targets.values()):
        loading.show()
        return _answer(plan, building)
    if options.given("graph"):
        loading.show()
        return _show_graph(plan, building)
    baked = _solve(plan, building, builders)
    path = options.text("metadata-file")
    if path and (not baked.errors or options.is_set("keep-going")):
        _write_metadata(path, baked, building)
    if baked.errors:
        with solving():
            raise failure(baked.errors, plan)
    return 0


def _show_graph(plan: Plan, building: _Building) -> int:
    requests = {name: _request(plan.targets[name], building) for name in sorted(plan.targets)}
    with open_engine(building.context) as engine:
        from polyarch.cli.baking.graph import render  # noqa: PLC0415 as in _solve
        from polyarch.cli.frame.interrupt import cancel_on_signals  # noqa: PLC0415
        from polyarch.pipeline.bakegraph import graph_on  # noqa: PLC0415

        with cancel_on_signals() as cancel, solving():
            graph = graph_on(engine, requests, sink=ignore_events, cancel=cancel)
    building.context.stdout.write(render(graph, building.options.text("graph")))
    return 0


def _write_metadata(path: str, baked: BakeResult, building: _Building) -> None:
    found: dict[str, object] = {
        name: dict(sorted(metadata(each).items())) for name, each in baked.results.items()
    }
    warnings = warnings_for_metadata(building.context, building.display)
    write_metadata(path, found, distinct(warnings))


# --- builds ---


def _solve(plan: Plan, building: _Building, builders: SavedBuilders) -> BakeResult:
    collecting = settings_for(building.node, building.context)
    requests = {name: _request(plan.targets[name], building) for name in sorted(plan.targets)}
    if building.signing and not any(each.signing for each in requests.values()):
        raise InputError(
            "--sign signs what is pushed, and nothing of this bake is",
            hint="push it with --push, or sign later: polyarch sign NAME",
        )
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine(building.context))
        engine.background.use(collecting)
        # Most of the program: see `polyarch.engine.opening`.
        from polyarch.cli.frame.interrupt import cancel_on_signals  # noqa: PLC0415
        from polyarch.pipeline.bake import bake_on  # noqa: PLC0415

        cancel = stack.enter_context(cancel_on_signals())
        stack.enter_context(building.display)
        building.loading.show_in(building.display)
        stack.enter_context(solving())
        for request in requests.values():
            builders.note_build(request.ref, local_state(request))
        bake: Callable[..., BakeResult] = bake_on
        if building.builder.is_cluster:
            # Dask, which takes most of a second.
            require_dask()
            from polyarch.cluster.bake import bake_on_cluster  # noqa: PLC0415

            bake = partial(bake_on_cluster, node=building.node)
        elif building.builder.is_remote:
            # gRPC, and what it is made of.
            require_grpc()
            from polyarch.pipeline.apart import bake_on_nodes  # noqa: PLC0415

            bake = partial(bake_on_nodes, builder=building.builder)
        return bake(
            engine,
            requests=requests,
            sink=partial(prefixed, building.display, logged={}),
            cancel=cancel,
            keeps_going=building.options.is_set("keep-going"),
        )


def _request(target: Target, building: _Building) -> BuildRequest:
    node, environ = building.node, building.context.environ
    is_part = building.options.given("shard") and not target.linked
    is_silent = not target.output and not target.linked and not call_flag(target.call or "build")
    if is_silent and loads_by_default(building.builder, environ):
        target = replace(target, output=(Export(type=OutputType.DOCKER, attributes={}),))
    request = request_of(target, building.context, is_part=is_part)
    return replace(
        request,
        signing=building.signing if any(map(is_pushed, request.outputs)) else (),
        ref=new_ref(building.builder.name, node.name),
        jobs=jobs_of(node, environ),
        result_provenance=result_provenance(building.options, environ),
        emulation=request.emulation or emulation_of(node, environ),
    )


# --- questions ---


def _answer(plan: Plan, building: _Building) -> int:
    from polyarch.cli.baking.answers import answer_all  # noqa: PLC0415 for those who ask only

    requests = {name: _request(_alone(each), building) for name, each in plan.targets.items()}
    return answer_all(plan, requests, building.options, building.context, building.builder)


def _alone(target: Target) -> Target:
    """Return a target that is asked about and not built: what it builds on counts as empty."""
    contexts = {
        name: "docker-image://scratch" if at.startswith("target:") else at
        for name, at in (target.contexts or {}).items()
    }
    return replace(target, contexts=contexts)
