"""Questions about a Dockerfile (`--check`, `--call`): to the engine, and the answer to where it is wanted."""

from __future__ import annotations

import json

from polyarch.builders.values import SavedBuilder
from polyarch.buildkit.needs import require_grpc
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
from polyarch.cli.building.told import told_answer
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
    request: BuildRequest,
    call: Call,
    context: Context,
    display: Display,
    shown: tuple[str, SavedBuilder],
) -> Answer:
    """Answer a question about the Dockerfile, or have a daemon of the builder answer it.

    `shown` is what people know the Dockerfile as, and the builder. Raises what keeps it from being read.
    """
    name, builder = shown
    if call.name == "subrequests.describe" and not builder.is_remote:
        return describe()
    with open_engine(context) as engine, cancel_on_signals() as cancel, display, solving():
        if builder.is_remote:
            # gRPC, and what it is made of.
            require_grpc()
            from polyarch.pipeline.nodes import ask_on_nodes  # noqa: PLC0415

            told = ask_on_nodes(engine, builder, request, call.name, sink=display, cancel=cancel)
            if told is not None:
                return told_answer(call.name, told, name)
        if call.name == "subrequests.describe":
            return describe()
        if call.name == "outline":
            return outline_answer(outline_on(engine, request, sink=display, cancel=cancel))
        if call.name == "targets":
            return targets_answer(targets_on(engine, request, sink=display, cancel=cancel))
        found = check_on(engine, request, sink=display, cancel=cancel)
        return check_answer(found, name)


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
