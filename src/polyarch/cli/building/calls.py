"""`build --call`: questions about a Dockerfile, and how their answers are printed.

    check (lint)            what its checks find
    outline                 what the target takes from outside
    targets                 which targets there are
    subrequests.describe    which of these questions there are

Texts and JSON are those of BuildKit's `frontend/subrequests`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

from polyarch.cli.frame.table import align
from polyarch.errors import InputError, PolyarchError
from polyarch.golang.json import indented
from polyarch.graph.location import Location
from polyarch.record import frozen
from polyarch.text.nearest import suggestion

if TYPE_CHECKING:
    from polyarch.dockerfile.lowering.outline import Outline, OutlineArg, OutlineMount
    from polyarch.dockerfile.parser import Dockerfile
    from polyarch.dockerfile.syntax.instruction import Stage

__all__ = [
    "Answer",
    "as_json",
    "describe",
    "encoded",
    "known_call",
    "location_json",
    "metadata_of",
    "outline_answer",
    "targets_answer",
]

_VERSION = "1.0.0"
_CALLS = ("lint", "outline", "targets", "subrequests.describe")


@frozen
class Answer:
    """What came of a question: `document` for programs, `text` for people, and the exit status.

    `error` ends the command once one of them is printed. `counted` tells that the status is part of
    what a metadata file says.
    """

    document: object
    text: str
    status: int = 0
    error: PolyarchError | None = None
    counted: bool = False


def known_call(name: str) -> str:
    """Return the name. Raises InputError if nobody has an answer to it."""
    if name not in _CALLS:
        raise InputError(
            f"failed to solve: unsupported request frontend.{name}{suggestion(name, _CALLS)}",
            hint="ask for check, outline, targets or subrequests.describe",
        )
    return name


def as_json(document: object) -> str:
    """Write JSON as Go does."""
    return indented(document).decode()


def metadata_of(answer: Answer) -> dict[str, object]:
    """Return what the metadata file says of an answer."""
    status = {"result.statuscode": str(answer.status)} if answer.counted else {}
    return {
        "result.json": answer.document,
        **status,
        "result.txt": answer.text,
        "version": _VERSION,
    }


def location_json(location: Location) -> dict[str, object]:
    """Write a place as BuildKit does: a range for each line."""
    lines = range(location.start, max(location.start, location.end) + 1)
    return {"ranges": [{"start": {"line": line}, "end": {"line": line}} for line in lines]}


def encoded(text: str) -> str:
    """Write a source text as JSON holds it."""
    return base64.b64encode(text.encode(errors="surrogateescape")).decode()


def _filled(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value}


# --- outline ---


def outline_answer(outline: Outline) -> Answer:
    """Tell what a target takes."""
    target = outline.target
    document = _filled(
        name=target.name,
        description=target.comment,
        args=[_arg(each) for each in outline.args],
        secrets=[_mount(each) for each in outline.secrets],
        ssh=[_mount(each) for each in outline.agents],
        cache=[
            {"ID": each.id, "location": location_json(each.location)} for each in outline.caches
        ],
        sources=[encoded(target.location.source.text)],
    )
    return Answer(document=document, text=_outline_text(outline))


def _arg(arg: OutlineArg) -> dict[str, object]:
    place = location_json(arg.location)
    return {
        "name": arg.name,
        **_filled(description=arg.description, value=arg.value, location=place),
    }


def _mount(mount: OutlineMount) -> dict[str, object]:
    place = location_json(mount.location)
    return {"name": mount.id, **_filled(required=mount.required, location=place)}


def _outline_text(outline: Outline) -> str:
    parts = []
    if head := _target_rows(outline.target):
        parts.append(_table(head, padding=1))
    if outline.args:
        rows = [(each.name, each.value, each.description) for each in outline.args]
        parts.append(_table([("BUILD ARG", "VALUE", "DESCRIPTION"), *rows], padding=3))
    for title, mounts in (("SECRET", outline.secrets), ("SSH", outline.agents)):
        if mounts:
            marks = [(each.id, "true" if each.required else "") for each in mounts]
            parts.append(_table([(title, "REQUIRED"), *marks], padding=3))
    return "".join(f"{part}\n" for part in parts)


def _target_rows(target: Stage) -> list[tuple[str, str]]:
    if not target.name and not target.comment:
        return []
    name = ("TARGET:", target.name or "(default)")
    return [name, ("DESCRIPTION:", target.comment)] if target.comment else [name]


def _table(rows: Sequence[Sequence[str]], *, padding: int) -> str:
    lines = "".join("\t".join(row) + "\n" for row in rows)
    return align(lines, min_width=0, padding=padding)


# --- targets ---


def targets_answer(dockerfile: Dockerfile) -> Answer:
    """Tell which targets there are; the last one is taken if none is named."""
    last = len(dockerfile.stages) - 1
    rows = [("TARGET", "DESCRIPTION")]
    targets = []
    for index, stage in enumerate(dockerfile.stages):
        name = stage.name
        if index == last:
            name = f"{name} (default)" if name else "(default)"
        rows.append((name, stage.comment))
        targets.append(
            _filled(
                name=stage.name,
                default=index == last,
                description=stage.comment,
                base=stage.base,
                platform=stage.platform,
                location=location_json(stage.location),
            )
        )
    document = {"targets": targets, "sources": [encoded(dockerfile.source.text)]}
    return Answer(document=document, text=_table(rows, padding=1))


# --- questions ---


def describe() -> Answer:
    """Tell which questions there are, with the words of BuildKit."""
    target = {"name": "target", "description": "Target build stage"}
    requests = [
        _request("outline", "List all parameters current build target supports", [target]),
        _request("targets", "List all targets current build supports", []),
        _request("subrequests.describe", "List available subrequest types", None),
    ]
    rows = [("NAME", "VERSION", "DESCRIPTION")]
    for request in requests:
        name = str(request["name"]).removeprefix("frontend.")
        rows.append((name, _VERSION, str(request["description"])))
    return Answer(document=requests, text=_table(rows, padding=1))


def _request(name: str, description: str, options: object) -> dict[str, object]:
    return {
        "name": f"frontend.{name}",
        "version": _VERSION,
        "type": "rpc",
        "description": description,
        "opts": options,
        "inputs": None,
        "metadata": [{"name": each, "description": ""} for each in ("result.json", "result.txt")],
        "refs": None,
    }
