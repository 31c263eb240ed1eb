"""Copies of images from place to place: every push, pull and copy there is.

A copy reads the documents of an image, from its root down, to know what belongs to it; has the target take the
blobs, each once and several side by side; puts the manifests, each after what it needs, and the index
after them; and gives the names last of all. Whatever ends it, no name stands for less than a whole image.

What is about a manifest (its referrers) and comes along, if that is asked for: attestations of BuildKit, signatures
of cosign and of sigstore. Anything else that somebody attached to an image stays where it is, as with buildx.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial

from polyarch.digest import Digest
from polyarch.errors import IntegrityError
from polyarch.images.place import Source, Target
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.index import choose, parse_index
from polyarch.oci.manifest import parse_manifest, subject_of
from polyarch.oci.media import is_index, is_manifest, is_nondistributable
from polyarch.platforms import Platform
from polyarch.progress import CancelToken
from polyarch.record import field, frozen
from polyarch.threads import side_by_side

__all__ = ["Wanted", "Watch", "attestation_at", "bring", "copy", "copy_referrers"]

_ATTESTATION = "application/vnd.docker.attestation.manifest.v1+json"
_COPIED = frozenset(
    {
        _ATTESTATION,
        "application/vnd.dev.cosign.artifact.sig.v1+json",
        "application/vnd.dev.sigstore.bundle.v0.3+json",
    }
)
_AT_ONCE = 4
"""Blobs. Registries limit requests of one address, and few lines are filled by fewer."""
_DEPTH = 8
_MOST = 1000
"""Manifests in one go: a registry could have its referrers refer without end."""


@frozen
class Wanted:
    """What is copied. `tags` are the names that the root gets at the target; without one it is kept by digest.

    `platforms` are those of an index, none for all; `referrers` has what is about the manifests come along.
    """

    tags: Sequence[str] = ()
    platforms: Sequence[Platform] = ()
    referrers: bool = False


@frozen
class Watch:
    """Those who look on at a copy, and may end it.

    `manifest` spans the copying of each manifest and index with all that belongs to it. `blob` is told how many bytes
    of a blob there are, from several threads, of each blob by one.
    """

    manifest: Callable[[Descriptor], AbstractContextManager[object]] = lambda _: nullcontext()
    blob: Callable[[Descriptor, int], None] = lambda _blob, _current: None
    cancel: CancelToken = field(default_factory=CancelToken)


_ALL = Wanted()
_NOBODY = Watch()


def attestation_at(place: Source, subject: Descriptor) -> Descriptor | None:
    """Return the attestation of a manifest at a place. Raises RegistryError, IntegrityError."""
    found = (each for each in place.referrers(subject.digest) if each.artifact_type == _ATTESTATION)
    return next(found, None)


def copy(
    root: Descriptor,
    source: Source,
    target: Target,
    wanted: Wanted = _ALL,
    watch: Watch = _NOBODY,
) -> tuple[Digest, ...]:
    """Bring a manifest or index, and all that belongs to it, from place to place; return its blobs.

    A target that has the root for certain is given its names alone, and no blobs are returned. Raises NotFound for what
    the source lacks, RegistryError, IntegrityError, StoreError, Cancelled.
    """
    plan = _Plan(source, wanted, watch)
    # What is about the manifests of an index may be new, even if nothing else is.
    is_deep = wanted.referrers and is_index(root.media_type)
    if source.name != target.name:
        if is_deep or not target.is_whole(root.digest):
            plan.add(root)
        elif wanted.referrers:
            plan.add_referrers(root.digest)
        plan.carry_out(target, last=root.digest if wanted.tags else None)
    if wanted.tags:
        known = plan.documents.get(root.digest)
        data = known[1] if known else source.manifest(root)
        for tag in wanted.tags:
            target.tag(tag, root, data)
    return tuple(plan.blobs)


def copy_referrers(
    subject: Digest,
    source: Source,
    target: Target,
    watch: Watch = _NOBODY,
) -> None:
    """Bring what is about a manifest from place to place. Raises as `copy`."""
    if source.name != target.name:
        plan = _Plan(source, Wanted(referrers=True), watch)
        plan.add_referrers(subject)
        plan.carry_out(target)


def bring(blobs: Iterable[Descriptor], source: Source, target: Target, watch: Watch) -> None:
    """Bring blobs side by side; the first error ends the others, at their next piece at the latest.

    Raises as `copy`.
    """
    ended = CancelToken()

    def bring_one(blob: Descriptor) -> None:
        def on_bytes(current: int) -> None:
            ended.check()
            watch.cancel.check()
            watch.blob(blob, current)

        target.take_blob(blob, source, on_bytes)

    tasks = [partial(bring_one, blob) for blob in blobs]
    side_by_side(tasks, _AT_ONCE, name="copy", on_failure=ended.cancel)


class _Plan:
    """What is to be copied, found out before anything is: documents after what they need, blobs once."""

    def __init__(self, source: Source, wanted: Wanted, watch: Watch) -> None:
        self.documents: dict[Digest, tuple[Descriptor, bytes]] = {}
        self.blobs: dict[Digest, Descriptor] = {}
        self._source = source
        self._wanted = wanted
        self._watch = watch
        self._seen: set[Digest] = set()
        self._in_index: set[Digest] = set()

    def add(self, descriptor: Descriptor, depth: int = 0) -> None:
        """Add a manifest or index with all that belongs to it."""
        if descriptor.digest in self._seen:
            return
        if depth > _DEPTH or len(self._seen) >= _MOST:
            raise IntegrityError(
                f"{self._source.name} has manifests in manifests without end",
                hint=f"{_MOST} are copied at most, {_DEPTH} levels deep",
            )
        self._seen.add(descriptor.digest)
        self._watch.cancel.check()
        data = self._source.manifest(descriptor)
        if is_index(descriptor.media_type):
            for each in self._listed(data, depth):
                self._in_index.add(each.digest)
                self.add(each, depth + 1)
        else:
            manifest = parse_manifest(data)
            for blob in (manifest.config, *manifest.layers):
                if not is_nondistributable(blob.media_type):
                    self.blobs[blob.digest] = blob
        self.documents[descriptor.digest] = descriptor, data
        if self._wanted.referrers:
            self.add_referrers(descriptor.digest, depth)

    def _listed(self, data: bytes, depth: int) -> Iterable[Descriptor]:
        index = parse_index(data)
        if depth or not self._wanted.platforms:
            return index.manifests
        return [choose(index, platform) for platform in self._wanted.platforms]

    def add_referrers(self, subject: Digest, depth: int = 0) -> None:
        """Add what is about a manifest."""
        for each in self._source.referrers(subject):
            if each.artifact_type in _COPIED and is_manifest(each.media_type):
                self.add(each, depth + 1)

    def carry_out(self, target: Target, *, last: Digest | None = None) -> None:
        """Bring all of it, except for the document that comes under its names later."""
        with ExitStack() as spans:
            for descriptor, _ in self.documents.values():
                spans.enter_context(self._watch.manifest(descriptor))
            bring(self.blobs.values(), self._source, target, self._watch)
            for digest, (descriptor, data) in self.documents.items():
                if digest != last:
                    self._watch.cancel.check()
                    # What an index lists is found there; as a referrer, too, it would cost a registry
                    # without them a tag for each platform, and BuildKit's builds don't do that either.
                    subject = None if digest in self._in_index else subject_of(data)
                    target.put_manifest(descriptor, data, subject)
