"""The client as a build sees it: asked from any thread, and no longer than the build goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any, TypeVar

from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from polyarch.errors import Cancelled, InputError, NotFound, RemoteError
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.serve.sessions import Session

__all__ = ["Client"]

T = TypeVar("T")


@frozen
class Client:
    """Who has asked for a build; `loop` is where the session lives."""

    session: Session
    loop: asyncio.AbstractEventLoop
    cancel: CancelToken

    def ask(self, path: str, message: bytes) -> bytes:
        """Call a method of the client. Raises NotFound, RemoteError, Cancelled."""
        return self.wait(self.session.call(path, message))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Have something done where the session lives, and wait for it. Raises as `ask`."""
        if self.cancel.cancelled:
            work.close()
            self.cancel.check()
        future = asyncio.run_coroutine_threadsafe(work, self.loop)

        def stop() -> None:
            future.cancel()

        forget = self.cancel.on_cancel(stop)
        try:
            with _told():
                return future.result()
        finally:
            forget()


@contextmanager
def _told() -> Iterator[None]:
    """Turn what gRPC raises into our errors."""
    try:
        yield
    except (CancelledError, asyncio.CancelledError) as error:
        raise Cancelled("context canceled") from error
    except GRPCError as error:
        message = error.message or error.status.name
        if error.status is Status.NOT_FOUND:
            raise NotFound(message) from error
        raise RemoteError(message) from error
    except ValueError as error:
        # What names of directories and stores are told in.
        raise InputError(
            "a name for the client contains value with non-printable ASCII characters"
        ) from error
    except (OSError, StreamTerminatedError, ProtocolError) as error:
        raise RemoteError(
            f"the client can't be asked any more: {str(error) or type(error).__name__}",
            temporary=True,
        ) from error
