"""What a step gets that trusts more CAs than its image has."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.record import field, frozen
from polyarch.runtime.step import Mount

__all__ = ["Trusted"]


@frozen
class Trusted:
    """Mounts, and variables that stand below the step's own."""

    mounts: tuple[Mount, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
