"""The version, as docker's programs write theirs."""

from __future__ import annotations

from polyarch import __version__

__all__ = ["RELEASE", "version_line"]

RELEASE = f"v{__version__}"


def version_line() -> str:
    """Return the version as docker buildx writes its own: where it comes from, and which it is."""
    return f"github.com/polyarch/polyarch {RELEASE}"
