"""What a daemon's frontend answers to a question about a Dockerfile -> an answer as our own are.

Source: BuildKit's `frontend/subrequests`; how buildx prints it, in `commands/build.go`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence

from polyarch.cli.building.calls import Answer
from polyarch.cli.building.check import check_answer
from polyarch.dockerfile.lint.linter import Finding
from polyarch.dockerfile.lint.rules import Rule
from polyarch.errors import InputError, IntegrityError, PolyarchError
from polyarch.golang.json import read_json
from polyarch.graph.location import Location, SourceText
from polyarch.oci.fields import Fields
from polyarch.pipeline.questions import CheckResult
from polyarch.record import replace

__all__ = ["told_answer"]


def told_answer(question: str, told: Mapping[str, bytes], shown: str) -> Answer:
    """Understand an answer; people know the Dockerfile as `shown`. Raises IntegrityError for what is none."""
    data = told.get("result.json", b"")
    try:
        document = read_json(data) if data else None
    except ValueError as error:
        raise IntegrityError(f"the builder's answer is no JSON: {error}") from error
    if question == "lint" and isinstance(document, dict):
        answer = check_answer(_checked(Fields(document, "result.json")), shown)
        return replace(answer, document=document)
    status = told.get("result.statuscode", b"").decode(errors="replace")
    return Answer(
        document=document,
        text=told.get("result.txt", b"").decode(errors="replace"),
        status=int(status) if status.isdecimal() else 0,
    )


def _checked(told: Fields) -> CheckResult:
    sources = [_source(each) for each in told.objects("sources")] or [SourceText(name="", text="")]
    findings = tuple(_finding(each, sources) for each in told.objects("warnings"))
    error: PolyarchError | None = None
    if "buildError" in told:
        failed = told.object("buildError")
        place = _location(failed, sources)
        error = InputError(failed.text("message"), place=place)
    return CheckResult(source=sources[0], findings=findings, error=error)


def _source(told: Fields) -> SourceText:
    try:
        text = base64.b64decode(told.text("data"), validate=True).decode("utf-8", "surrogateescape")
    except binascii.Error as error:
        raise IntegrityError(
            f"the builder's answer has a source that can't be read: {error}"
        ) from error
    return SourceText(name=told.text("filename"), text=text)


def _finding(told: Fields, sources: Sequence[SourceText]) -> Finding:
    rule = Rule(
        name=told.text("ruleName"),
        description=told.text("description"),
        has_page=bool(told.text("url")),
    )
    place = _location(told, sources) or Location(source=sources[0], start=0, end=0)
    return Finding(rule=rule, detail=told.text("detail"), location=place)


def _location(told: Fields, sources: Sequence[SourceText]) -> Location | None:
    if "location" not in told:
        return None
    told = told.object("location")
    lines = [
        each.object(end).integer("line")
        for each in told.objects("ranges")
        for end in ("start", "end")
        if end in each
    ]
    index = told.integer("sourceIndex")
    if not lines or not 0 <= index < len(sources):
        return None
    return Location(source=sources[index], start=min(lines), end=max(lines))
