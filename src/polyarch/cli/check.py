"""What `build --check` prints: the findings as text, or as JSON for programs."""

from __future__ import annotations

import base64
import json

from polyarch.dockerfile.lint import Finding
from polyarch.graph.location import Location
from polyarch.pipeline import CheckResult

__all__ = ["as_json", "as_text"]

_COUNTED = {
    0: "Check complete, no warnings found.",
    1: "Check complete, 1 warning has been found!",
}


def as_text(result: CheckResult) -> str:
    """Write the findings in the order of their places, each with its lines."""
    count = len(result.findings)
    parts = [_COUNTED.get(count, f"Check complete, {count} warnings have been found!")]
    for finding in sorted(result.findings, key=lambda each: each.location.start):
        rule = finding.rule
        title = f"WARNING: {rule.name}" + (f" - {rule.url}" if rule.url else "")
        parts.append(f"{title}\n{finding.detail}\n{finding.location.excerpt()}".rstrip("\n"))
    return "\n\n".join(parts)


def as_json(result: CheckResult) -> str:
    """Write the findings in the order in which they were made, with the source and its error."""
    document: dict[str, object] = {
        "warnings": [_warning(finding) for finding in result.findings],
        "sources": [
            {
                "filename": result.source.name,
                "language": "Dockerfile",
                "data": base64.b64encode(result.source.text.encode()).decode(),
            }
        ],
    }
    if result.error is not None:
        error: dict[str, object] = {"message": str(result.error)}
        if isinstance(result.error.place, Location):
            error["location"] = _location(result.error.place)
        document["buildError"] = error
    return json.dumps(document, indent=2)


def _warning(finding: Finding) -> dict[str, object]:
    shown: dict[str, object] = {
        "ruleName": finding.rule.name,
        "description": finding.rule.description,
        "url": finding.rule.url,
        "detail": finding.detail,
        "location": _location(finding.location),
    }
    return {key: value for key, value in shown.items() if value}


def _location(location: Location) -> dict[str, object]:
    """Write a place as BuildKit does: a range for each line."""
    lines = range(location.start, max(location.start, location.end) + 1)
    return {"ranges": [{"start": {"line": line}, "end": {"line": line}} for line in lines]}
