"""The version, as docker's programs write theirs.

What calls docker buildx reads its version, and leaves out flags that are newer: called in its place, we answer
with the release whose behaviour this is.
"""

from __future__ import annotations

from collections.abc import Mapping

from polyarch import __version__
from polyarch.paths import stands_in_for_buildx

__all__ = ["BUILDKIT_RELEASE", "BUILDX_RELEASE", "RELEASE", "version_line"]

RELEASE = f"v{__version__}"
BUILDX_RELEASE = "v0.32.2"
BUILDKIT_RELEASE = "v0.28.0"
"""BuildKit's release that nodes are equal to."""


def version_line(environ: Mapping[str, str]) -> str:
    """Return the version as docker buildx writes its own: where it comes from, and which it is."""
    if stands_in_for_buildx(environ):
        return f"github.com/docker/buildx {BUILDX_RELEASE} polyarch-{__version__}"
    return f"github.com/polyarch/polyarch {RELEASE} (docker buildx {BUILDX_RELEASE})"
