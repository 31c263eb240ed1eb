"""The whole examination: first where the command is called, then in the engine, where builds run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

from polyarch.doctor.check import Check, Grade, Report
from polyarch.doctor.engine import EngineChecks
from polyarch.doctor.machine import (
    credentials,
    disk,
    emulators,
    kernel,
    subordinate_ids,
    unprivileged_names,
)
from polyarch.doctor.store import StoreState, left_behind, look_at_store
from polyarch.errors import NamespaceForbidden, StoreError
from polyarch.namespaces.userns import EngineNamespaces, enter_engine
from polyarch.paths import state_directory
from polyarch.store.checkup import debris
from polyarch.store.reserve import reserve_lent
from polyarch.store.store import Store

__all__ = ["examine"]


def examine(environ: Mapping[str, str], *, deep: bool, repairs: bool) -> Report:
    """Look at everything; to be called before any thread starts, as the rest goes on in a child.

    With `deep` every blob of the store is read, with `repairs` as well, and what is damaged or astray there is removed.
    The store is made if it isn't there, as builds do.
    """
    root = state_directory(environ)
    checks = [kernel()]
    names = unprivileged_names()
    if names:
        checks.append(subordinate_ids(names=names))
    checks += [credentials(environ), disk(root), *left_behind(root)]
    swept = debris(root)
    # Of the machine's handlers the engine sees less.
    architectures = tuple(emulators(root, environ))
    namespaces = None
    try:
        namespaces = enter_engine()
    except NamespaceForbidden as error:
        checks.append(Check(name="namespaces", grade=Grade.FAIL, text=str(error), fix=error.hint))
    state: StoreState | None = None
    try:
        with (
            reserve_lent(root) if repairs else nullcontext(),
            Store(root, works=False) as store,
        ):
            examined = _engine(environ, namespaces, store, names)
            state = look_at_store(store, swept, deep=deep, fix=repairs)
            examined += state.checks
    except StoreError as error:
        failed = Check(name="store", grade=Grade.FAIL, text=str(error), fix=error.hint)
        examined = [*_engine(environ, namespaces, None, names), failed]
    return Report(
        checks=(*checks, *examined, *architectures),
        is_sound=state.is_sound if state is not None else None,
    )


def _engine(
    environ: Mapping[str, str],
    namespaces: EngineNamespaces | None,
    store: Store | None,
    names: tuple[str, ...],
) -> list[Check]:
    if namespaces is None:
        return []
    return list(
        EngineChecks(environ=environ, namespaces=namespaces, store=store, names=names).run()
    )
