"""Records of single steps at an address: pushed, looked up ahead and one by one, and what trouble costs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import pytest

from polyarch.caches.form import CachedLayer
from polyarch.caches.pushing import Pushed, Pusher
from polyarch.caches.stepreader import StepReader
from polyarch.caches.steps import StepCache
from polyarch.caches.stepstore import StepStore
from polyarch.digest import DiffID, sha256
from polyarch.errors import Cancelled, RemoteError
from polyarch.graph.graph import Graph
from polyarch.graph.vertex import Vertex
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_LAYER_GZIP
from polyarch.progress import CancelToken
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.snapshot.stack import LayerRef, LayerStack
from polyarch.solver.key import Ingredients, InputPart
from polyarch.solver.records import Record
from polyarch.worker.worker import content_inputs
from tests.support.fakes.places import MemoryPlace
from tests.support.fakes.solving import Bench

CONTENT = sha256(b"content")


class Layers:
    """Has the layers of all snapshots that weren't `gone`."""

    def __init__(self) -> None:
        self.hints: dict[SnapshotID, str] = {}
        self.gone: set[str] = set()
        self.on_bytes: Callable[[int], None] = lambda _size: None
        self.on_progress: Callable[[], None] = lambda: None

    def push(self, stack: LayerStack) -> tuple[CachedLayer, ...] | None:
        if self.gone & set(stack.snapshots):
            return None
        self.on_bytes(3)
        return tuple(layer(each.snapshot) for each in stack.layers)


def layer(snapshot: str) -> CachedLayer:
    blob = Descriptor(media_type=OCI_LAYER_GZIP, digest=sha256(snapshot.encode()), size=3)
    return CachedLayer(blob=blob, diff_id=DiffID(blob.digest), created=1.0)


class Machine:
    """A machine that reads and writes the records of one address, for one solve."""

    def __init__(
        self, place: MemoryPlace, *targets: Vertex, seconds: float = 60.0, is_anew: bool = False
    ) -> None:
        self.layers = Layers()
        self.places: dict[str, Mapping[int, tuple[str, ...]]] = {}
        store = StepStore(place=place, source=place.name)
        self.cancel = CancelToken()
        self.reader = StepReader(store, self.cancel, seconds)
        self.pusher = Pusher(store, self.layers, lambda _stack: {1: ("large",)}, self.cancel)  # type: ignore[arg-type]
        self.cache = StepCache(
            Graph(targets=targets),
            [self.reader],
            [self.pusher],
            content_inputs,
            self.places,
            is_anew=is_anew,
        )
        for vertex in Graph(targets=targets).vertices():
            if not vertex.inputs:
                self.cache.identified(vertex, f"image:{vertex.name}")

    def run(self, vertex: Vertex, *parts: InputPart, seconds: float = 1.0) -> Record:
        record = made(vertex, *parts)
        self.cache.ran(vertex, record, seconds)
        return record

    def find(self, vertex: Vertex, *parts: InputPart) -> Record | None:
        record = self.cache.find(vertex, ingredients(vertex, *parts))
        if record is not None:
            self.cache.found(vertex, record)
        return record

    def end(self, seconds: float = 10.0) -> Pushed:
        try:
            return self.pusher.finish(seconds, lambda: None)
        finally:
            self.reader.end()


def ingredients(vertex: Vertex, *parts: InputPart) -> Ingredients:
    given = parts or tuple(InputPart(identity="local") for _ in vertex.inputs)
    return Ingredients(op=vertex.cache_digest, inputs=given)


def made(vertex: Vertex, *parts: InputPart) -> Record:
    now = time.time()
    stack = LayerStack(layers=(LayerRef(snapshot=SnapshotID(f"step-{vertex.name}")),))
    return Record(
        identity=f"sha256:{vertex.name}",
        result=stack.to_json(),
        step=vertex.name,
        explain=ingredients(vertex, *parts).to_json(),
        created=now,
        last_used=now,
    )


@pytest.fixture
def place() -> MemoryPlace:
    return MemoryPlace()


def chain(length: int) -> list[Vertex]:
    bench = Bench()
    steps = [bench.image("base")]
    for number in range(length):
        steps.append(bench.run(f"step{number}", steps[-1]))
    return steps[1:]


def test_what_one_machine_made_another_one_finds(place: MemoryPlace) -> None:
    steps = chain(3)
    first = Machine(place, steps[-1])
    for step in steps:
        assert first.find(step) is None
        first.run(step)
    assert first.end() == Pushed(steps=3, size=9)
    # What ran isn't asked for above.
    assert sum(each.startswith("load") for each in place.asked) <= 2 * 3

    other = Machine(place, steps[-1])
    found = [other.find(step) for step in steps]

    assert [record.step for record in found if record] == ["step0", "step1", "step2"]
    stack = LayerStack.from_json(found[0].result if found[0] else "")
    assert stack.layers[0].sources == (place.name,)
    assert other.end() == Pushed()
    gain = other.reader.end()
    assert (gain.steps, gain.seconds, gain.size, gain.trouble) == (3, 3.0, 9, "")


def test_records_are_asked_for_ahead(place: MemoryPlace) -> None:
    steps = chain(40)
    first = Machine(place, steps[-1])
    for step in steps:
        first.run(step)
    first.end()
    place.asked.clear()
    gate, waiting = threading.Event(), []

    def wait(request: str) -> None:
        waiting.append(request)
        if len(waiting) == 8:
            gate.set()
        assert gate.wait(10.0)

    place.before = wait
    other = Machine(place, steps[-1])

    # Eight are under way before the first is answered, and each is asked for once.
    assert all(map(other.find, steps))
    assert len(place.asked) == len(set(place.asked)) == 40
    other.end()


def test_results_that_the_store_had_are_pushed_unless_they_are_there(place: MemoryPlace) -> None:
    (step,) = chain(1)
    for expected in (1, 0):
        machine = Machine(place, step)
        machine.cache.found(step, made(step))
        assert machine.end().steps == expected
    machine = Machine(place, chain(1)[0])
    machine.layers.gone.add("step-step0")
    place.tags.clear()
    machine.cache.found(step, made(step))
    assert machine.end().steps == 0


def test_a_copy_is_found_by_what_it_reads(place: MemoryPlace) -> None:
    def copied(name: str) -> tuple[Vertex, Vertex]:
        bench = Bench()
        source = bench.run(name, bench.image("base"))
        return source, bench.copy("copy", bench.image("other"), source)

    parts = (InputPart(identity="local"), InputPart(identity="local", content=CONTENT))
    source, copy = copied("made so")
    first = Machine(place, copy)
    first.run(source)
    first.run(copy, *parts)
    first.end()
    source, copy = copied("made otherwise")
    other = Machine(place, copy)
    other.run(source)

    assert other.find(copy) is None
    found = other.find(copy, *parts)

    assert found is not None
    assert found.step == "copy"
    other.end()


def test_what_looks_alike_is_a_candidate(place: MemoryPlace) -> None:
    bench = Bench()
    source = bench.run("source", bench.image("base"))
    copy = bench.copy("copy", bench.image("other"), source)
    parts = (
        InputPart(identity="local"),
        InputPart(identity="local", content=CONTENT, is_whole=False),
    )
    first = Machine(place, copy)
    first.run(source)
    first.run(copy, *parts)
    first.end()

    other = Machine(place, copy)
    other.cache.ran(source, made(source), 1.0)
    found = other.cache.find_alike(copy, ingredients(copy, *parts))

    assert [record.step for record in found.values()] == ["copy"]
    assert list(other.places.values()) == [{1: ("large",)}]
    other.end()


def test_a_result_that_was_lost_is_written_anew(place: MemoryPlace) -> None:
    (step,) = chain(1)
    machine = Machine(place, step)
    machine.run(step)
    machine.end()
    other = Machine(place, step)
    record = other.find(step)
    assert record is not None
    other.cache.lost(step, record)
    other.run(step)

    assert other.end().steps == 1
    assert other.reader.end().steps == 0


def test_without_the_cache_nothing_is_found_and_all_is_written(place: MemoryPlace) -> None:
    (step,) = chain(1)
    machine = Machine(place, step)
    machine.run(step)
    machine.end()
    anew = Machine(place, step, is_anew=True)

    assert anew.find(step) is None
    anew.run(step)
    assert anew.end().steps == 1


def test_an_address_that_fails_is_asked_once(place: MemoryPlace) -> None:
    steps = chain(3)
    place.before = _failing
    machine = Machine(place, steps[-1])

    for step in steps:
        assert machine.find(step) is None
        machine.run(step)

    pushed = machine.end()
    assert (pushed.steps, pushed.left, pushed.trouble) == (0, 3, "no route")
    assert machine.reader.end().trouble == "no route"


def _failing(_request: str) -> None:
    raise RemoteError("no route")


def test_an_address_that_hangs_costs_the_budget_and_no_more(place: MemoryPlace) -> None:
    (step,) = chain(1)
    gate = threading.Event()

    def hang(_request: str) -> None:
        gate.wait()

    place.before = hang
    machine = Machine(place, step, seconds=0.0)

    assert machine.find(step) is None
    assert machine.find(step) is None
    machine.run(step)
    pushed = machine.end(0.0)

    assert (pushed.left, pushed.trouble) == (1, "it doesn't answer")
    assert machine.reader.end().trouble == "it didn't answer in time"
    gate.set()


def test_what_is_no_record_is_not_believed(place: MemoryPlace) -> None:
    (step,) = chain(1)
    machine = Machine(place, step)
    machine.run(step)
    machine.end()
    ((tag, (descriptor, data)),) = place.tags.items()
    place.tags[tag] = descriptor, data.replace(b"dev.polyarch.step", b"dev.polyarch.other")
    other = Machine(place, step)

    assert other.find(step) is None
    assert "is no record of a step" in other.reader.end().trouble
    other.end()


def test_a_lookup_ends_when_the_build_is_cancelled(place: MemoryPlace) -> None:
    (step,) = chain(1)
    gate = threading.Event()
    machine = Machine(place, step)

    def cancel(_request: str) -> None:
        machine.cancel.cancel()
        gate.wait()

    place.before = cancel
    with pytest.raises(Cancelled):
        machine.find(step)
    gate.set()
    machine.end()
