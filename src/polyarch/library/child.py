"""The engine as its caller sees it: a fresh interpreter, a control channel, a thread that minds it.

A process with threads can neither enter namespaces nor go on after a fork, and the caller's process
isn't ours to change: the engine is started as any program is. It is killed with its caller.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping

from polyarch.errors import MachineError, PolyarchError
from polyarch.library.channel import Channel, channel_pair
from polyarch.library.messages import READY, read_answer
from polyarch.process import Child

__all__ = ["EngineProcess"]

_PATIENCE = 30.0
"""How long, in seconds, an engine may take to end its builds before it is killed."""
_KEPT = 16384


class EngineProcess:
    """A running engine. Raises what keeps it from starting: NamespaceForbidden, StoreError and such."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._control, theirs = channel_pair()
        self._printed = b""
        self._ending = "it could not be started"
        self._child: Child | None = None
        # A daemon, lest a program that forgets its Builder never ends. The engine dies with it.
        self._minder = threading.Thread(
            target=self._mind, args=(theirs, environ), name="polyarch engine", daemon=True
        )
        self._minder.start()
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process id of the outermost of the engine's processes."""
        return self._child.pid if self._child is not None else 0

    def hand_over(self, end: Channel) -> None:
        """Give the engine a build's end of a channel. Raises MachineError if the engine is gone."""
        try:
            self._control.hand_over(end)
        except OSError as error:
            raise self.gone() from error

    def gone(self) -> MachineError:
        """Wait for the end of an engine that has fallen silent; return the error that says how."""
        self._minder.join(_PATIENCE)
        error = MachineError(f"the engine has ended: {self._ending}")
        if self._printed:
            error.add_note(self._printed.decode(errors="replace"))
        return error

    def close(self) -> None:
        """End the engine: at once if it is idle, else when it has cancelled its builds."""
        self._control.end()
        try:
            self._minder.join(_PATIENCE)
        finally:
            if self._minder.is_alive() and self._child is not None:
                self._child.kill()
            self._minder.join()
            self._control.close()

    def _greet(self) -> None:
        message = self._control.receive()
        if message is None:
            raise self.gone()
        if message != READY:
            read_answer(message)

    def _mind(self, theirs: Channel, environ: Mapping[str, str]) -> None:
        """Start the engine and stay until it has ended: it dies with the thread that started it."""
        # `-P`: what lies in the current directory is none of the engine's business.
        argv = [sys.executable, "-P", "-m", "polyarch.library.server", str(theirs.fileno())]
        try:
            with theirs:
                self._child = Child(
                    argv,
                    env=_environment(environ),
                    on_output=self._keep,
                    pass_fds=[theirs.fileno()],
                )
            self._ending = str(self._child.wait())
        except PolyarchError as error:
            self._ending = str(error)

    def _keep(self, _stream: int, data: bytes) -> None:
        self._printed = (self._printed + data)[-_KEPT:]


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's variables, with the places that it imports from."""
    places = [place for place in sys.path if os.path.isabs(place)]
    return {**environ, "PYTHONPATH": os.pathsep.join(places)}
