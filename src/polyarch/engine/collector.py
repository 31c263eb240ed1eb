"""The collector beside builds: `python -m polyarch.engine.collector`, started by `engine.background`.

Standard input says which store, and by which settings; each line after that says that something was added. When it
ends, so have the builds: the store is looked at for the last time, and then this ends, too. It runs in the engine's
namespaces, where whatever steps have made may be removed, with the lowest priority.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from polyarch.engine.collect import prune
from polyarch.engine.due import is_due, note_collection
from polyarch.errors import PolyarchError
from polyarch.store.gcsettings import collecting_for
from polyarch.store.policy import Policy
from polyarch.store.store import Store

__all__ = ["follow", "main"]

_CHUNK = 65536


def main() -> int:
    """Collect beside a build until it ends; returns the exit status."""
    os.nice(19)
    try:
        follow(sys.stdin.fileno())
    except PolyarchError as error:
        # Nobody reads it but who looks for a cause: the next build tries again.
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def follow(source: int) -> None:
    """Collect the store that the descriptor `source` names whenever it says so, and once more at its end."""
    lines = _lines(source)
    told = json.loads(next(lines))
    root = Path(told["root"])
    policies = collecting_for(root, told["settings"]).policies
    with Store(root, works=False) as store:
        for _ in lines:
            _collect(store, policies, wait=False)
        # Others may be collecting, and may have passed by what was in use until now.
        _collect(store, policies, wait=True)


def _collect(store: Store, policies: tuple[Policy, ...], *, wait: bool) -> None:
    if is_due(store, policies) and prune(store, policies, wait=wait).complete:
        note_collection(store)


def _lines(source: int) -> Iterator[str]:
    """Give the first line, and what has come since as one."""
    data = b""
    while b"\n" not in data:
        data += os.read(source, _CHUNK)
    first, _, rest = data.partition(b"\n")
    yield first.decode()
    while rest or (rest := os.read(source, _CHUNK)):
        rest = b""
        yield ""


if __name__ == "__main__":
    sys.exit(main())
