"""A plan -> builds: its targets one after another, those that others build on first, in one engine.

What a step has in common with one of another target is found in the cache, so it runs once.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from polyarch.bake.allowed import Allowed, missing
from polyarch.bake.config import Plan
from polyarch.bake.entries import Export
from polyarch.bake.target import Target
from polyarch.builders.saved import SavedBuilders
from polyarch.builders.values import BuilderNode, SavedBuilder
from polyarch.cli.baking.words import build_words
from polyarch.cli.builders.chosen import working_builder
from polyarch.cli.building.build import metadata
from polyarch.cli.building.not_yet import check_there
from polyarch.cli.building.prefixes import solving
from polyarch.cli.building.request import read_flags, read_request
from polyarch.cli.building.settings import (
    emulation_of,
    jobs_of,
    with_settings,
)
from polyarch.cli.building.table import BUILD_FLAGS
from polyarch.cli.building.values import call_flag
from polyarch.cli.display.base import Caption, Display
from polyarch.cli.display.display import open_display
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.engine import enter, open_engine
from polyarch.cli.frame.files import write_file
from polyarch.cli.frame.flags import Options, parse_flags
from polyarch.digest import Digest, sha256
from polyarch.errors import Cancelled, InputError, PolyarchError
from polyarch.golang.json import indented
from polyarch.progress import Event, Sink, StepEvent
from polyarch.record import frozen, replace
from polyarch.request.ref import local_state, new_ref
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest

__all__ = ["build_plan", "prefixed"]


@frozen
class _Building:
    """What all builds of a plan have in common."""

    context: Context
    display: Display
    builder: SavedBuilder
    node: BuilderNode
    options: Options


def build_plan(plan: Plan, allowed: Allowed, options: Options, context: Context) -> int:
    """Build a plan; return the exit status. Raises InputError for what wasn't allowed, and what builds raise."""
    _ask_for_more(plan, allowed, context, is_remote=False)
    builders = SavedBuilders(context.environ)
    builder = working_builder(context, builders)
    builders.touch(builder.name)
    display = open_display(
        options.text("progress")
        if options.given("progress")
        else context.environ.get("BUILDKIT_PROGRESS") or options.text("progress"),
        stream=context.stderr,
        environ=context.environ,
        caption=Caption(builder=builder.name, driver=builder.driver),
        debug=context.debug,
    )
    node = builder.nodes[0]
    context = enter(replace(context, environ=with_settings(node, context.environ)))
    building = _Building(
        context=context, display=display, builder=builder, node=node, options=options
    )
    if any(call_flag(each.call or "build") for each in plan.targets.values()):
        return _answer(plan, building)
    results = _solve(plan, building, builders)
    if path := options.text("metadata-file"):
        found = {name: dict(sorted(metadata(each).items())) for name, each in results.items()}
        write_file(path, indented(dict(sorted(found.items()))).decode(), make_directory=True)
    return 0


def _ask_for_more(plan: Plan, allowed: Allowed, context: Context, *, is_remote: bool) -> None:
    """Ask whoever sits at a terminal for what wasn't allowed. Raises InputError if nobody says yes."""
    lacks = missing(plan, allowed, context.environ, is_remote=is_remote)
    if not lacks.values:
        return
    flags = " ".join(f"--allow={each}" for each in lacks.values)
    context.stderr.write(
        "Your build is requesting privileges for following possibly insecure capabilities:\n\n"
        + "".join(f"{each}\n" for each in lacks.reasons)
        + f'\nPass "{flags}" to grant requested privileges.\n\n'
    )
    if context.stdin.isatty():
        context.stderr.write("Do you want to grant requested privileges and continue? [y/N] ")
        context.stderr.flush()
        if context.stdin.readline().strip().lower() == "y":
            return
    raise InputError("additional privileges requested", hint=f"if you trust the file: {flags}")


# --- builds ---


def _solve(plan: Plan, building: _Building, builders: SavedBuilders) -> Mapping[str, BuildResult]:
    results: dict[str, BuildResult] = {}
    linked = {name for each in plan.targets.values() for name in _links(each)}
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine(building.context))
        # Most of the program: see `polyarch.engine.opening`.
        from polyarch.cli.frame.interrupt import cancel_on_signals  # noqa: PLC0415
        from polyarch.pipeline.recorded import recorded_build  # noqa: PLC0415

        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="polyarch-bake-")))
        cancel = stack.enter_context(cancel_on_signals())
        stack.enter_context(building.display)
        stack.enter_context(solving())
        for name in _ordered(plan):
            target = _connected(plan.targets[name], scratch)
            if name in linked:
                target = _with_layout(target, scratch / name)
            request = _request(target, building)
            builders.note_build(request.ref, local_state(request))
            sink = prefixed(building.display, name)
            try:
                results[name] = recorded_build(engine, request, sink=sink, cancel=cancel)
            except Cancelled:
                raise
            except PolyarchError as error:
                raise _failed(name, error, plan) from error
    return results


def _links(target: Target) -> list[str]:
    found = (target.contexts or {}).values()
    return [each.removeprefix("target:") for each in found if each.startswith("target:")]


def _ordered(plan: Plan) -> Iterator[str]:
    """Yield the targets, those that others build on before these."""
    done: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in done:
            for other in _links(plan.targets[name]):
                visit(other)
            done[name] = None

    for name in sorted(plan.targets):
        visit(name)
    yield from done


def _connected(target: Target, scratch: Path) -> Target:
    """Return a target whose contexts that are targets are what these were built to."""
    contexts = {
        name: f"oci-layout://{scratch / at.removeprefix('target:')}"
        if at.startswith("target:")
        else at
        for name, at in (target.contexts or {}).items()
    }
    return replace(target, contexts=contexts)


def _with_layout(target: Target, directory: Path) -> Target:
    outputs = tuple(each for each in target.output or () if each.type != "cacheonly")
    layout = Export(type="oci", attributes={"tar": "false"}, destination=str(directory))
    return replace(target, output=(*outputs, layout))


def _request(target: Target, building: _Building) -> BuildRequest:
    context = building.context
    if target.dockerfile_inline is not None:
        data = io.BytesIO(target.dockerfile_inline.encode("utf-8", "surrogateescape"))
        context = replace(context, stdin=io.TextIOWrapper(data))
    options = parse_flags(BUILD_FLAGS, build_words(target))
    asked = read_request(options, read_flags(options, context.environ), context)
    check_there(asked)
    return replace(
        asked.request,
        ref=new_ref(building.builder.name, building.node.name),
        jobs=jobs_of(building.node, context.environ),
        emulation=asked.request.emulation or emulation_of(building.node, context.environ),
    )


def _failed(name: str, error: PolyarchError, plan: Plan) -> PolyarchError:
    """Return the error of a target, which says what depends on it."""
    waiting = sorted(other for other, each in plan.targets.items() if name in _links(each))
    because = f"; {', '.join(waiting)} depend{'s' if len(waiting) == 1 else ''} on it"
    told = PolyarchError(
        f"target {name}: {error}{because if waiting else ''}", hint=error.hint, place=error.place
    )
    told.exit_status = error.exit_status
    return told


def prefixed(sink: Sink, name: str) -> Sink:
    """Return a sink that shows steps as those of a target: `[app 1/2] RUN make`, as buildx does.

    Steps of two targets that are one are shown for each of them.
    """

    def own(step: Digest) -> Digest:
        return sha256(f"{name} {step}".encode())

    def take(event: Event) -> None:
        changes: dict[str, object] = {"step": own(event.step)}
        if isinstance(event, StepEvent):
            changes["name"] = _shown(event.name, name)
            changes["inputs"] = tuple(map(own, event.inputs))
        sink(replace(event, **changes))

    return take


def _shown(step: str, target: str) -> str:
    if step.startswith("[internal] "):
        return f"[{target} internal] {step.removeprefix('[internal] ')}"
    return f"[{target} {step[1:]}" if step.startswith("[") else f"[{target}] {step}"


# --- questions ---


def _answer(plan: Plan, building: _Building) -> int:
    from polyarch.cli.building.asking import ask  # noqa: PLC0415 for those who ask only

    status = 0
    context, options = building.context, building.options
    asked = call_flag("check" if options.is_set("check") else options.text("call"))
    for number, name in enumerate(sorted(plan.targets)):
        target = plan.targets[name]
        call = call_flag(target.call or "build")
        if call is None:
            continue
        whole = replace(asked, name=call.name) if asked is not None else call
        display = open_display("quiet", stream=context.stderr, environ=context.environ)
        answer = ask(_request(target, building), whole, context, display)
        context.stdout.write(f"{os.linesep if number else ''}{name}\n")
        if target.description:
            context.print(target.description)
        context.print()
        context.stdout.write(answer.text)
        if not whole.ignore_status:
            status = status or answer.status
    return status
