"""Questions about a Dockerfile (`--check`, `--call`): to the engine, and the answer to where it is wanted."""

from __future__ import annotations

import json

from polyarch.cli.building.calls import (
    Answer,
    as_json,
    describe,
    metadata_of,
    outline_answer,
    targets_answer,
)
from polyarch.cli.building.check import check_answer
from polyarch.cli.building.prefixes import solving
from polyarch.cli.building.values import Call
from polyarch.cli.display.base import Display
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.engine import open_engine
from polyarch.cli.frame.files import write_file
from polyarch.cli.frame.flags import Options
from polyarch.cli.frame.interrupt import cancel_on_signals
from polyarch.cli.frame.report import CommandFailed
from polyarch.pipeline.questions import check_on, outline_on, targets_on
from polyarch.request.values import BuildRequest

__all__ = ["ask", "write_answer"]


def ask(
    request: BuildRequest, call: Call, context: Context, display: Display, shown: str
) -> Answer:
    """Answer a question about the Dockerfile, which people know as `shown`. Raises what keeps it from being read."""
    if call.name == "subrequests.describe":
        return describe()
    with open_engine(context) as engine, cancel_on_signals() as cancel, display, solving():
        if call.name == "outline":
            return outline_answer(outline_on(engine, request, sink=display, cancel=cancel))
        if call.name == "targets":
            return targets_answer(targets_on(engine, request, sink=display, cancel=cancel))
        found = check_on(engine, request, sink=display, cancel=cancel)
        return check_answer(found, shown)


def write_answer(answer: Answer, call: Call, options: Options, context: Context) -> int:
    """Write an answer to standard output and the metadata file; return the exit status."""
    if path := options.text("metadata-file"):
        write_file(path, json.dumps(metadata_of(answer), indent=2), make_directory=True)
    if call.format == "json":
        context.print(as_json(answer.document))
    else:
        context.stdout.write(answer.text)
    if answer.error is not None:
        context.stdout.flush()
        raise CommandFailed("", answer.error)
    return 0 if call.ignore_status else answer.status
