"""Layers compressed as their steps end: those that images need, and no others."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polyarch.exporter.ahead import Ahead, hasten, vertices_of_layers
from polyarch.exporter.layers import CompressionChoice, LayerBlobs
from polyarch.graph.graph import Graph, GraphMaker
from polyarch.graph.op import ExecOp, MergeOp
from polyarch.graph.vertex import Vertex
from polyarch.layer.kinds import Compression
from polyarch.progress import CancelToken, Count
from polyarch.record import replace
from tests.support.images.exports import AMD64, Results

GZIP = CompressionChoice()


MAKER = GraphMaker()


def vertex(name: str, *inputs: Vertex) -> Vertex:
    op = ExecOp(argv=(name,), platform=AMD64, cwd="/", env=(), user="")
    return MAKER.add(op, inputs, name=name)


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Results]:
    made = Results(tmp_path / "store")
    yield made
    made.store.close()


def announcing(results: Results, number: int, done: threading.Event) -> LayerBlobs:
    """Return what makes blobs and tells when it has made so many."""
    made: list[str] = []

    @contextmanager
    def counted(part: str, _total: Callable[[], int]) -> Iterator[Count]:
        yield lambda _size: None
        made.append(part)
        if len(made) == number:
            done.set()

    return replace(results.blobs, counted=counted)


def blobs_of(results: Results) -> set[str]:
    return {blob.compression for blob in results.store.layers.all()}


def test_which_steps_make_layers() -> None:
    base, beside = vertex("base"), vertex("beside")
    first = vertex("first", base, beside)
    linked = vertex("linked", vertex("scratch"), beside)
    last = MAKER.add(MergeOp(), (first, linked), name="last")

    found = vertices_of_layers(Graph(targets=(last,)))

    wanted = {each.digest for each in (base, first, linked, last, *linked.inputs[:1])}
    assert found == wanted


def test_a_layer_is_there_when_the_export_wants_it(results: Results) -> None:
    step, stack, done = vertex("step"), results.stack({"f": "1"}), threading.Event()
    choices = [GZIP, CompressionChoice(kind=Compression.ZSTD), GZIP]

    with Ahead(announcing(results, 2, done), choices, frozenset({step.digest})) as ahead:
        ahead.made(step, stack)
        assert done.wait(20)

    digest = results.blobs.layer(stack, 0, GZIP, CancelToken()).descriptor.digest
    assert results.store.blobs.has(digest)
    assert blobs_of(results) == {"gzip", "zstd"}


@pytest.mark.parametrize("choices", [[], [CompressionChoice(latest=1)]])
def test_nothing_is_made_that_nobody_keeps(
    results: Results, choices: list[CompressionChoice]
) -> None:
    step = vertex("step")

    with Ahead(results.blobs, choices, frozenset({step.digest})) as ahead:
        ahead.made(step, results.stack({"f": "1"}))

    assert blobs_of(results) == set()


def test_other_steps_are_left_alone(results: Results) -> None:
    with Ahead(results.blobs, [GZIP], frozenset()) as ahead:
        ahead.made(vertex("beside"), results.stack({"f": "1"}))

    assert blobs_of(results) == set()


def test_what_goes_wrong_is_left_to_the_export(results: Results) -> None:
    step, stack = vertex("step"), results.stack({"f": "1"})
    results.snapshotter.remove(stack.layers[0].snapshot)

    with Ahead(results.blobs, [GZIP], frozenset({step.digest})) as ahead:
        ahead.made(step, stack)

    assert blobs_of(results) == set()


def stopping(results: Results, begun: threading.Event, go_on: threading.Event) -> LayerBlobs:
    """Return what makes blobs and stops at the first bytes of a layer until it may go on."""

    @contextmanager
    def counted(_part: str, _total: Callable[[], int]) -> Iterator[Count]:
        def count(_size: int) -> None:
            begun.set()
            assert go_on.wait(20)

        yield count

    return replace(results.blobs, counted=counted)


@pytest.mark.parametrize("may_hasten", [True, False])
def test_an_export_does_not_wait_for_what_has_hardly_begun_and_is_slow(
    results: Results, may_hasten: bool
) -> None:
    step, stack = vertex("step"), results.stack({"a": "1" * (3 << 20), "b": "2" * (3 << 20)})
    begun, go_on = threading.Event(), threading.Event()

    def hastened(courteous: int, usual: int) -> bool:
        assert courteous == min(19, usual + 10)
        if may_hasten:
            go_on.set()
        return may_hasten

    blobs = stopping(results, begun, go_on)
    with Ahead(blobs, [GZIP], frozenset({step.digest}), hasten=hastened) as ahead:
        ahead.cancel.on_cancel(go_on.set)
        ahead.made(step, stack)
        assert begun.wait(20)

    assert blobs_of(results) == ({"gzip"} if may_hasten else set())


def test_threads_get_their_priority_back_where_that_may_be() -> None:
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    ready, asked = threading.Event(), threading.Event()
    seen: list[int] = []

    def work() -> None:
        own = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own, usual + 1)
        ready.set()
        assert asked.wait(20)
        seen.append(os.getpriority(os.PRIO_PROCESS, own))

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(20)
    may = hasten(usual + 1, usual)
    asked.set()
    thread.join()

    assert seen == [usual if may else usual + 1]
