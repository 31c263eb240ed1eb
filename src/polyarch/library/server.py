"""The engine of a program: `python -m polyarch.library.server DESCRIPTOR`, started by a Builder.

It enters its namespaces, opens the engine, and carries out each build that comes in over its
control channel in a thread of its own. It ends when that channel ends: with its caller, at the latest.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from functools import partial

from polyarch.engine.engine import Engine
from polyarch.engine.opening import open_engine
from polyarch.errors import PolyarchError
from polyarch.library.channel import Channel, Message
from polyarch.library.codec import decode
from polyarch.library.messages import (
    READY,
    Requests,
    baked_message,
    error_message,
    event_message,
    result_message,
)
from polyarch.namespaces.userns import enter_engine
from polyarch.paths import in_engine, state_directory
from polyarch.pipeline.bake import bake_on
from polyarch.pipeline.recorded import recorded_build
from polyarch.progress import CancelToken, Event
from polyarch.record import frozen
from polyarch.request.values import BuildRequest

__all__ = ["main"]


def main(descriptor: int) -> int:
    """Be the engine at the other end of a control channel; returns the exit status."""
    control = Channel(socket.socket(fileno=descriptor))
    try:
        root = state_directory()
        environ = in_engine(os.environ)
        namespaces = enter_engine()
        with open_engine(root, namespaces, environ) as engine:
            control.send(READY)
            _serve(engine, control)
    except PolyarchError as error:
        with contextlib.suppress(OSError):
            control.send(error_message(error))
        return 1
    return 0


@frozen
class _Job:
    """A build that is being carried out."""

    cancel: CancelToken
    thread: threading.Thread


def _serve(engine: Engine, control: Channel) -> None:
    """Start builds until no more can come; then end those that are still there."""
    jobs: list[_Job] = []
    while (channel := control.take_over()) is not None:
        jobs = [job for job in jobs if job.thread.is_alive()]
        cancel = CancelToken()
        thread = threading.Thread(target=_work, args=(engine, channel, cancel), name="build")
        thread.start()
        jobs.append(_Job(cancel=cancel, thread=thread))
    for job in jobs:
        job.cancel.cancel()
    for job in jobs:
        job.thread.join()


def _work(engine: Engine, channel: Channel, cancel: CancelToken) -> None:
    """Carry out the build that is asked for over `channel`, unless the caller has left already."""
    with channel:
        message = channel.receive()
        if message is None:
            return
        watcher = threading.Thread(target=_watch, args=(channel, cancel), name="watch")
        watcher.start()
        answer = _answer(engine, message, channel, cancel)
        with contextlib.suppress(OSError):
            channel.send(answer)
        channel.stop()
        watcher.join()


def _watch(channel: Channel, cancel: CancelToken) -> None:
    """Cancel the build when its caller has no more to say: that is the caller's wish, or its end."""
    channel.receive()
    cancel.cancel()


def _answer(engine: Engine, message: Message, channel: Channel, cancel: CancelToken) -> Message:
    lock = threading.Lock()

    def tell(event: Event, target: str = "") -> None:
        # If nobody listens any more, the watcher has cancelled the build already.
        with lock, contextlib.suppress(OSError):
            channel.send({**event_message(event), **({"target": target} if target else {})})

    try:
        if "bake" in message:
            requests = decode(Requests, message["bake"]).by_target
            baked = bake_on(
                engine,
                requests,
                sink=lambda name: partial(tell, target=name),
                cancel=cancel,
                keeps_going=message.get("keeps_going") is True,
            )
            return baked_message(baked)
        request = decode(BuildRequest, message.get("request"))
        return result_message(recorded_build(engine, request, sink=tell, cancel=cancel))
    except Exception as error:  # noqa: BLE001 a thread ends here; the caller raises it
        return error_message(error)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
