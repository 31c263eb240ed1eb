"""`build`: flags to a request, the request to the engine, its result to where it was asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.builders.collecting import read_settings, settings_of
from polyarch.builders.saved import SavedBuilders
from polyarch.builders.values import ELSEWHERE, BuilderNode, SavedBuilder
from polyarch.cli.builders.chosen import working_builder
from polyarch.cli.builders.loads import loads_by_default
from polyarch.cli.building.prefixes import PREFIX
from polyarch.cli.building.request import Asked, BuildFlags, read_flags, read_request
from polyarch.cli.building.settings import (
    emulation_of,
    jobs_of,
    with_settings,
)
from polyarch.cli.building.table import BUILD_FLAGS, ignored_flags
from polyarch.cli.display.base import Caption, Display
from polyarch.cli.display.display import open_display
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.engine import open_engine
from polyarch.cli.frame.files import write_file
from polyarch.cli.frame.flags import Options
from polyarch.cli.frame.network import check_near, with_network, with_proxy
from polyarch.cli.frame.report import CommandFailed
from polyarch.errors import Cancelled, InputError, MachineError, PolyarchError
from polyarch.golang.json import indented
from polyarch.golang.strconv import find_bool
from polyarch.paths import is_device
from polyarch.progress import WarningEvent
from polyarch.record import asdict, frozen, replace
from polyarch.request.ref import local_state, new_ref
from polyarch.request.values import Output, OutputType

if TYPE_CHECKING:
    from polyarch.debugger.hands import Debugger
    from polyarch.request.emulated import EmulatedStep
    from polyarch.request.result import BuildResult

__all__ = [
    "BUILD",
    "distinct",
    "metadata",
    "progress_mode",
    "run_build",
    "settings_for",
    "warnings_for_metadata",
    "write_metadata",
]

_NO_OUTPUT = (
    "WARNING: No output specified with {} driver. Build result will only remain in the build cache. "
    "To push result image into registry use --push or to keep it here name it with -t"
)


@frozen
class _Chosen:
    """Who builds."""

    builder: SavedBuilder
    node: BuilderNode


def _run(options: Options, context: Context) -> int:
    return run_build(options, context)


def run_build(options: Options, context: Context, debugger: Debugger | None = None) -> int:
    """Carry out `build`, with a debugger beside it. Raises as building does."""
    context = with_proxy(options, with_network(options, context))
    for warning in ignored_flags(options):
        context.warn(warning)
    flags = read_flags(options, context.environ)
    _remove(options.text("iidfile"))
    builders = SavedBuilders(context.environ)
    chosen = _choose(builders, context)
    builders.touch(chosen.builder.name)
    caption = Caption(builder=chosen.builder.name, driver=chosen.builder.driver)
    display = open_display(
        progress_mode(options, context),
        stream=context.stderr,
        environ=context.environ,
        caption=caption,
        debug=context.debug,
    )
    context = replace(context, environ=with_settings(chosen.node, context.environ))
    with _building():
        asked = _asked_for(options, flags, chosen, context)
        if asked.call is None:
            builders.note_build(asked.request.ref, local_state(asked.request))
            result = _solve(asked, chosen, (context, display), options, debugger)
        else:
            # For those who ask only.
            from polyarch.cli.building.asking import ask, write_answer  # noqa: PLC0415
            from polyarch.cli.building.check import shown_name  # noqa: PLC0415

            shown = shown_name(asked.request), chosen.builder
            answer = ask(asked.request, asked.call, context, display, shown)
    if asked.call is not None:
        return write_answer(answer, asked.call, options, context)
    _write_results(result, options, (context, display))
    return 0


@contextmanager
def _building() -> Iterator[None]:
    """Put what buildx puts before all errors from here on, but for those that have more before them."""
    try:
        yield
    except (Cancelled, CommandFailed):
        raise
    except PolyarchError as error:
        raise CommandFailed(PREFIX, error) from error


def _asked_for(options: Options, flags: BuildFlags, chosen: _Chosen, context: Context) -> Asked:
    if _has_no_output(options, flags) and loads_by_default(chosen.builder, context.environ):
        flags = replace(flags, outputs=(Output(type=OutputType.DOCKER),))
    asked = read_request(options, flags, context)
    settings: dict[str, object] = {"ref": new_ref(chosen.builder.name, chosen.node.name)}
    if not options.given("jobs"):
        settings["jobs"] = jobs_of(chosen.node, context.environ)
    if not asked.request.emulation:
        settings["emulation"] = emulation_of(chosen.node, context.environ)
    asked = replace(asked, request=replace(asked.request, **settings))
    if not asked.request.outputs and asked.call is None:
        context.warn(_NO_OUTPUT.format(chosen.builder.driver))
    return asked


def _has_no_output(options: Options, flags: BuildFlags) -> bool:
    is_given = flags.outputs or options.is_set("push") or options.is_set("load")
    return not is_given and flags.call is None


def _solve(
    asked: Asked,
    chosen: _Chosen,
    shown: tuple[Context, Display],
    options: Options,
    debugger: Debugger | None,
) -> BuildResult:
    context, display = shown
    is_elsewhere = chosen.builder.is_elsewhere
    # What a node on another machine was given is for the daemon there.
    node = BuilderNode(name=chosen.node.name) if is_elsewhere else chosen.node
    collecting = settings_for(node, context)
    if is_elsewhere:
        check_near(options, context)
    verifies = options.is_set("verify-reproducible")
    flags = {
        "--verify-reproducible": verifies,
        "--if-changed": bool(asked.request.if_changed),
    }
    for flag in filter(flags.get, flags if is_elsewhere else ()):
        raise InputError(
            f"{flag} isn't supported yet by builders of other machines",
            hint="build on this machine: --builder default",
        )
    with open_engine(context) as engine:
        engine.background.use(collecting)
        # Most of the program, and what the engine forks goes before it: see `polyarch.engine.opening`.
        from polyarch.cli.building.solving import Wishes, solve  # noqa: PLC0415

        wishes = Wishes(
            explains=options.is_set("explain"),
            verifies=verifies,
            builder=chosen.builder if is_elsewhere else None,
            debugger=debugger,
        )
        return solve(engine, asked.request, context, display, wishes)


def settings_for(node: BuilderNode, context: Context) -> str:
    """Return by which settings the store is collected beside the build. Raises InputError if they can't be read."""
    settings = settings_of(node, context.environ)
    if settings:
        read_settings(settings, context.environ)
    return settings


def progress_mode(options: Options, context: Context) -> str:
    """Return how progress is shown. Raises InputError if that contradicts `--quiet`."""
    mode = options.text("progress")
    if options.is_set("quiet"):
        if mode not in {"auto", "quiet"}:
            raise InputError(f"progress={mode} and quiet cannot be used together")
        return "quiet"
    if not options.given("progress"):
        mode = context.environ.get("BUILDKIT_PROGRESS") or mode
    return mode


def _choose(builders: SavedBuilders, context: Context) -> _Chosen:
    builder = working_builder(context, builders, elsewhere=ELSEWHERE)
    # All local nodes are this machine; the first has the settings.
    return _Chosen(builder=builder, node=builder.nodes[0])


# --- results ---


def _write_results(result: BuildResult, options: Options, shown: tuple[Context, Display]) -> None:
    context, display = shown
    digest = result.image_id or ""
    if path := options.text("iidfile"):
        _write_id(path, digest)
    if options.text("if-changed") or options.text("dotenv-file"):
        from polyarch.cli.building.changed import write_changed  # noqa: PLC0415 rarely asked for

        write_changed(result, options.text("dotenv-file"), context)
    if path := options.text("metadata-file"):
        write_metadata(path, metadata(result), warnings_for_metadata(context, display))
    if progress_mode(options, context) == "quiet":
        context.print(digest)


def write_metadata(
    path: str, found: Mapping[str, object], warnings: Sequence[WarningEvent]
) -> None:
    """Write a metadata file: what was found, and warnings if there are any."""
    if warnings:
        from polyarch.cli.display.rawjson import warning_json  # noqa: PLC0415 rarely asked for

        found = {**found, "buildx.build.warnings": [warning_json(each) for each in warnings]}
    text = indented(dict(sorted(found.items()))).decode()
    write_file(path, text, make_directory=True)


def _write_id(path: str, digest: str) -> None:
    try:
        write_file(path, digest)
    except MachineError as error:
        raise CommandFailed("writing image ID file: ", error) from error


def warnings_for_metadata(context: Context, display: Display) -> Sequence[WarningEvent]:
    """Return the warnings that a metadata file is to hold: those that were shown, if the environment asks for them."""
    is_wanted = find_bool(context.environ.get("BUILDX_METADATA_WARNINGS", ""))
    return display.warnings if is_wanted else ()


def distinct(warnings: Sequence[WarningEvent]) -> Sequence[WarningEvent]:
    """Return warnings without those that others repeat: several targets may have one Dockerfile, each with steps of its own."""
    found: dict[object, WarningEvent] = {}
    for each in warnings:
        place = (each.filename, each.line, each.last_line, each.source)
        found.setdefault((each.short, each.detail, each.url, place), each)
    return list(found.values())


def metadata(result: BuildResult) -> dict[str, object]:
    """Return what the metadata file holds."""
    found: dict[str, object] = {"buildx.build.ref": result.ref}
    if result.config_digest is not None:
        found["containerimage.config.digest"] = result.config_digest
    if result.descriptor is not None:
        found["containerimage.descriptor"] = result.descriptor.to_json()
        found["containerimage.digest"] = result.descriptor.digest
    for platform, provenance in result.provenance.items():
        name = f"buildx.build.provenance/{platform}" if platform else "buildx.build.provenance"
        found[name] = json.loads(provenance)
    if result.names:
        found["image.name"] = ",".join(result.names)
    return {**found, **_own_metadata(result)}


def _own_metadata(result: BuildResult) -> dict[str, object]:
    """Return what the metadata file holds that docker buildx doesn't know."""
    found: dict[str, object] = {}
    if result.changed is not None:
        found["polyarch.changed"] = result.changed
    if result.emulated:
        found["polyarch.emulated"] = [_emulated(step) for step in result.emulated]
    if result.caches:
        found["polyarch.caches"] = [asdict(each) for each in result.caches]
    if result.emulators:
        found["polyarch.emulators"] = dict(sorted(result.emulators.items()))
    return found


def _emulated(step: EmulatedStep) -> dict[str, object]:
    """Return what the metadata file says of an emulated step; what isn't known is left out."""
    fields = {**asdict(step), "saved_seconds": step.saved_seconds}
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def _remove(path: str) -> None:
    """Remove the file of an earlier build, lest it be taken for this one's."""
    if not path or is_device(Path(path)):
        return
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise MachineError(f"removing image ID file {path}: {error.strerror}") from error


BUILD = Command(
    usage="[OPTIONS] PATH | URL | -",
    run=_run,
    least=1,
    most=1,
    needs_engine=True,
    completes="directories",
    flags=BUILD_FLAGS,
    example=(
        "$ polyarch build -t registry.example/you/app --platform linux/amd64,linux/arm64 --push .\n"
        "$ polyarch build -o type=local,dest=out ."
    ),
)
