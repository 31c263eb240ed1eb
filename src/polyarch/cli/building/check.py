"""What `build --check` prints: the findings as text, or as JSON for programs."""

from __future__ import annotations

import os

from polyarch.cli.building.calls import Answer, encoded, location_json
from polyarch.dockerfile.lint.linter import Finding
from polyarch.errors import InputError, Place
from polyarch.graph.location import Location
from polyarch.pipeline.questions import CheckResult
from polyarch.record import replace
from polyarch.request.values import BuildRequest, is_address

__all__ = ["check_answer", "shown_name"]


def check_answer(result: CheckResult, name: str = "") -> Answer:
    """Tell what a check found; it fails if that is anything, or if the Dockerfile can't be built.

    People are shown the Dockerfile's `name`, if that isn't "", programs what the frontend calls it.
    """
    failure = result.error
    error = None
    if failure is not None:
        error = InputError(str(failure), hint=failure.hint, place=_named(failure.place, name))
    return Answer(
        document=_document(result),
        text=_text(result, name),
        status=int(bool(result.findings or error)),
        error=error,
        counted=True,
    )


def shown_name(request: BuildRequest) -> str:
    """Return what buildx calls the Dockerfile of a request: the path that leads to it, if there is one."""
    if request.dockerfile == "-":
        return "stdin"
    if request.dockerfile or request.context == "-" or is_address(request.context):
        return request.dockerfile
    return os.path.normpath(os.path.join(request.context, "Dockerfile"))


def _excerpt(finding: Finding, name: str) -> str:
    place = _named(finding.location, name)
    return place.excerpt() if place is not None else ""


def _named(place: Place | None, name: str) -> Place | None:
    """Return the place in the Dockerfile as it is called, if that is known."""
    if name and isinstance(place, Location):
        return replace(place, source=replace(place.source, name=name))
    return place


def _text(result: CheckResult, name: str) -> str:
    """Write the findings in the order of their places, each with its lines."""
    count = len(result.findings)
    if not count:
        return "" if result.error is not None else "Check complete, no warnings found.\n"
    counted = "1 warning has" if count == 1 else f"{count} warnings have"
    parts = [f"Check complete, {counted} been found!\n"]
    for finding in sorted(result.findings, key=lambda each: each.location.start):
        rule = finding.rule
        title = f"WARNING: {rule.name}" + (f" - {rule.url}" if rule.url else "")
        parts.append(f"\n{title}\n{finding.detail}\n{_excerpt(finding, name)}")
    return "".join(parts) + ("\n" if result.error is not None else "")


def _document(result: CheckResult) -> dict[str, object]:
    """Write the findings in the order in which they were made, with the source and its error."""
    source = {
        "filename": result.source.name,
        "data": encoded(result.source.text),
        "language": "Dockerfile",
    }
    document: dict[str, object] = {
        # Go's encoding of a list that nothing was put into, which callers may compare with.
        "warnings": [_warning(finding) for finding in result.findings] or None,
        "sources": [source],
    }
    if result.error is not None:
        place = result.error.place
        document["buildError"] = {
            "message": str(result.error),
            "location": location_json(place) if isinstance(place, Location) else {},
        }
    return document


def _warning(finding: Finding) -> dict[str, object]:
    shown: dict[str, object] = {
        "ruleName": finding.rule.name,
        "description": finding.rule.description,
        "url": finding.rule.url,
        "detail": finding.detail,
        "location": location_json(finding.location),
    }
    return {key: value for key, value in shown.items() if value}
