"""What a client and a worker say to each other: JSON, so that a worker of another version can tell that it's one.

A task is a text and packed archives; what a worker tells while it works are batches of events; the answer has what
came of the build, and archives that were asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.digest import DiffID
from polyarch.record import field, frozen
from polyarch.request.values import BuildRequest

__all__ = ["CONTEXT", "DOCKERFILE", "Answer", "Sent", "Task"]

CONTEXT = "context"
DOCKERFILE = "dockerfile"
"""Names of archives: the main context, and the Dockerfile's directory if it's elsewhere."""


@frozen
class Sent:
    """An archive that was sent: the digest of what it unpacks to, and its size in bytes.

    It is in pieces at the repository `place`, or, if that is "", comes along as a zstd frame.
    """

    digest: DiffID
    size: int
    place: str = ""


@frozen
class Task:
    """One part of a build, for one worker.

    Of `request`, the paths are those of the client's machine; `archives` are what lies there: CONTEXT and DOCKERFILE, unless
    they are addresses, and named contexts by their names after a colon. `dockerfile` is the path of the Dockerfile in its
    archive, "" where it isn't in any. `auths` are credentials for registries, in JSON, as Docker's `config.json` has them. What
    outputs write into files comes back through the repository `transfer`, or along with the answer, up to `limit` bytes.
    """

    part: str
    topic: str
    version: str
    request: BuildRequest
    archives: Mapping[str, Sent] = field(default_factory=dict)
    dockerfile: str = ""
    auths: str = field(default="", repr=False)
    transfer: str = ""
    limit: int = 0


@frozen
class Answer:
    """What came of a task: a message of `polyarch.library.messages`, in JSON, and how many batches of events were told before.

    `files` are what outputs wrote, by the number of the output; those that come along are in that order.
    """

    attempt: str
    batches: int
    message: str
    files: Mapping[str, Sent] = field(default_factory=dict)
