"""`debug build`: a build that opens a monitor where a step has failed, or where it is done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from polyarch.cli.building.build import BUILD, run_build
from polyarch.cli.building.table import BUILD_FLAGS
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Options, parse_flags
from polyarch.cli.frame.report import report
from polyarch.errors import Cancelled, InputError, PolyarchError
from polyarch.golang.csv import csv_fields
from polyarch.golang.strconv import find_bool, parse_bool
from polyarch.record import replace

if TYPE_CHECKING:
    from polyarch.debugger.boxes import Invoke

__all__ = ["DEBUG"]

_BUILDER = Flag(name="builder", help="Override the configured builder instance")
_FLAGS = (
    Flag(name="invoke", help="Launch a monitor with executing specified command"),
    Flag(
        name="on",
        default="error",
        help="When to launch the monitor ([always, error])",
        choices=("always", "error"),
    ),
)


def _debug(options: Options, context: Context) -> int:
    if not find_bool(context.environ.get("BUILDX_EXPERIMENTAL", "")):
        raise InputError(
            'unknown command: "debug"',
            hint="it is experimental, as in docker buildx: BUILDX_EXPERIMENTAL=1 turns it on",
        )
    command, *words = options.arguments
    if command != "build":
        raise InputError(f'unknown command: "debug {command}"', hint="debug build is there")
    build = parse_flags((*BUILD_FLAGS, *_FLAGS, _BUILDER), words)
    BUILD.check_count(f"{context.program} debug build", len(build.arguments))
    invoke = _invoke(
        build.text("invoke") or options.text("invoke"),
        build.text("on") if build.given("on") else options.text("on"),
    )
    context = replace(context, builder=build.text("builder") or context.builder)
    return _built(_plain(build), context, invoke)


def _plain(build: Options) -> Options:
    """Have progress shown by lines: what draws pictures would draw over programs."""
    if build.given("progress"):
        if build.text("progress") == "tty":
            raise InputError("--progress=tty can't be used together with debug")
        return build
    return build.with_others(build, {"progress": "plain"})


def _built(build: Options, context: Context, invoke: Invoke) -> int:
    # What talks with the user, after all was understood.
    from polyarch.debugger.monitor import Monitor  # noqa: PLC0415

    def show(error: PolyarchError) -> None:
        report(error, context.stderr, context.environ, debug=False)
        context.stderr.flush()

    monitor = Monitor(invoke, context.stdin.fileno(), context.stdout.fileno(), show)
    with monitor.ready():
        while True:
            try:
                return run_build(build, context, monitor)
            except Cancelled:
                if not monitor.take_reload():
                    raise
                context.warn("")


def _invoke(text: str, on: str) -> Invoke:
    """Read `--invoke` and `--on`. Raises InputError."""
    from polyarch.debugger.boxes import Invoke  # noqa: PLC0415 see above

    if on not in {"always", "error"}:
        raise InputError(f"invalid value {on} for --on: it is always or error")
    invoke = Invoke(always=on == "always")
    if text in {"", "default"}:
        return invoke
    if text == "on-error":
        return replace(invoke, argv=("/bin/sh",))
    fields = csv_fields(text)
    if len(fields) == 1 and "=" not in fields[0]:
        return replace(invoke, argv=(fields[0],))
    return _with_fields(invoke, fields)


def _with_fields(invoke: Invoke, fields: list[str]) -> Invoke:
    entrypoint: list[str] = []
    arguments: list[str] = []
    env: list[str] = []
    for each in fields:
        name, equals, value = each.partition("=")
        if not equals:
            raise InputError(f"invalid value {each}")
        match name.lower():
            case "args":
                arguments += _words(value)
            case "entrypoint":
                entrypoint += _words(value)
            case "env":
                env += _words(value)
            case "user":
                invoke = replace(invoke, user=value)
            case "cwd":
                invoke = replace(invoke, cwd=value)
            case "tty":
                invoke = replace(invoke, tty=_bool(value))
            case _:
                raise InputError(f'unknown key "{name}"')
    argv = (*entrypoint, *arguments) or invoke.argv
    return replace(invoke, argv=argv, env=tuple(env))


def _bool(value: str) -> bool:
    try:
        return parse_bool(value)
    except InputError as error:
        raise InputError(f"failed to parse tty: {error}") from error


def _words(value: str) -> list[str]:
    """Return the texts of a JSON array, or the value itself."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return [value]
    is_list = isinstance(found, list) and all(isinstance(each, str) for each in found)
    return found if is_list else [value]


DEBUG = Command(
    usage="[OPTIONS] build [BUILD OPTIONS] PATH | URL | -",
    run=_debug,
    least=1,
    most=None,
    mixed=False,
    needs_engine=True,
    completes="directories",
    flags=_FLAGS,
    example=(
        "$ BUILDX_EXPERIMENTAL=1 polyarch debug build .\n"
        "$ BUILDX_EXPERIMENTAL=1 polyarch debug --on=always --invoke /bin/bash build ."
    ),
    description=(
        "Opens a program in the container of a step that has failed, with its files as it has left them; with --on=always\n"
        "in the result, too. Ctrl-a c goes to the monitor's prompt, which knows help. Experimental, as in docker buildx."
    ),
)
