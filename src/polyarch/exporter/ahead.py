"""Compressing layers as soon as their steps have ended, while other steps run.

The blobs are those that an export asks for in the end, and are found by it: nothing here hands results on, and
whatever goes wrong here is met by the export again, where it can be told of.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from polyarch.digest import Digest
from polyarch.errors import PolyarchError
from polyarch.exporter.layers import CompressionChoice, LayerBlobs
from polyarch.graph.graph import Graph
from polyarch.graph.op import DiffOp, MergeOp, OutputOp
from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken
from polyarch.snapshot.stack import LayerStack

__all__ = ["Ahead", "vertices_of_layers"]

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


class Ahead:
    """Compresses in a thread of its own, which begins with the first layer and ends with the block, one by one."""

    def __init__(
        self, blobs: LayerBlobs, choices: Iterable[CompressionChoice], wanted: frozenset[Digest]
    ) -> None:
        self._blobs = blobs
        # Layers whose times are cut off aren't remembered.
        self._choices = tuple(dict.fromkeys(each for each in choices if each.latest is None))
        self._wanted = wanted
        self._cancel = CancelToken()
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
            self._cancel.cancel()
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
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with suppress(OSError):  # a matter of courtesy
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
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
                self._blobs.layer(stack, len(stack.layers) - 1, choice, self._cancel)
