"""What `build --check` prints: the findings as text, or as JSON for programs."""

from __future__ import annotations

from polyarch.cli.calls import Answer, encoded, location_json
from polyarch.dockerfile.lint import Finding
from polyarch.errors import InputError
from polyarch.graph.location import Location
from polyarch.pipeline import CheckResult

__all__ = ["check_answer"]


def check_answer(result: CheckResult) -> Answer:
    """Tell what a check found; it fails if that is anything, or if the Dockerfile can't be built."""
    failure = result.error
    error = None
    if failure is not None:
        # Not as other errors are shown, but as findings are: the place comes last.
        excerpt = failure.place.excerpt() if failure.place is not None else ""
        error = InputError(f"{failure}\n{excerpt}".rstrip("\n"), hint=failure.hint)
    return Answer(
        document=_document(result),
        text=_text(result),
        status=int(bool(result.findings or error)),
        error=error,
        counted=True,
    )


def _text(result: CheckResult) -> str:
    """Write the findings in the order of their places, each with its lines."""
    count = len(result.findings)
    if not count:
        return "" if result.error is not None else "Check complete, no warnings found.\n"
    counted = "1 warning has" if count == 1 else f"{count} warnings have"
    parts = [f"Check complete, {counted} been found!\n"]
    for finding in sorted(result.findings, key=lambda each: each.location.start):
        rule = finding.rule
        title = f"WARNING: {rule.name}" + (f" - {rule.url}" if rule.url else "")
        parts.append(f"\n{title}\n{finding.detail}\n{finding.location.excerpt()}")
    return "".join(parts) + ("\n" if result.error is not None else "")


def _document(result: CheckResult) -> dict[str, object]:
    """Write the findings in the order in which they were made, with the source and its error."""
    source = {
        "filename": result.source.name,
        "data": encoded(result.source.text),
        "language": "Dockerfile",
    }
    document: dict[str, object] = {
        "warnings": [_warning(finding) for finding in result.findings],
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
