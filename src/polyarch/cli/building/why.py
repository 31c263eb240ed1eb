"""`why`: why the steps of the last build ran, rather than being cached."""

from __future__ import annotations

import time
from collections.abc import Sequence

from polyarch.cli.building.explained import as_json, chosen, explained_lines
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Options
from polyarch.cli.frame.store import open_store
from polyarch.errors import InputError, NotFound
from polyarch.why.history import Explained, History, Project, place_of

__all__ = ["WHY"]

_FORMATS = ("text", "json")
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))


def _run(options: Options, context: Context) -> int:
    form = options.text("format")
    if form not in _FORMATS:
        raise InputError(f"invalid format {form!r}", hint=f"use one of {', '.join(_FORMATS)}")
    wanted = options.arguments[0] if options.arguments else ""
    with open_store(context, works=False) as store:
        build = _find(History(store.database).builds(), options)
    steps = chosen(build.steps, wanted)
    if form == "json":
        context.print(as_json(build, steps))
        return 0
    context.print(_title(build))
    for line in explained_lines(steps):
        context.print(line)
    return 0


def _find(builds: Sequence[Explained], options: Options) -> Explained:
    """Return the newest build of the context and the Dockerfile that were asked for, if any was."""
    directory, dockerfile = options.text("context"), options.text("file")
    for build in builds:
        project = build.project
        is_context = not directory or project.context == place_of(directory)
        if is_context and (not dockerfile or project.dockerfile == place_of(dockerfile)):
            return build
    raise NotFound(
        "no build is known in which a step ran" + (" there" if directory or dockerfile else ""),
        hint="builds that found everything in the cache leave no trace; pruning removes them, too",
    )


def _title(build: Explained) -> str:
    # A path needn't be text.
    name = _named(build.project).encode(errors="replace").decode()
    return f"Last build of {name} in which a step ran, {_ago(build.ended)}:"


def _named(project: Project) -> str:
    name = "standard input" if project.context == "-" else project.context
    dockerfile = "standard input" if project.dockerfile == "-" else project.dockerfile
    return f"{name} with {dockerfile}" if dockerfile and dockerfile != name else name


def _ago(ended: float) -> str:
    seconds = max(0, int(time.time() - ended))
    for unit, length in _UNITS:
        if seconds >= length:
            count = seconds // length
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return f"{seconds} seconds ago"


WHY = Command(
    usage="[OPTIONS] [STEP]",
    run=_run,
    most=1,
    completes="steps",
    description=(
        "STEP is a number as in the plain display (#7), a line of the Dockerfile (12 or Dockerfile:12), or a\n"
        "step's name or a part of it. Without it, all steps that ran are explained. The last build is the\n"
        "last one in which a step ran: one that finds everything in the cache changes nothing."
    ),
    example=(
        "$ polyarch why\n"
        "$ polyarch why '#7'\n"
        "$ polyarch why Dockerfile:12\n"
        "$ polyarch why 'RUN make' --format json"
    ),
    flags=(
        Flag(name="context", help="The build of that context", completes="directories"),
        Flag(name="file", short="f", help="The build of that Dockerfile", completes="files"),
        Flag(name="format", default="text", help="Format the output", choices=_FORMATS),
    ),
)
