"""Which snapshotter works here."""

from __future__ import annotations

from polyarch.errors import InputError, NamespaceForbidden
from polyarch.snapshot.native import NativeSnapshotter
from polyarch.snapshot.overlay import OverlaySnapshotter, find_overlay_mode
from polyarch.snapshot.snapshotter import Snapshotter
from polyarch.store.store import Store

__all__ = ["open_snapshotter"]


def open_snapshotter(store: Store, name: str = "auto") -> Snapshotter:
    """Return the snapshotter of that name (`overlay`, `native`), or the best one that works.

    To be called in the process, user and mount namespace in which it will be used. Raises InputError
    for an unknown name, NamespaceForbidden if the one that was asked for doesn't work.
    """
    if name == "native":
        return NativeSnapshotter(store)
    if name not in ("auto", "overlay"):
        raise InputError(f"unknown snapshotter {name!r}", hint="use 'auto', 'overlay' or 'native'")
    mode = find_overlay_mode(store)
    if mode is not None:
        return OverlaySnapshotter(store, mode)
    if name == "overlay":
        raise NamespaceForbidden(
            "the kernel refuses overlay mounts here", hint="'polyarch doctor' looks for the cause"
        )
    return NativeSnapshotter(store)
