"""GET of any web server, for ADD and for build contexts: nothing of a registry's API, nor its passwords."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from polyarch.errors import RemoteError
from polyarch.http.follow import Call, Reply, Sender
from polyarch.http.origin import origin_of, redacted, shown
from polyarch.http.retry import Attempts, Pause, passes, pause_unless_cancelled, told_wait
from polyarch.http.unreachable import Unreachable
from polyarch.progress import CancelToken
from polyarch.record import frozen

__all__ = ["Getter", "refusal"]


@frozen
class Getter:
    """Fetches files; `pause` waits between attempts."""

    sender: Sender
    cancel: CancelToken
    pause: Pause = pause_unless_cancelled

    @contextmanager
    def get(self, url: str, fields: Mapping[str, str], authorization: str = "") -> Iterator[Reply]:
        """Send GET and give the answer, whatever its status, for as long as the block lasts.

        Redirects are followed, with `authorization` (or the login in the address) as long as they stay
        at the origin; what passes is tried again. Raises RemoteError, Cancelled.
        """
        call = Call(method="GET", url=url, fields=fields, authorization=authorization)
        reply = self._answer(call)
        try:
            yield reply
        except OSError as error:
            raise RemoteError(f"{redacted(url)} broke off: {error}", temporary=True) from error
        finally:
            reply.close()

    def _answer(self, call: Call) -> Reply:
        def send() -> Reply:
            try:
                return self.sender.send(call)
            except Unreachable as error:
                # Where a redirect leads to is nothing that the user has written.
                why = error.error if error.origin == origin_of(call.url) else error
                raise RemoteError(
                    f"can't fetch {redacted(call.url)}: {why}",
                    hint=error.hint,
                    temporary=error.temporary,
                ) from error

        return Attempts(self.cancel, self.pause).answer(send, refusal)


def refusal(reply: Reply) -> RemoteError:
    """Close an answer that isn't wanted; return the error that it stands for."""
    reply.close()
    return RemoteError(
        f"{shown(reply.url)} says {reply.status}",
        status=reply.status,
        temporary=passes(reply.status),
        wait=told_wait(reply.fields),
    )
