"""`doctor`: what this machine can do, whether the store is sound, and how to fix the rest."""

from __future__ import annotations

from polyarch.cli.doctor.report import as_json, as_text
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.doctor.examine import examine
from polyarch.errors import InputError

__all__ = ["DOCTOR"]

_FORMATS = ("text", "json")


def _run(options: Options, context: Context) -> int:
    form = options.text("format")
    if form not in _FORMATS:
        raise InputError(f"unknown format {form!r}", hint=f"use {' or '.join(_FORMATS)}")
    report = examine(context.environ, deep=options.is_set("deep"), repairs=options.is_set("repair"))
    context.stdout.write(as_json(report) if form == "json" else as_text(report))
    return 0 if report.is_healthy else 1


DOCTOR = Command(
    usage="[OPTIONS]",
    run=_run,
    example=(
        "$ polyarch doctor\n$ polyarch doctor --deep --format json\n$ polyarch doctor --repair"
    ),
    description=(
        "Behind -> stands the command that makes it good. The status is 1 if nothing can be built, or\n"
        "if the store is not sound; warnings are none of that."
    ),
    flags=(
        Flag(
            name="deep",
            kind=Kind.SWITCH,
            help="Read every blob of the store, hash it, and compare unpacked layers with it",
        ),
        Flag(name="format", default="text", help="Format the output", choices=_FORMATS),
        Flag(
            name="repair",
            kind=Kind.SWITCH,
            help="Read every blob, remove what is damaged or astray in the store; builds make it anew",
        ),
    ),
)
