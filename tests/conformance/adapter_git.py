"""git: addresses of repositories."""

from __future__ import annotations

from polyarch.record import asdict
from polyarch.text.giturl import parse_git_reference, parse_git_url


def git_url(text: str) -> dict[str, object]:
    return asdict(parse_git_url(text))


def git_context(text: str) -> dict[str, object] | None:
    reference = parse_git_reference(text)
    return asdict(reference) if reference is not None else None
