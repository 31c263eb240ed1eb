"""Registries as the worker sees them."""

from __future__ import annotations

from dataclasses import dataclass

from polyarch.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Registries:
    """Stand-in."""

    store: Store
