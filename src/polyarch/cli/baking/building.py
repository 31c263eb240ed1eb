"""A plan -> builds: its targets in one graph, each of which is shown, recorded and exported for itself."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from polyarch.bake.allowed import Allowed, missing
from polyarch.bake.config import Plan
from polyarch.bake.target import Target
from polyarch.builders.saved import SavedBuilders
from polyarch.builders.values import BuilderNode, SavedBuilder
from polyarch.cli.baking.words import build_words
from polyarch.cli.builders.chosen import working_builder
from polyarch.cli.building.build import metadata, settings_for, wants_warnings
from polyarch.cli.building.not_yet import check_there
from polyarch.cli.building.prefixes import solving
from polyarch.cli.building.request import read_flags, read_request
from polyarch.cli.building.settings import (
    emulation_of,
    jobs_of,
    with_emulators,
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
from polyarch.errors import InputError, PolyarchError
from polyarch.golang.json import indented
from polyarch.progress import Event, LogEvent, Sink, StepEvent
from polyarch.record import frozen, replace
from polyarch.request.ref import local_state, new_ref
from polyarch.request.values import BuildRequest

if TYPE_CHECKING:
    from polyarch.pipeline.bake import Baked

__all__ = ["build_plan", "failure", "links", "prefixed"]


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
    context = enter(replace(context, environ=with_emulators(node, context.environ)))
    building = _Building(
        context=context, display=display, builder=builder, node=node, options=options
    )
    if any(call_flag(each.call or "build") for each in plan.targets.values()):
        return _answer(plan, building)
    baked = _solve(plan, building, builders)
    path = options.text("metadata-file")
    if path and (not baked.errors or options.is_set("keep-going")):
        _write_metadata(path, baked, building)
    if baked.errors:
        with solving():
            raise failure(baked.errors, plan)
    return 0


def _write_metadata(path: str, baked: Baked, building: _Building) -> None:
    found: dict[str, object] = {
        name: dict(sorted(metadata(each).items())) for name, each in baked.results.items()
    }
    warnings = building.display.warnings
    if warnings and wants_warnings(building.context):
        from polyarch.cli.display.rawjson import warning_json  # noqa: PLC0415 rarely asked for

        found["buildx.build.warnings"] = [warning_json(each) for each in warnings]
    write_file(path, indented(dict(sorted(found.items()))).decode(), make_directory=True)


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


def _solve(plan: Plan, building: _Building, builders: SavedBuilders) -> Baked:
    collecting = settings_for(building.node, building.context)
    requests = {name: _request(plan.targets[name], building) for name in sorted(plan.targets)}
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine(building.context))
        engine.background.use(collecting)
        # Most of the program: see `polyarch.engine.opening`.
        from polyarch.cli.frame.interrupt import cancel_on_signals  # noqa: PLC0415
        from polyarch.pipeline.bake import bake_on  # noqa: PLC0415

        cancel = stack.enter_context(cancel_on_signals())
        stack.enter_context(building.display)
        stack.enter_context(solving())
        for request in requests.values():
            builders.note_build(request.ref, local_state(request))
        return bake_on(
            engine,
            requests,
            sink=partial(prefixed, building.display, logged={}),
            cancel=cancel,
            keeps_going=building.options.is_set("keep-going"),
        )


def links(target: Target) -> list[str]:
    """Return the targets that a target is built on."""
    found = (target.contexts or {}).values()
    return [each.removeprefix("target:") for each in found if each.startswith("target:")]


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


def failure(errors: Mapping[str, PolyarchError], plan: Plan) -> PolyarchError:
    """Return one error for those of several targets, which says what depends on each."""
    first = next(iter(errors.values()))
    lines = []
    for error in {id(each): each for each in errors.values()}.values():
        names = [name for name, each in errors.items() if each is error]
        waiting = sorted(set().union(*(_dependents(name, plan) for name in names)) - set(names))
        said = f"target {names[0]}: {error}"
        if names[1:]:
            said += f"; {_verb(names[1:], 'need')} it, too"
        lines.append(f"{said}; {_verb(waiting, 'depend')} on it" if waiting else said)
    told = PolyarchError("\n".join(lines), hint=first.hint, place=first.place)
    told.exit_status = first.exit_status
    return told


def _verb(names: Sequence[str], verb: str) -> str:
    return f"{', '.join(names)} {verb}{'s' if len(names) == 1 else ''}"


def _dependents(name: str, plan: Plan) -> set[str]:
    """Return the targets that are built on one, directly or not."""
    found: set[str] = set()
    todo = [name]
    while todo:
        base = todo.pop()
        more = {other for other, each in plan.targets.items() if base in links(each)} - found
        found |= more
        todo += more
    return found


def prefixed(sink: Sink, name: str, logged: dict[Digest, str]) -> Sink:
    """Return a sink that shows steps as those of a target: `[app 1/2] RUN make`, as buildx does.

    Steps of two targets that are one are shown for each of them, what they print and fail by for the first of them only:
    `logged` has that for each step.
    """

    def own(step: Digest) -> Digest:
        return sha256(f"{name} {step}".encode())

    def take(event: Event) -> None:
        changes: dict[str, object] = {"step": own(event.step)}
        is_said = isinstance(event, LogEvent) or (isinstance(event, StepEvent) and event.error)
        is_second = is_said and logged.setdefault(event.step, name) != name
        if isinstance(event, LogEvent) and is_second:
            return
        if isinstance(event, StepEvent):
            changes["error"] = "canceled" if is_second else event.error
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
