"""Targets of a bake that are built on one another, on the same daemon: results are handed on as they are there.

A result is a graph of the daemon's own, and is handed to the frontend of the next target with the image's config, before any of
it is built. What it reads of this machine is read over the session of its own build, so that waits, before it exports
anything, until all that is built on it has ended.

Source: buildx's `build/build.go` (`waitContextDeps`, `linkedTargetState`).
"""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from grpclib.exceptions import GRPCError

from polyarch.buildkit.gateway import Gateway, Ref, Solved
from polyarch.buildkit.work import Asked, Steer
from polyarch.errors import Cancelled, PolyarchError
from polyarch.golang.json import compact

__all__ = ["Links", "linked_attributes"]

_CONFIG = "containerimage.config"
_INPUT = "input:"

Key = tuple[str, str]
"""A node, and a target that is built there."""


class Links:
    """What is linked, by target those that it is built on, and how far all of them are. May be used from many threads.

    `wake` is called whenever a target may begin that had to wait.
    """

    def __init__(self, bases: Mapping[str, Sequence[str]], wake: Callable[[], None]) -> None:
        self._bases = bases
        self._wake = wake
        self._solved: dict[Key, Solved] = {}
        self._evaluated: set[Key] = set()
        self._failed: set[Key] = set()
        self._ended: set[str] = set()
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()

    def is_linked(self, name: str, base: str) -> bool:
        """Tell whether a target gets what it's built on in this way."""
        return base in self._bases.get(name, ())

    def is_there(self, base: str, nodes: Sequence[str]) -> bool:
        """Tell whether nodes have a target's result, built or not."""
        with self._lock:
            return all((node, base) in self._solved for node in nodes)

    def end(self, name: str) -> None:
        """Note that a build has ended, however it did."""
        self._change(lambda: self._ended.add(name))

    def steer(self, node: str, name: str) -> Steer | None:
        """Return what asks for a target on a node; None if it's linked to nothing."""
        bases = self._bases.get(name, ())
        others = [each for each, below in self._bases.items() if name in below]
        if not bases and not others:
            return None

        async def steer(gateway: Gateway, asked: Asked) -> Solved:
            try:
                solved = await self._evaluate(gateway, asked, (node, name))
            except asyncio.CancelledError:
                self._change(lambda: self._failed.add((node, name)))
                raise
            except (GRPCError, PolyarchError):
                self._change(lambda: self._failed.add((node, name)))
                # Others may be reading over this build's session, whatever became of it.
                await self._until(lambda: self._ended.issuperset(others))
                raise
            await self._until(lambda: self._ended.issuperset(others))
            return solved

        return steer

    async def _evaluate(self, gateway: Gateway, asked: Asked, key: Key) -> Solved:
        """Ask for a result, have others know of it, and have it built once what it's built on has been."""
        node, name = key
        bases = self._bases.get(name, ())
        results = {each: self._solved[node, each] for each in bases}
        attributes, inputs = linked_attributes(asked.attributes, results)
        solved = await gateway.solve(asked.frontend, attributes, inputs)
        self._change(lambda: self._solved.update({key: solved}))
        await self._until(lambda: self._are_over(node, bases))
        if any((node, each) not in self._evaluated for each in bases):
            raise Cancelled("context canceled")  # by what became of the base, which says it
        for ref in solved.refs.values():
            if ref.id:
                await gateway.evaluate(ref)
        self._change(lambda: self._evaluated.add(key))
        return solved

    def _are_over(self, node: str, names: Sequence[str]) -> bool:
        over = self._evaluated | self._failed
        return all((node, each) in over or each in self._ended for each in names)

    def _change(self, change: Callable[[], object]) -> None:
        with self._lock:
            change()
            ready = [each for each in self._waiting if each.is_over()]
        for each in ready:
            each.wake()
        self._wake()

    async def _until(self, is_over: Callable[[], bool]) -> None:
        waiting = _Waiting(is_over)
        with self._lock:
            if is_over():
                return
            self._waiting.append(waiting)
        try:
            await waiting.event.wait()
        finally:
            with self._lock:
                self._waiting.remove(waiting)


class _Waiting:
    """A build that waits for others, in the loop of its own thread."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self.is_over = is_over
        self.event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def wake(self) -> None:
        with suppress(RuntimeError):  # the loop has ended: nobody waits any more
            self._loop.call_soon_threadsafe(self.event.set)


def linked_attributes(
    attributes: Mapping[str, str], results: Mapping[str, Solved]
) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return a frontend's attributes with results of other targets as its contexts, and their graphs by name.

    A result of several platforms is a context for each of them.
    """
    told = dict(attributes)
    inputs: dict[str, bytes] = {}
    for name, value in attributes.items():
        target = value.removeprefix(_INPUT)
        if not name.startswith("context:") or target == value or target not in results:
            continue
        del told[name]
        for platform, ref, config in _parts(results[target]):
            suffix = f"::{platform}" if platform else ""
            inputs[f"{target}{suffix}"] = ref.definition
            told[f"{name}{suffix}"] = f"{_INPUT}{target}{suffix}"
            if config:
                # Bytes are base64 in Go's JSON.
                metadata = {_CONFIG: base64.b64encode(config).decode()}
                told[f"input-metadata:{target}{suffix}"] = compact(metadata).decode()
    return told, inputs


def _parts(solved: Solved) -> Iterator[tuple[str, Ref, bytes]]:
    for platform, ref in (solved.refs or {"": Ref(id="", definition=b"")}).items():
        key = f"{_CONFIG}/{platform}" if platform else _CONFIG
        yield platform, ref, solved.metadata.get(key, b"")
