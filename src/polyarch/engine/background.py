"""The collector beside a build: a process of its own, which starts when the store comes near to its bounds.

It has the lowest priority and no lock that a build waits for, but for moments. It ends with the engine: after the last
build has let go of what it held, it brings the store below its bounds once more, which takes as long as removing what
is too much, and mostly nothing. If the engine is killed, so is it, and nothing is lost (`store.gc`).

A thread would be simpler, and would contend with the build for Python's lock: removing a layer is thousands of short
system calls. A process that goes on for itself was rejected: nothing is to be left of a build but its cache.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from polyarch.errors import PolyarchError
from polyarch.record import frozen
from polyarch.store.store import Store

__all__ = ["Background", "first_line"]

_NEAR = 0.8
"""Of a bound: there the collector starts, as starting takes it a moment in which builds go on."""
_LOOK_SECONDS = 0.5
"""Between looks at a growing store."""


class Background:
    """Watches a store grow during the builds of an engine. May be told of it by many threads."""

    def __init__(self, store: Store, environ: Mapping[str, str]) -> None:
        self._store = store
        self._environ = environ
        self._settings: str | None = None
        self._lock = threading.Lock()
        self._looked: float | None = None
        self._process: _Process | None = None

    def use(self, settings: str) -> None:
        """Go by these settings, the text of a `buildkitd.toml`, instead of those of the user."""
        self._settings = settings

    def grew(self, *, share: float = _NEAR) -> None:
        """Take that something was added; start the collector if it is due, or have it look again.

        Whatever goes wrong is no reason for a build to fail: the store is too large then.
        """
        with self._lock, suppress(PolyarchError, OSError):
            if self._process is None and self._is_due(share):
                self._process = _start(first_line(self._store, self._text()))
            if self._process is not None:
                self._process.wake()

    def finish(self) -> None:
        """Let go of the store and wait until it is within its bounds; builds have ended."""
        self._store.release()
        if self._looked is not None:
            # The last thing that was added may have been the one too much.
            self._looked = None
            self.grew(share=1.0)
        with self._lock:
            process = self._process
        if process is not None:
            process.end()

    def _text(self) -> str:
        if self._settings is None:
            from polyarch.builders.collecting import user_settings  # noqa: PLC0415 unchanged builds need none

            self._settings = user_settings(self._environ)
        return self._settings

    def _is_due(self, share: float) -> bool:
        now = time.monotonic()
        if self._looked is not None and now - self._looked < _LOOK_SECONDS:
            return False
        self._looked = now
        # Unchanged builds need none of it.
        from polyarch.engine.due import is_due  # noqa: PLC0415
        from polyarch.store.gcsettings import collecting_for  # noqa: PLC0415

        return is_due(
            self._store, collecting_for(self._store.root, self._text()).policies, share=share
        )


@frozen
class _Process:
    """The running collector. It is minded by a thread, since it dies with the thread that has started it."""

    pipe: int
    minder: threading.Thread

    def wake(self) -> None:
        """Have it look at the store again."""
        with suppress(BrokenPipeError):
            os.write(self.pipe, b"\n")

    def end(self) -> None:
        """Have it look for the last time, and wait for its end."""
        os.close(self.pipe)
        self.minder.join()


def first_line(store: Store, settings: str) -> bytes:
    """Return what the collector reads first: which store, and by which settings."""
    return json.dumps({"root": str(store.root), "settings": settings}).encode() + b"\n"


def _start(line: bytes) -> _Process:
    theirs, ours = os.pipe()
    os.write(ours, line)
    minder = threading.Thread(target=_mind, args=(theirs,), name="collector", daemon=True)
    minder.start()
    return _Process(pipe=ours, minder=minder)


def _mind(theirs: int) -> None:
    from polyarch.process import Child, base_environment  # noqa: PLC0415 unchanged builds start nothing

    # The places that this process imports from, whatever it was that has found them.
    places = [place for place in sys.path if os.path.isabs(place)]
    environ = base_environment(PYTHONPATH=os.pathsep.join(places))
    try:
        child = Child(
            [sys.executable, "-P", "-m", "polyarch.engine.collector"], env=environ, stdin=theirs
        )
    finally:
        os.close(theirs)
    child.wait()
