"""Names of the local store that go together: by age, by labels, or all; and the bytes that go with them.

What the names stood for is left to the collector, as with every name that is removed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

from polyarch.errors import IntegrityError
from polyarch.images.local import manifests_of
from polyarch.oci.config import parse_config
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import is_config
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.record import frozen
from polyarch.store.refs import Ref, RefKind
from polyarch.store.store import Store

__all__ = ["Label", "PruneWish", "forget_images"]


@frozen
class Label:
    """A label that an image must have, or must not; `value` None stands for any."""

    name: str
    value: str | None = None
    is_wanted: bool = True


@frozen
class PruneWish:
    """Which names are to go. `older` is in seconds since they were set; the labels must all be met."""

    kept: bool = False
    """Those that are kept, too: not only those that a registry has as well."""
    older: float = 0.0
    labels: tuple[Label, ...] = ()


def forget_images(store: Store, wish: PruneWish) -> tuple[Reference, ...]:
    """Remove the names that are meant, and return them."""
    kinds = (RefKind.IMAGE, RefKind.PUSHED) if wish.kept else (RefKind.PUSHED,)
    limit = time.time() - wish.older
    gone = [
        ref
        for ref in store.refs.all(*kinds)
        if (not wish.older or ref.updated < limit)
        and _meets(store, ref, wish.labels)
        and store.refs.forget(ref)
    ]
    return tuple(parse_reference(ref.name) for ref in gone)


def _meets(store: Store, ref: Ref, labels: Sequence[Label]) -> bool:
    if not labels:
        return True
    found = _labels(store, ref)
    return all(
        (label.name in found and label.value in (None, found[label.name])) == label.is_wanted
        for label in labels
    )


def _labels(store: Store, ref: Ref) -> Mapping[str, str]:
    """Return the labels of an image for all of its platforms together, as far as their configs are here."""
    labels: dict[str, str] = {}
    root = Descriptor.from_json(json.loads(ref.descriptor))
    for _, manifest in manifests_of(store, root):
        config = manifest.config if manifest is not None else None
        if config is None or not is_config(config.media_type) or not store.blobs.has(config.digest):
            continue
        try:
            labels |= parse_config(store.blobs.read(config.digest)).run.labels
        except IntegrityError:
            continue
    return labels
