"""`history logs`, `rm`, `export` and `import`: records printed again, removed, and taken to other machines."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from polyarch.cli.display.display import open_display
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.store import open_store
from polyarch.cli.history.shared import open_history
from polyarch.errors import InputError
from polyarch.exporter.outfile import write_output
from polyarch.history.record import BuildRecord
from polyarch.history.records import History
from polyarch.layer.tar import Sink
from polyarch.paths import state_directory

__all__ = ["EXPORT", "IMPORT", "LOGS", "RM"]

_POLL_SECONDS = 0.2


def _logs(options: Options, context: Context) -> int:
    name = options.arguments[0] if options.arguments else ""
    history = open_history(context)
    record = history.get(name)
    mode = options.text("progress")
    came = [record.created]
    display = open_display(
        "plain" if mode == "auto" else mode,
        stream=context.stderr,
        environ=context.environ,
        clock=lambda: came[-1],
    )
    with display:
        shown = 0
        while True:
            # What comes between the two is shown in the next round.
            goes_on = history.get(record.ref).completed is None
            events = list(history.events(record))
            for moment, event in events[shown:]:
                came.append(max(moment, came[-1]))
                display(event)
            shown = len(events)
            if not goes_on:
                return 0
            time.sleep(_POLL_SECONDS)


def _rm(options: Options, context: Context) -> int:
    if not options.arguments and not options.is_set("all"):
        raise InputError("rm requires at least one argument", hint="or --all")
    if options.arguments and options.is_set("all"):
        raise InputError("rm requires either --all or at least one argument")
    history = open_history(context)
    if options.is_set("all"):
        records = [each for each in history.all() if each.completed is not None]
    else:
        # All are looked up before the first is gone.
        records = [history.get(name) for name in options.arguments]
    for record in records:
        history.remove(record)
    return 0


def _chosen(options: Options, history: History) -> tuple[BuildRecord, ...]:
    """Return the builds to export, each once. Raises InputError, and NotFound if there are none."""
    names = options.arguments
    if options.is_set("all"):
        if names:
            raise InputError("cannot specify refs when using --all")
        records: Iterable[BuildRecord] = filter(_is_complete, history.all())
    else:
        records = [history.get(name, matches=_is_complete) for name in names or ("",)]
    chosen = tuple({record.ref: record for record in records}.values())
    return chosen or (history.get(matches=_is_complete),)


def _export(options: Options, context: Context) -> int:
    history = open_history(context)
    chosen = _chosen(options, history)
    output = options.text("output")
    if not output and context.stdout.isatty():
        raise InputError(
            "refusing to write to console, use --output to specify a file",
            hint="polyarch history export -o build.dockerbuild",
        )
    if not output:
        _write(chosen, history, context, context.stdout.buffer)
        return 0
    write_output(output, partial(_write, chosen, history, context))
    return 0


def _is_complete(record: BuildRecord) -> bool:
    return record.completed is not None


def _write(records: Iterable[BuildRecord], history: History, context: Context, file: Sink) -> None:
    from polyarch.history.bundle import write_bundle  # noqa: PLC0415 archives, for this only

    with open_store(context, works=False) as store:
        write_bundle(records, history, store.blobs, file)


def _import(options: Options, context: Context) -> int:
    from polyarch.history.bundle import read_bundle  # noqa: PLC0415 archives, for this only

    directory = state_directory(context.environ) / "history"
    with open_store(context, works=False):
        for name in options.values("file") or ("-",):
            if name == "-":
                records = read_bundle(context.stdin.buffer, directory)
            else:
                try:
                    with Path(name).open("rb") as file:
                        records = read_bundle(file, directory)
                except OSError as error:
                    raise InputError(f"failed to open file {name}: {error.strerror}") from error
            if not records:
                raise InputError("no build records found in the bundle")
            for record in records:
                context.print(record.full_ref)
    return 0


LOGS = Command(
    usage="[OPTIONS] [REF]",
    run=_logs,
    most=1,
    example="$ polyarch history logs\n$ polyarch history logs --progress rawjson ^1",
    flags=(
        Flag(
            name="progress",
            default="plain",
            help="Set type of progress output (plain, rawjson, tty)",
            choices=("plain", "rawjson", "tty"),
        ),
    ),
)
RM = Command(
    usage="[OPTIONS] [REF...]",
    run=_rm,
    most=None,
    example="$ polyarch history rm ^1\n$ polyarch history rm --all",
    flags=(Flag(name="all", kind=Kind.SWITCH, help="Remove all build records"),),
)
EXPORT = Command(
    usage="[OPTIONS] [REF...]",
    run=_export,
    most=None,
    example="$ polyarch history export -o build.dockerbuild\n$ polyarch history export --all > all.dockerbuild",
    flags=(
        Flag(name="all", kind=Kind.SWITCH, help="Export all build records for the builder"),
        Flag(
            name="finalize",
            kind=Kind.SWITCH,
            help="Ensure build records are finalized before exporting (they always are)",
        ),
        Flag(name="output", short="o", help="Output file path", completes="files"),
    ),
)
IMPORT = Command(
    usage="[OPTIONS] -",
    run=_import,
    most=1,
    example="$ polyarch history import < build.dockerbuild\n$ polyarch history import -f build.dockerbuild",
    flags=(
        Flag(
            name="file",
            short="f",
            kind=Kind.LIST,
            help="Import from a file path",
            completes="files",
        ),
    ),
)
