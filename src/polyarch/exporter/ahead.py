"""Compressing layers as soon as their steps have ended, while other steps run, which go first.

Once an export waits, nothing goes first any more. Only root may give a thread its priority back. Where that can't be, a
layer that is less than half done is left to the export, which begins anew: on a machine that is busy a tenth of a
processor is all that the thread would get for the rest.

The blobs are those that an export asks for in the end, and are found by it: nothing here hands results on, and
whatever goes wrong here is met by the export again, where it can be told of.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from polyarch.digest import Digest
from polyarch.errors import PolyarchError
from polyarch.exporter.layers import CompressionChoice, LayerBlobs
from polyarch.graph.graph import Graph
from polyarch.graph.op import DiffOp, MergeOp, OutputOp
from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken, Count
from polyarch.record import replace
from polyarch.snapshot.stack import LayerStack

__all__ = ["Ahead", "hasten", "vertices_of_layers"]

_LOWEST = 19
_NICE = 10
"""Steps go first: what is compressed is only needed when they have ended."""


def vertices_of_layers(graph: Graph) -> frozenset[Digest]:
    """Return the vertices whose results have layers of the graph's targets on top."""
    found: set[Digest] = set()
    todo = list(graph.targets)
    while todo:
        vertex = todo.pop()
        if vertex.digest not in found:
            found.add(vertex.digest)
            if isinstance(vertex.op, MergeOp):
                todo += vertex.inputs
            elif not isinstance(vertex.op, DiffOp | OutputOp):
                todo += vertex.inputs[:1]
    return frozenset(found)


def hasten(courteous: int, usual: int) -> bool:
    """Give the threads of this process that have the priority `courteous` the usual one; return whether that may be."""
    if os.path.realpath("/proc/self") != f"/proc/{os.getpid()}":
        return False  # processes have other numbers there
    try:
        for number in map(int, os.listdir("/proc/self/task")):
            with suppress(ProcessLookupError):
                if os.getpriority(os.PRIO_PROCESS, number) == courteous:
                    os.setpriority(os.PRIO_PROCESS, number, usual)
    except OSError:
        return False
    return True


class Ahead:
    """Compresses in a thread of its own, which begins with the first layer and ends with the block, one by one."""

    def __init__(
        self,
        blobs: LayerBlobs,
        choices: Iterable[CompressionChoice],
        wanted: frozenset[Digest],
        *,
        hasten: Callable[[int, int], bool] = hasten,
    ) -> None:
        self._blobs = replace(blobs, counted=self._counted)
        self._shown = blobs.counted
        self._hasten = hasten
        self._usual = os.getpriority(os.PRIO_PROCESS, 0)
        self._courteous = min(_LOWEST, self._usual + _NICE)
        self._done = self._total = 0
        # Layers whose times are cut off aren't remembered.
        self._choices = tuple(dict.fromkeys(each for each in choices if each.latest is None))
        self._wanted = wanted
        self.cancel = CancelToken()
        """Ends what is being compressed."""
        self._waiting: deque[LayerStack] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.cancel.cancel()
        self.finish()

    def made(self, vertex: Vertex, result: object) -> None:
        """Take the result of a step that has ended; called from any thread."""
        if not self._choices or vertex.digest not in self._wanted:
            return
        if not isinstance(result, LayerStack) or not result.layers:
            return
        with self._changed:
            if self._ended:
                return
            self._waiting.append(result)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="compress-ahead")
                self._thread.start()
            self._changed.notify_all()

    def finish(self) -> None:
        """Wait for the layer that is being compressed; those that wait for their turn are left to the export."""
        with self._changed:
            self._ended = True
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread is None:
            return
        if not self._hasten(self._courteous, self._usual) and 2 * self._done < self._total:
            self.cancel.cancel()
        self._thread.join()

    @contextmanager
    def _counted(self, part: str, total: Callable[[], int]) -> Iterator[Count]:
        with self._shown(part, total) as count:
            self._done, self._total = 0, total()

            def counting(size: int) -> None:
                self._done += size
                count(size)

            yield counting

    def _run(self) -> None:
        with suppress(OSError):  # a matter of courtesy
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._courteous)
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._changed.wait()
                if not self._waiting:
                    return
                stack = self._waiting.popleft()
            self._compress(stack, self._choices)

    def _compress(self, stack: LayerStack, choices: Sequence[CompressionChoice]) -> None:
        with suppress(PolyarchError):
            for choice in choices:
                self._blobs.layer(stack, len(stack.layers) - 1, choice, self.cancel)
