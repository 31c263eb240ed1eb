"""What gateways have promised to clients: results by their refs, which are built when somebody needs them.

A client may hand the result of one build to another one as a context, as docker buildx does for targets of a bake file that
start from one another. It knows results as LLB only; so ours have a definition of one op that only we understand.
"""

from __future__ import annotations

import itertools

from polyarch.buildkit.llb.numbers import SOURCE
from polyarch.digest import sha256
from polyarch.record import frozen
from polyarch.serve.jobs import Job
from polyarch.serve.llb.definition import RESULT_SCHEME, read_definition
from polyarch.serve.messages import SolveRequest
from polyarch.serve.sessions import Session
from polyarch.snapshot.stack import LayerStack
from polyarch.wire import field, present

__all__ = ["Promise", "Promises", "definition_of"]


@frozen
class Promise:
    """A request, and of its platforms one, "" for all that it has; who has asked for it, and in which build."""

    request: SolveRequest
    session: Session
    job: Job
    platform: str = ""


class Promises:
    """All promises of builds that go on. In any thread."""

    def __init__(self) -> None:
        self._promises: dict[str, Promise] = {}
        self._left: dict[str, tuple[Job, LayerStack]] = {}
        self._numbers = itertools.count(1)

    def add(self, promise: Promise) -> str:
        """Return a new ref."""
        ref = f"{promise.job.ref}-{next(self._numbers)}"
        self._promises[ref] = promise
        return ref

    def find(self, ref: str) -> Promise | None:
        """Return what a ref stands for."""
        return self._promises.get(ref)

    def keep(self, job: Job, tree: LayerStack) -> str:
        """Return a new ref to what a step that failed has left."""
        ref = f"{job.ref}-left-{next(self._numbers)}"
        self._left[ref] = (job, tree)
        return ref

    def find_left(self, ref: str) -> LayerStack | None:
        """Return what a step has left by its ref."""
        found = self._left.get(ref)
        return found[1] if found is not None else None

    def forget(self, job: Job) -> tuple[LayerStack, ...]:
        """Forget what was promised in a build, which has ended; returns what its steps have left."""
        for ref in [ref for ref, each in self._promises.items() if each.job is job]:
            del self._promises[ref]
        ended = [ref for ref, (whose, _) in self._left.items() if whose is job]
        return tuple(self._left.pop(ref)[1] for ref in ended)

    def ref_in(self, definition: bytes) -> str:
        """Return the ref of the promise that a definition stands for, "" for one of others."""
        read = read_definition(definition)
        op = read.ops[read.wanted.op] if read.wanted is not None else None
        if op is None or op.kind != SOURCE or not op.message.text(1).startswith(RESULT_SCHEME):
            return ""
        return op.message.text(1).removeprefix(RESULT_SCHEME)


def definition_of(ref: str) -> bytes:
    """Return a definition that stands for a promise."""
    op = field(SOURCE, field(1, f"{RESULT_SCHEME}{ref}"))
    last = field(1, field(1, sha256(op)))
    return field(1, op) + field(1, last) + field(2, field(1, sha256(op)) + present(2, b""))
