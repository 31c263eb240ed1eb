"""What came of many builds, as a value."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.errors import PolyarchError
from polyarch.record import field, frozen
from polyarch.request.result import BuildResult

__all__ = ["BakeResult"]


@frozen
class BakeResult:
    """What came of many builds, by their names, those that others build on first.

    Those that were ended because another one failed have neither a result nor an error.
    """

    results: Mapping[str, BuildResult] = field(default_factory=dict)
    errors: Mapping[str, PolyarchError] = field(default_factory=dict)

    def __getitem__(self, target: str) -> BuildResult:
        """Return what came of one. Raises its error if it failed, KeyError if there is nothing of it."""
        if target in self.errors:
            raise self.errors[target]
        return self.results[target]
