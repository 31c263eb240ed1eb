"""Records of single steps at one address: each an image manifest, found by a tag made of its key.

    step-<key>      what a step gave, by its fast or slow key
    alike-<key>-N   one of the results of what looks alike: see docs/solver.md, "What nobody has read"
    layer-<digest>  a large layer in pieces (`images/pieces.py`), by its blob's digest and its diff ID
    last-<op>       the pieces of the last layer that an op gave, to tell which need not be sent again
    mount-<id>      the content of a cache mount, in pieces

Nothing is ever written into what another one wrote: a record stays as it is, and whoever finds one under its key
leaves it. So platforms, shards and machines share an address, at the same time too. `last-` and `mount-` go to whoever
writes last, and each is whole by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polyarch.caches.form import Cache, CachedResult, read_cache, write_cache
from polyarch.errors import IntegrityError, NotFound
from polyarch.images.pieces import put_document, tag_of
from polyarch.images.place import Place
from polyarch.oci.manifest import parse_manifest
from polyarch.record import frozen
from polyarch.solver.key import CacheKey

__all__ = ["StepStore", "alike_tag", "step_tag"]

_ANNOTATION = "dev.polyarch.step"
_MOST_ALIKE = 4


def step_tag(key: CacheKey) -> str:
    """Return the tag of what is found by a key."""
    return tag_of("step", key)


def alike_tag(key: CacheKey, number: int) -> str:
    """Return the tag of one of the candidates of a key."""
    return f"{tag_of('alike', key)}-{number}"


@frozen
class StepStore:
    """The records at one place; `source` is what their layers remember of where they are."""

    place: Place
    source: str

    def find(self, tag: str) -> CachedResult | None:
        """Return a record, None if there is none. Raises RemoteError, IntegrityError."""
        try:
            _, data = self.place.load(tag)
        except NotFound:
            return None
        text = parse_manifest(data).annotations.get(_ANNOTATION, "")
        results = read_cache(text.encode()).results if text else ()
        if len(results) != 1:
            raise IntegrityError(f"{self.source}:{tag} is no record of a step")
        return results[0]

    def candidates(self, key: CacheKey) -> Iterator[CachedResult]:
        """Give the records of what looks alike. Raises RemoteError, IntegrityError."""
        for number in range(_MOST_ALIKE):
            found = self.find(alike_tag(key, number))
            if found is None:
                return
            yield found

    def tags(
        self,
        keys: Sequence[CacheKey],
        alike: Sequence[CacheKey],
        identity: str,
        *,
        only_free: bool = True,
    ) -> list[str]:
        """Return the tags that a result is put under; with `only_free` those that nothing is under yet.

        Raises RemoteError, IntegrityError.
        """
        found = [
            tag for tag in map(step_tag, keys) if not (only_free and self.find(tag) is not None)
        ]
        for key in alike:
            known = [each.identity for each in self.candidates(key)]
            if identity in known:
                if not only_free:
                    found.append(alike_tag(key, known.index(identity)))
            elif len(known) < _MOST_ALIKE:
                found.append(alike_tag(key, len(known)))
        return found

    def put(self, tags: Sequence[str], result: CachedResult) -> None:
        """Write a record, whose layers are here already. Raises RemoteError."""
        cache = Cache(results=(result,))
        text = write_cache(cache).decode()
        put_document(self.place, tags, {}, cache.blobs, {_ANNOTATION: text})
