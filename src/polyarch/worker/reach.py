"""Which layers of caches can be had, as far as a build has found out.

A step is found in a cache without its layers being fetched: nobody may want them. That they are there is asked for when
they are wanted, and whether they are what the cache says is known once they have been read, which may be at the very end
of a build. One that turned out not to be had is *lost*: the build begins anew, passes over the results that have it,
and has their steps run. So a cache that is damaged, or goes away, costs time and no build.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from polyarch.digest import Digest
from polyarch.errors import PolyarchError, RemoteError
from polyarch.record import field, frozen
from polyarch.snapshot.stack import LayerRef

__all__ = ["Reach"]

_MOST_LOST = 3
"""Layers that a place may lose until nothing is asked of it any more: each costs another attempt."""


@frozen
class Reach:
    """What is known of the layers of caches, by their blobs; `gone` are places that nothing more is asked of.

    May be used from several threads: what two of them find out is the same.
    """

    gone: set[str] = field(default_factory=set)
    _there: dict[Digest, bool] = field(default_factory=dict)
    _sources: dict[Digest, tuple[str, ...]] = field(default_factory=dict)
    _lost: Counter[str] = field(default_factory=Counter)

    def has(self, layer: LayerRef, look: Callable[[], bool]) -> bool:
        """Return whether a layer of a cache can be had; `look` is asked unless it is known."""
        assert layer.blob is not None
        digest = layer.blob.digest
        if digest not in self._there:
            self._there[digest] = look()
            self._sources[digest] = layer.sources
        return self._there[digest]

    def lose(self, error: PolyarchError) -> str | None:
        """Take the layer as lost that an error is about.

        Return where it should have been; None if the error is about something else, or nothing new. A place
        that didn't answer as it should isn't asked for other layers either.
        """
        digest = Digest(error.blob)
        if not self._there.get(digest):
            return None
        sources = self._sources[digest]
        self._lost.update(sources)
        is_gone = isinstance(error, RemoteError)
        self.gone.update(each for each in sources if is_gone or self._lost[each] >= _MOST_LOST)
        # What was there may lie at a place that is gone; what was lost stays so.
        for known in [each for each, is_there in self._there.items() if is_there]:
            del self._there[known]
        self._there[digest] = False
        return sources[0] if sources else digest
