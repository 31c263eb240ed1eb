"""Which release this is, and those whose behaviour it is.

What calls docker buildx reads its version, and leaves out flags that are newer: called in its place, we answer
with the release whose behaviour this is. Nothing is imported here: `polyarch version` needs no more than this.
"""

from __future__ import annotations

from polyarch import __version__

__all__ = ["BUILDKIT_RELEASE", "BUILDX_RELEASE", "DOCKERFILE_RELEASE", "RELEASE", "version_line"]

RELEASE = f"v{__version__}"
BUILDX_RELEASE = "v0.32.2"
BUILDKIT_RELEASE = "v0.28.0"
"""BuildKit's release that nodes are equal to."""
DOCKERFILE_RELEASE = "1.26.0"
"""The version of Docker's frontend whose language is understood."""


def version_line(*, stands_in: bool) -> str:
    """Return the version as docker buildx writes its own: where it comes from, and which it is.

    `stands_in` says that we are called in its place.
    """
    if stands_in:
        return f"github.com/docker/buildx {BUILDX_RELEASE} polyarch-{__version__}"
    return f"github.com/polyarch/polyarch {RELEASE} (docker buildx {BUILDX_RELEASE})"
