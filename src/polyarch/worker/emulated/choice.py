"""A step -> the sets of twins that it gets: found, made first, begun beside, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from polyarch.errors import Cancelled, PolyarchError
from polyarch.graph.op import ImageOp
from polyarch.record import frozen
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.snapshot.stack import LayerStack, snapshot_of_diff
from polyarch.store.emulated import EmulatedRuns, EmulatedStepKey
from polyarch.worker.emulated.bases import Bases, find_bases
from polyarch.worker.emulated.scan import Headers, find_unlike
from polyarch.worker.emulated.sets import ImageSet, Pair, TwinSets
from polyarch.worker.emulated.worth import Fetching, fetching
from polyarch.worker.work import Work

__all__ = ["Choice", "Chooser", "headers_of"]


@frozen
class Choice:
    """The sets of a step, that of its own base last, and why there are none, where that is worth telling."""

    sets: tuple[ImageSet, ...] = ()
    reason: str = ""


def headers_of(sets: tuple[ImageSet, ...]) -> Headers:
    """Return how the programs that have twins begin, with the digests of the whole programs."""
    found: dict[bytes, set[str]] = {}
    for each in sets:
        for twin in each.twins.twins:
            found.setdefault(twin.header, set()).add(twin.digest)
    return found


@frozen
class Chooser:
    """Chooses the sets of steps.

    `layer` gives the directory of a snapshot's layer; `pace` is how many bytes of images come in a second.
    """

    sets: TwinSets
    runs: EmulatedRuns
    layer: Callable[[SnapshotID], AbstractContextManager[Path]]
    pace: Callable[[], float]

    def choose(self, work: Work, key: EmulatedStepKey, *, in_any_case: bool) -> Choice:
        """Return the sets for a step; with `in_any_case` that of its base is made whatever it costs.

        What goes wrong is no trouble of the step's: it is emulated then. Raises Cancelled.
        """
        if work.op.security == "insecure":
            return Choice(reason="it may do to the machine what can't be repeated")
        bases = find_bases(work.vertex)
        try:
            own = self._own(bases.own, work, key, in_any_case=in_any_case)
        except Cancelled:
            raise
        except PolyarchError as error:
            return Choice(reason=str(error))
        found: dict[int, ImageSet] = {} if own is None else {own.twins.number: own}
        for other in self._others(bases, work):
            found.setdefault(other.twins.number, other)
        chosen = tuple(reversed(found.values()))
        unlike = self._unlike(chosen, work.stack)
        if unlike:
            return Choice(reason=f"{unlike} begins like a program of the base image, but isn't it")
        return Choice(sets=chosen)

    def _own(
        self, base: ImageOp | None, work: Work, key: EmulatedStepKey, *, in_any_case: bool
    ) -> ImageSet | None:
        pair = None if base is None else self.sets.pair(base, work.cancel)
        if pair is None:
            return None
        if self.sets.is_made(pair):
            return self.sets.find(pair)
        when = Fetching.FIRST if in_any_case else self._when(pair, key)
        if when is Fetching.FIRST:
            return self.sets.get(pair, work.vertex, work.cancel)
        if when is Fetching.BESIDE:
            self.sets.begin(pair, work.vertex)
        return None

    def _when(self, pair: Pair, key: EmulatedStepKey) -> Fetching:
        # A step that nobody has seen may take an hour, whatever others took.
        is_new = self.runs.find(key).seconds is None
        known = None if is_new else self.runs.total(key)
        return fetching(self.sets.missing_bytes(pair), self.pace(), known)

    def _others(self, bases: Bases, work: Work) -> Iterator[ImageSet]:
        """Give the sets that are there of other images that the root may have programs of."""
        for base in bases.others:
            with suppress(PolyarchError):
                pair = self.sets.pair(base, work.cancel)
                found = None if pair is None else self.sets.find(pair)
                if found is not None:
                    yield found

    def _unlike(self, sets: tuple[ImageSet, ...], stack: LayerStack) -> str:
        """Return a program in a layer that the kernel would take for one with a twin, "" if there is none.

        Each layer is looked at once for each set.
        """
        for each in sets:
            base = set(map(snapshot_of_diff, each.base.diff_ids))
            for snapshot in stack.snapshots:
                if snapshot in base:
                    continue
                path = self.runs.find_unlike(snapshot, each.snapshot)
                if path is None:
                    with self.layer(snapshot) as layer:
                        path = find_unlike(layer, headers_of((each,)))
                    self.runs.save_unlike(snapshot, each.snapshot, path)
                if path:
                    return path
        return ""
