"""A root with its mounts in which somebody has programs run, for as long as they like: a container of BuildKit's gateway.

What comes in is an exec op, of which the program doesn't count, and the results of its inputs. The first program makes the
container's namespaces, and the container's other programs end with it. What they write is thrown away.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyarch.errors import Cancelled, InputError, NotFound, PolyarchError
from polyarch.graph.op import ExecOp, SecretMount
from polyarch.progress import CancelToken
from polyarch.record import replace
from polyarch.request.talk import Talk
from polyarch.runtime.base import Ended, OnOutput
from polyarch.runtime.step import Bind, Step
from polyarch.worker.exec import StepRunner
from polyarch.worker.surrounded import Around
from polyarch.worker.work import Place, Work

__all__ = ["Container", "open_container"]

_KILLED = 128 + 9


class Container:
    """A container; programs may be run in it from several threads."""

    def __init__(self, runner: StepRunner, work: Work, place: Place, around: Around) -> None:
        self._runner = runner
        self._place = place
        self._around = around
        self._emulation = runner.foreign.prepare(work.op.platform)
        self._first = _First()

    def tree(self, target: str) -> Path:
        """Return the files of the root ("/") or of what is mounted at `target`. Raises NotFound."""
        if target == "/":
            return self._place.draft.root
        for mount in self._place.mounted.mounts:
            if isinstance(mount, Bind) and mount.target == target:
                return Path(mount.source)
        raise NotFound(f"nothing that can be read is mounted at {target}")

    def run(
        self,
        op: ExecOp,
        talk: Talk,
        on_output: OnOutput,
        cancel: CancelToken,
        *,
        is_first: bool,
    ) -> Ended:
        """Run the program of `op`; of its mounts only secrets that are variables count, as the others are there already.

        One is the first, from whatever thread; the others wait until it has started.
        Raises as `Runtime.run`, NotFound for a secret that isn't there, and InputError for a container whose first
        program has ended.
        """
        try:
            step = self._step(op)
        except PolyarchError:
            if is_first:
                self._first.end()
            raise
        first = self._first
        if not is_first:
            return self._run_beside(first, step, talk, on_output, cancel)
        try:
            heard = replace(talk, on_started=lambda process: first.start(process, talk))
            return self._run(step, heard, on_output, cancel)
        finally:
            first.end()

    def close(self) -> None:
        """Let go of the first program, which has ended."""
        self._first.close()

    def _run(self, step: Step, talk: Talk, on_output: OnOutput, cancel: CancelToken) -> Ended:
        return self._runner.runtime.run(
            step, directory=self._place.directory, on_output=on_output, cancel=cancel, talk=talk
        )

    def _run_beside(
        self, first: _First, step: Step, talk: Talk, on_output: OnOutput, cancel: CancelToken
    ) -> Ended:
        talk = replace(talk, beside=first.wait(cancel))
        stop = CancelToken()
        forgets = [each.on_cancel(stop.cancel) for each in (cancel, first.gone)]
        try:
            return self._run(step, talk, on_output, stop)
        except Cancelled:
            # The kernel ends them as well, but where all share one PID namespace.
            cancel.check()
            return Ended(status=_KILLED)
        finally:
            for forget in forgets:
                forget()

    def _step(self, op: ExecOp) -> Step:
        secrets, mounted = self._runner.mounts.secrets, self._place.mounted
        env = {}
        for mount in op.mounts:
            if isinstance(mount, SecretMount) and mount.env:
                value = secrets.find(mount.id)
                if value is not None:
                    env[mount.env] = os.fsdecode(value)
                elif mount.required:
                    raise NotFound(f"secret {mount.id}: not found")
        mounted = replace(mounted, env={**mounted.env, **env})
        place = replace(self._place, mounted=mounted)
        return self._around.on(self._runner.step(op, place, self._emulation))


class _First:
    """The first program of a container: the others wait until it is there, and end with it."""

    def __init__(self) -> None:
        self.gone = CancelToken()
        self._known = threading.Event()
        self._process: int | None = None

    def start(self, process: int, talk: Talk) -> None:
        self._process = os.dup(process)
        self._known.set()
        if talk.on_started is not None:
            talk.on_started(process)

    def end(self) -> None:
        self.gone.cancel()
        self._known.set()

    def wait(self, cancel: CancelToken) -> int:
        """Return a descriptor of its process, once there is one. Raises Cancelled, InputError."""
        forget = cancel.on_cancel(self._known.set)
        self._known.wait()
        forget()
        cancel.check()
        if self._process is None or self.gone.cancelled:
            raise InputError("the first program of the container has ended")
        return self._process

    def close(self) -> None:
        if self._process is not None:
            os.close(self._process)


@contextmanager
def open_container(runner: StepRunner, work: Work) -> Iterator[Container]:
    """Yield a container of what an exec op mounts; no program may run in it any more when the block ends.

    Raises NotFound, InputError, Cancelled.
    """
    with runner.place(work) as place, runner.around(work, place, runner.log(work.vertex)) as around:
        container = Container(runner, work, place, around)
        try:
            yield container
        finally:
            container.close()
