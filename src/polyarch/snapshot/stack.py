"""A step's result: a root file system as layers, some of them here, some still at their registry.

A layer that came with an image is known by its diff ID and by the blob that holds it; its snapshot is
made when somebody first reads it, and if nobody does, its bytes are never fetched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence

from polyarch.digest import DiffID, hex_of, sha256
from polyarch.oci.descriptor import Descriptor
from polyarch.record import frozen
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.store.results import Stack

__all__ = ["LayerRef", "LayerStack", "new_snapshot", "snapshot_of_diff", "take_apart"]

_MARK = "-"
"""Stands between the layers of one output and those of the next; no snapshot is called so."""


def new_snapshot() -> SnapshotID:
    """Return a name for the snapshot of a step."""
    return SnapshotID(f"step-{os.urandom(16).hex()}")


def snapshot_of_diff(diff_id: DiffID) -> SnapshotID:
    """Return the name of the snapshot of an image's layer."""
    return SnapshotID(f"image-{hex_of(diff_id)}")


@frozen
class LayerRef:
    """One layer: its snapshot, and for an image's layer the blob and the repositories that have it.

    `sources` are canonical references of the images that it is known from. `is_linked` says that it was
    made without looking at the layers below: its archive tells of all that is in it. `created`, in seconds since
    the epoch, and `description` are those of a step whose layer came with a cache; None and "" else.
    """

    snapshot: SnapshotID
    diff_id: DiffID | None = None
    blob: Descriptor | None = None
    sources: tuple[str, ...] = ()
    is_linked: bool = False
    created: float | None = None
    description: str = ""

    @property
    def is_cached(self) -> bool:
        """Whether the layer came with a cache."""
        return self.blob is not None and self.created is not None


@frozen
class LayerStack:
    """A stack of layers, base first; `more` are those of a step's other outputs, in their order."""

    layers: tuple[LayerRef, ...] = ()
    more: tuple[LayerStack, ...] = ()

    @staticmethod
    def of_image(
        diff_ids: Sequence[DiffID], blobs: Sequence[Descriptor], source: str
    ) -> LayerStack:
        """Return the layers of an image whose blobs are at `source`; there is one for each diff ID."""
        return LayerStack(
            layers=tuple(
                LayerRef(
                    snapshot=snapshot_of_diff(diff_id),
                    diff_id=diff_id,
                    blob=blob,
                    sources=(source,),
                )
                for diff_id, blob in zip(diff_ids, blobs, strict=True)
            )
        )

    @property
    def snapshots(self) -> tuple[SnapshotID, ...]:
        """The snapshots of the layers, base first."""
        return tuple(layer.snapshot for layer in self.layers)

    @property
    def identity(self) -> str:
        """A name that two trees share only if they are made of the same layers."""
        return _identity(self._parts)

    @property
    def _parts(self) -> tuple[str, ...]:
        """All snapshots, those of other outputs behind a mark each."""
        others = (part for each in self.more for part in (_MARK, *each.snapshots))
        return (*self.snapshots, *others)

    @property
    def all_layers(self) -> tuple[LayerRef, ...]:
        """The layers, and those of other outputs."""
        return (*self.layers, *(layer for each in self.more for layer in each.layers))

    def with_layer(self, snapshot: SnapshotID, more: tuple[LayerStack, ...] = ()) -> LayerStack:
        """Return this tree with one more layer on top, and with other outputs beside it."""
        return LayerStack(layers=(*self.layers, LayerRef(snapshot=snapshot)), more=more)

    def to_json(self) -> str:
        """Write the tree as a line of JSON, for a cache record."""
        form: object = _layers_to_json(self)
        if self.more:
            form = {"layers": form, "more": [_layers_to_json(each) for each in self.more]}
        return json.dumps(form, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> LayerStack:
        """Read what `to_json` wrote; anything else raises ValueError, KeyError or TypeError."""
        form = json.loads(text)
        if not isinstance(form, dict):
            return LayerStack(layers=_layers_from_json(form))
        more = (LayerStack(layers=_layers_from_json(each)) for each in form["more"])
        return LayerStack(layers=_layers_from_json(form["layers"]), more=tuple(more))


def take_apart(text: str) -> Iterator[Stack]:
    """Yield the stack that `LayerStack.to_json` wrote, the one below it, and so on: for `Results`."""
    try:
        snapshots = list(LayerStack.from_json(text)._parts)  # noqa: SLF001 this module's own
    except (ValueError, KeyError, TypeError):
        return
    identity = _identity(snapshots)
    while snapshots:
        top = snapshots.pop()
        below = _identity(snapshots)
        yield Stack(identity=identity, part=top, below=below)
        identity = below


def _identity(snapshots: Sequence[str]) -> str:
    return sha256("\n".join(snapshots).encode())


def _layers_to_json(stack: LayerStack) -> list[dict[str, object]]:
    return [_layer_to_json(layer) for layer in stack.layers]


def _layers_from_json(form: list[dict[str, object]]) -> tuple[LayerRef, ...]:
    return tuple(_layer_from_json(fields) for fields in form)


def _layer_to_json(layer: LayerRef) -> dict[str, object]:
    fields: dict[str, object] = {"snapshot": layer.snapshot}
    if layer.is_linked:
        fields["is_linked"] = True
    if layer.blob is not None:
        fields |= {
            "diff_id": layer.diff_id,
            "blob": layer.blob.to_json(),
            "sources": list(layer.sources),
        }
    if layer.created is not None:
        fields |= {"created": layer.created, "description": layer.description}
    return fields


def _layer_from_json(fields: dict[str, object]) -> LayerRef:
    if "blob" not in fields:
        return LayerRef(
            snapshot=SnapshotID(str(fields["snapshot"])), is_linked="is_linked" in fields
        )
    sources = fields["sources"]
    assert isinstance(sources, list)
    return LayerRef(
        snapshot=SnapshotID(str(fields["snapshot"])),
        diff_id=DiffID(str(fields["diff_id"])),
        blob=Descriptor.from_json(fields["blob"]),
        sources=tuple(map(str, sources)),
        is_linked="is_linked" in fields,
        created=float(str(fields["created"])) if "created" in fields else None,
        description=str(fields.get("description", "")),
    )
