"""Which pod does the work: one at random, or for each build context the same one, whose cache knows it.

For the latter, names are put on a ring by their digests; a context goes to the first pod after its own. So a pod that
comes or goes changes the way of few contexts, and docker buildx chooses the same one.

Source: docker buildx, `driver/kubernetes/podchooser`; serialx/hashring.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Sequence

__all__ = ["choose_pod"]


def choose_pod(names: Sequence[str], key: str, *, is_random: bool) -> str:
    """Return one of some pods, of which there is at least one; `key` is the build context's absolute path."""
    if is_random:
        return names[int.from_bytes(os.urandom(8)) % len(names)]
    ring = sorted((_place(f"{name}-0"), name) for name in names)
    own = _place(key)
    return next((name for place, name in ring if own < place), ring[0][1])


def _place(text: str) -> tuple[int, int]:
    digest = hashlib.md5(text.encode(errors="surrogateescape"), usedforsecurity=False).digest()
    first, second = struct.unpack("<qq", digest)
    return first, second
