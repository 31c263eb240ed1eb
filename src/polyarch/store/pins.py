"""Why records of the store are still here: what keeps each from the collector, for `polyarch du --why`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence

from polyarch.golang.time import duration_text
from polyarch.golang.units import human_size
from polyarch.record import frozen
from polyarch.store.images import layers_of, reach
from polyarch.store.policy import Policy
from polyarch.store.refs import RefKind
from polyarch.store.store import Store
from polyarch.store.usage import Usage

__all__ = ["KeptImage", "kept_images", "pins"]


@frozen
class KeptImage:
    """A name that keeps its image, and the bytes of it that are here."""

    name: str
    size: int


def kept_images(store: Store) -> tuple[KeptImage, ...]:
    """Return the names of images that no collection removes; blobs of several count for each."""
    present = dict(store.blobs)
    return tuple(
        KeptImage(
            name=ref.name,
            size=sum(present.get(digest, 0) for digest in reach(store.blobs, [ref.descriptor])),
        )
        for ref in store.refs.all(RefKind.IMAGE)
    )


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the second parts of pairs by their first."""
    groups: dict[str, list[str]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def pins(
    store: Store, entries: Sequence[Usage], policies: Sequence[Policy]
) -> Mapping[str, tuple[str, ...]]:
    """Return for each record, by id, what keeps it here; the policies are those by which the store is collected.

    First what no collection gets past; where there is none of it, what each policy says, in order.
    """
    held = store.leases.held()
    names = _grouped(
        (diff_id, ref.name)
        for ref in store.refs.all(RefKind.IMAGE)
        for diff_id in layers_of(store.blobs, [ref.descriptor])
    )
    above = _grouped(
        (parent, entry.record.id) for entry in entries for parent in entry.record.parents
    )
    rules = _Rules.of(store, entries, policies)
    found = {}
    for entry in entries:
        record = entry.record
        hard = []
        if record.id in held:
            hard.append("a running build uses it")
        if record.id in above:
            hard.append(f"{_listed(above[record.id])} stands on it")
        if not hard and entry.in_use:
            hard.append("a running build uses its blobs")
        images = names.get(record.diff_id or "", ())
        soft = [f"the image {name} has this layer" for name in images]
        found[record.id] = (*hard, *soft, *(() if hard else rules.reasons(entry)))
    return found


def _listed(identities: Sequence[str]) -> str:
    first, *others = identities
    return f"{first} (and {len(others)} more)" if others else first


@frozen
class _Rules:
    """The policies, with what they are about."""

    policies: tuple[Policy, ...]
    used: int
    free: int

    @staticmethod
    def of(store: Store, entries: Iterable[Usage], policies: Sequence[Policy]) -> _Rules:
        status = os.statvfs(store.root)
        return _Rules(
            policies=tuple(policies),
            used=sum(entry.size for entry in entries if not entry.shared),
            free=status.f_bavail * status.f_frsize,
        )

    def reasons(self, entry: Usage) -> tuple[str, ...]:
        """Return why the policies leave a record alone: the reason of the last one that is about it."""
        if not self.policies:
            return ("the settings turn collections off (gc = false)",)
        reasons = [
            (number, self._reason(policy, entry))
            for number, policy in enumerate(self.policies)
            if policy.concerns(entry)
        ]
        if not reasons:
            return ("no policy is about it",)
        number, reason = reasons[-1]
        return (f"policy rule#{number}: {reason}",)

    def _reason(self, policy: Policy, entry: Usage) -> str:
        age = time.time() - entry.record.last_used
        if policy.keep_seconds and age < policy.keep_seconds:
            return f"used within {duration_text(int(policy.keep_seconds * 1e9))}"
        target = policy.target(self.used, self.free)
        if target is None or self.used >= target:
            return "goes with the next collection, or others before it"
        if target == policy.reserved:
            return (
                f"{human_size(self.used)} are used, and {human_size(target)} always stay (a floor)"
            )
        return f"{human_size(self.used)} are used of {human_size(target)}"
