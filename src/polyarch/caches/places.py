"""Where a cache is that `--cache-from` or `--cache-to` names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.errors import InputError
from polyarch.http.follow import Sender
from polyarch.images.place import Place
from polyarch.images.places import Places
from polyarch.late import load
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.request.caches import OBJECTS, CacheKind, check_objects
from polyarch.request.values import CacheEntry

if TYPE_CHECKING:
    from polyarch.caches.github import GitHubCache
    from polyarch.caches.objects import ObjectPlace

__all__ = ["CachePlaces", "shown"]

_OBJECTS: Mapping[str, str] = {
    CacheKind.S3: "caches.s3:open_s3",
    CacheKind.AZBLOB: "caches.azblob:open_azblob",
}
_LIBRARIES: Mapping[str, str] = {CacheKind.S3: "boto3", CacheKind.AZBLOB: "azure-storage-blob"}
_SCOPE = "buildkit"
"""What docker buildx calls a cache of GitHub's that nobody has named."""


def shown(entry: CacheEntry) -> str:
    """Return what people are told of a cache that is read."""
    if entry.type == CacheKind.LOCAL:
        return f"local:{entry.attributes.get('src') or entry.attributes['dest']}"
    if entry.type in OBJECTS:
        name = entry.attributes.get("name", "buildkit").partition(";")[0]
        where = entry.attributes.get("bucket") or entry.attributes.get("container")
        return f"{entry.type}:{where or 'buildkit-cache'}/{name}"
    if entry.type == CacheKind.GHA:
        return f"gha:{entry.attributes.get('scope') or _SCOPE}"
    reference = parse_reference(entry.attributes["ref"])
    # Records of single steps have tags of their own.
    return reference.repository if entry.type == CacheKind.STEPS else reference.canonical


@frozen
class CachePlaces:
    """Finds the places of caches. Those that only a cache has are added to `others`, by their names."""

    places: Places
    others: dict[str, Place]
    sender: Sender
    cancel: CancelToken

    def to_read(self, entry: CacheEntry) -> tuple[str, Place, str]:
        """Return what the place of a cache is called, the place, and the tag or digest of the cache there.

        Raises InputError, InvalidReference.
        """
        attributes = entry.attributes
        if entry.type == CacheKind.GHA:
            cache = self._github(entry)
            return cache.name, cache, ""
        if entry.type in OBJECTS:
            objects = self._objects(entry)
            return objects.name, objects, ""
        if entry.type == CacheKind.LOCAL:
            source = f"{LAYOUT_SCHEME}{Path(attributes['src']).absolute()}"
            target = attributes.get("digest") or attributes.get("tag") or "latest"
            return source, self.places.at(source), target
        reference = parse_reference(attributes["ref"])
        source = reference.repository if entry.type == CacheKind.STEPS else str(reference)
        return source, self.places.at(source), reference.digest or reference.tag or "latest"

    def to_write(self, entry: CacheEntry) -> tuple[Place, str]:
        """Return the place that a cache goes to, and its tag there. Raises InputError, InvalidReference."""
        attributes = entry.attributes
        if entry.type == CacheKind.GHA:
            return self._github(entry), ""
        if entry.type in OBJECTS:
            return self._objects(entry), ""
        if entry.type == CacheKind.LOCAL:
            source = f"{LAYOUT_SCHEME}{Path(attributes['dest']).absolute()}"
            return self.places.at(source), attributes.get("tag") or "latest"
        reference = parse_reference(attributes["ref"])
        return self.places.at(str(reference)), reference.tag or "latest"

    def _github(self, entry: CacheEntry) -> GitHubCache:
        attributes = entry.attributes
        if not attributes.get("token") or not (attributes.get("url") or attributes.get("url_v2")):
            raise InputError(
                "GitHub's cache needs a token and the address of the service",
                hint="they are there in a job on GitHub's runners, if an action exports them "
                "(ACTIONS_RUNTIME_TOKEN, ACTIONS_RESULTS_URL)",
            )
        from polyarch.caches.github import open_github  # noqa: PLC0415 for its runners

        scope = attributes.get("scope") or _SCOPE
        cache = open_github({**attributes, "scope": scope}, self.sender, self.cancel)
        self.others[cache.name] = cache
        return cache

    def _objects(self, entry: CacheEntry) -> ObjectPlace:
        check_objects(entry)
        try:
            opened = load(_OBJECTS[entry.type])
        except ImportError as error:
            raise InputError(
                f"caches of type={entry.type} need {_LIBRARIES[entry.type]}",
                hint=f"install it: pip install 'polyarch[{entry.type}]'",
            ) from error
        assert callable(opened)
        place: ObjectPlace = opened(entry.attributes)
        self.others[place.name] = place
        return place
