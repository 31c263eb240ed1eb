"""`bake --check` and `--call`: the questions of a plan, and all answers together, as text, JSON and metadata.

Source: behaviour of buildx's `commands/bake.go`.
"""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.bakefile.config import Plan
from polyarch.builders.values import SavedBuilder
from polyarch.cli.building.asking import ask
from polyarch.cli.building.calls import Answer, as_json, metadata_of
from polyarch.cli.building.check import shown_name
from polyarch.cli.building.values import Call, call_flag
from polyarch.cli.display.display import open_display
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.files import write_file
from polyarch.cli.frame.flags import Options
from polyarch.errors import PolyarchError
from polyarch.record import replace
from polyarch.request.values import BuildRequest

__all__ = ["answer_all"]


def answer_all(
    plan: Plan,
    requests: Mapping[str, BuildRequest],
    options: Options,
    context: Context,
    builder: SavedBuilder,
) -> int:
    """Answer what the targets are asked, in the order of their names; return the exit status."""
    asked = call_flag("check" if options.is_set("check") else options.text("call"))
    answers: dict[str, tuple[Call, Answer]] = {}
    for name in sorted(plan.targets):
        call = call_flag(plan.targets[name].call or "build")
        if call is not None:
            whole = replace(asked, name=call.name) if asked is not None else call
            request = requests[name]
            is_inline = plan.targets[name].dockerfile_inline is not None
            shown = "inline" if is_inline else shown_name(request)
            display = open_display("quiet", stream=context.stderr, environ=context.environ)
            answers[name] = (whole, ask(request, whole, context, display, (shown, builder)))
    if path := options.text("metadata-file"):
        told = {name: metadata_of(answer) for name, (_call, answer) in answers.items()}
        write_file(path, as_json(told), make_directory=True)
    if asked is not None and asked.format == "json":
        context.print(as_json(_document(plan, answers)))
    else:
        _print(plan, answers, context)
    return max((_status(call, answer) for call, answer in answers.values()), default=0)


def _status(call: Call, answer: Answer) -> int:
    if answer.error is not None:
        return 1
    return 0 if call.ignore_status else answer.status


def _print(plan: Plan, answers: Mapping[str, tuple[Call, Answer]], context: Context) -> None:
    for number, (name, (_call, answer)) in enumerate(answers.items()):
        context.print(name)
        if description := plan.targets[name].description:
            context.print(description)
        context.print()
        context.stdout.write(answer.text)
        if answer.error is not None:
            context.print(f"error: {_told(answer.error)}")
        if number + 1 < len(answers):
            context.print()


def _told(error: PolyarchError) -> str:
    """Return what is wrong, with the lines around it."""
    return f"{error}\n{error.place.excerpt()}" if error.place is not None else str(error)


def _document(plan: Plan, answers: Mapping[str, tuple[Call, Answer]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, target in sorted(plan.targets.items()):
        whole: dict[str, object] = {"build": target.plain()}
        if name in answers:
            call, answer = answers[name]
            whole["check" if call.name == "lint" else call.name] = _plain(call, answer)
        found[name] = whole
    groups = {name: plan.groups[name].plain() for name in sorted(plan.groups)}
    return {**({"group": groups} if groups else {}), "target": found}


def _plain(call: Call, answer: Answer) -> dict[str, object]:
    document = answer.document
    fields = dict(document) if isinstance(document, dict) else {call.name: document}
    if answer.error is not None:
        fields["error"] = _told(answer.error)
    return dict(sorted(fields.items()))
