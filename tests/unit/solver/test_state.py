"""The state machine, driven event by event. Whole solves are in test_solver.py."""

from __future__ import annotations

import pytest

from polyarch.digest import sha256
from polyarch.errors import InternalError
from polyarch.graph.graph import Graph
from polyarch.graph.vertex import Vertex
from polyarch.solver.event import (
    Command,
    Compare,
    ContentRead,
    Fetch,
    Fetched,
    Found,
    Identified,
    Identify,
    Load,
    Loaded,
    Lost,
    Missing,
    Query,
    Ran,
    ReadContent,
    Run,
)
from polyarch.solver.key import Content, Ingredients, InputPart, fast_key, slow_key
from polyarch.solver.node import State
from polyarch.solver.records import Record
from polyarch.solver.state import Machine
from tests.support.fakes.solving import Bench, CountingRunner

DIGEST = sha256(b"content")


def machine(*targets: Vertex) -> Machine:
    return Machine(Graph(targets=targets), CountingRunner().content_inputs)


def record(identity: str, result: str = "stored") -> Record:
    return Record(identity=identity, result=result, step="", explain="", created=0.0, last_used=0.0)


def kinds(commands: list[Command]) -> list[tuple[str, str]]:
    return [(type(command).__name__, command.vertex.name) for command in commands]


def parts(*parts: str | InputPart) -> tuple[InputPart, ...]:
    return tuple(InputPart(identity=part) if isinstance(part, str) else part for part in parts)


def seen(vertex: Vertex, inputs: tuple[InputPart, ...]) -> Ingredients:
    return Ingredients(op=vertex.cache_digest, inputs=inputs)


def found_step(bench: Bench) -> tuple[Machine, Vertex, Vertex]:
    """A machine whose one step was found by its fast key; the load was commanded."""
    image = bench.image("base")
    step = bench.run("step", image)
    it = machine(step)
    it.start()
    it.handle(Identified(vertex=image, identity="I"))
    it.handle(Found(vertex=step, record=record("S")))
    return it, image, step


def test_source_is_identified_then_loaded() -> None:
    image = Bench().image("base")
    it = machine(image)

    assert it.start() == [Identify(vertex=image)]
    assert it.handle(Identified(vertex=image, identity="I")) == [Load(vertex=image, stored="I")]
    assert it.handle(Loaded(vertex=image)) == []
    assert it.done
    assert it.identities() == {image.digest: "I"}


def test_source_that_is_not_here_is_fetched() -> None:
    image = Bench().image("base")
    it = machine(image)
    it.start()
    it.handle(Identified(vertex=image, identity="I"))

    assert it.handle(Lost(vertex=image)) == [Fetch(vertex=image)]
    assert it.state_of(image) is State.RUNNING
    assert it.handle(Fetched(vertex=image)) == []
    assert it.done


def test_fast_hit_loads_the_target_and_nothing_else() -> None:
    bench = Bench()
    image = bench.image("base")
    step = bench.run("step", image)
    it = machine(step)
    it.start()
    key = fast_key(step, parts("I"))
    assert key is not None

    asked = Query(vertex=step, keys=(key,), ingredients=seen(step, parts("I")))
    assert it.handle(Identified(vertex=image, identity="I")) == [asked]
    assert it.handle(Found(vertex=step, record=record("S"))) == [
        Load(vertex=step, stored="stored", record=record("S"))
    ]
    assert it.handle(Loaded(vertex=step)) == []
    assert it.state_of(image) is State.KNOWN


def test_miss_without_content_inputs_goes_straight_to_inputs() -> None:
    bench = Bench()
    image = bench.image("base")
    step = bench.run("step", image)
    it = machine(step)
    it.start()
    it.handle(Identified(vertex=image, identity="I"))

    assert kinds(it.handle(Missing(vertex=step))) == [("Load", "base")]
    assert it.state_of(step) is State.INPUTS
    key = fast_key(step, parts("I"))
    assert key is not None
    assert it.handle(Loaded(vertex=image)) == [
        Run(
            vertex=step,
            keys=(key,),
            recheck=True,
            ingredients=Ingredients(op=step.cache_digest, inputs=parts("I")),
        )
    ]
    assert it.handle(Ran(vertex=step, identity="S")) == []
    assert it.done


def test_copy_from_a_directory_has_only_the_slow_key() -> None:
    bench = Bench()
    image, local = bench.image("base"), bench.local()
    copy = bench.copy("copy", image, local)
    it = machine(copy)
    it.start()
    it.handle(Identified(vertex=image, identity="I"))

    assert kinds(it.handle(Identified(vertex=local, identity="L"))) == [("Load", "context")]
    assert kinds(it.handle(Lost(vertex=local))) == [("Fetch", "context")]
    assert it.handle(Fetched(vertex=local)) == [ReadContent(vertex=copy, index=1)]
    inputs = parts("I", InputPart(identity="L", content=DIGEST))
    key = slow_key(copy, inputs)
    assert key is not None
    assert it.handle(ContentRead(vertex=copy, index=1, content=Content(digest=DIGEST))) == [
        Query(vertex=copy, keys=(key,), ingredients=seen(copy, inputs))
    ]
    assert kinds(it.handle(Found(vertex=copy, record=record("C")))) == [("Load", "copy")]
    assert it.state_of(image) is State.KNOWN


def test_slow_query_carries_the_fast_key_along() -> None:
    bench = Bench()
    image, other = bench.image("base"), bench.image("other")
    copy = bench.copy("copy", image, other)
    it = machine(copy)
    it.start()
    it.handle(Identified(vertex=image, identity="I"))
    it.handle(Identified(vertex=other, identity="O"))
    it.handle(Missing(vertex=copy))
    it.handle(Loaded(vertex=other))
    [query] = it.handle(ContentRead(vertex=copy, index=1, content=Content(digest=DIGEST)))

    fast = fast_key(copy, parts("I", "O"))
    slow = slow_key(copy, parts("I", InputPart(identity="O", content=DIGEST)))
    assert isinstance(query, Query)
    assert query.keys == (fast, slow)


def alike_copy() -> tuple[Machine, Vertex, Vertex, list[Command]]:
    """A machine whose copy has read an input, but not all of it; with the commands that follow."""
    bench = Bench()
    image, other = bench.image("base"), bench.image("other")
    copy = bench.copy("copy", image, other)
    it = machine(copy)
    it.start()
    it.handle(Identified(vertex=image, identity="I"))
    it.handle(Identified(vertex=other, identity="O"))
    it.handle(Missing(vertex=copy))
    it.handle(Loaded(vertex=other))
    content = Content(digest=DIGEST, is_whole=False)
    return it, image, copy, it.handle(ContentRead(vertex=copy, index=1, content=content))


def test_what_was_not_read_as_a_whole_is_compared() -> None:
    it, image, copy, commands = alike_copy()

    part = InputPart(identity="O", content=DIGEST, is_whole=False)
    keys = fast_key(copy, parts("I", "O")), slow_key(copy, parts("I", part))
    ingredients = Ingredients(op=copy.cache_digest, inputs=parts("I", part))
    assert commands == [Compare(vertex=copy, keys=keys, ingredients=ingredients)]  # type: ignore[arg-type]
    assert it.state_of(copy) is State.SLOW
    assert kinds(it.handle(Found(vertex=copy, record=record("C")))) == [("Load", "copy")]
    assert it.state_of(image) is State.KNOWN


def test_what_is_like_nothing_runs_without_having_been_read() -> None:
    it, image, copy, [compare] = alike_copy()

    assert kinds(it.handle(Missing(vertex=copy))) == [("Load", "base")]
    [run] = it.handle(Loaded(vertex=image))
    assert isinstance(compare, Compare)
    assert run == Run(vertex=copy, keys=compare.keys, recheck=True, ingredients=compare.ingredients)


def test_record_of_a_step_that_ran_is_a_fact() -> None:
    it, image, step = found_step(Bench())
    it.handle(Lost(vertex=step))
    it.handle(Loaded(vertex=image))
    it.handle(Ran(vertex=step, identity="S", record=record("S", "new")))

    assert it.facts(step).record == record("S", "new")


def test_lost_result_runs_with_its_inputs() -> None:
    it, image, step = found_step(Bench())

    assert kinds(it.handle(Lost(vertex=step))) == [("Load", "base")]
    [run] = it.handle(Loaded(vertex=image))
    assert isinstance(run, Run)
    assert run.recheck


def test_result_lost_after_the_recheck_is_not_looked_for_again() -> None:
    it, image, step = found_step(Bench())
    it.handle(Lost(vertex=step))
    it.handle(Loaded(vertex=image))
    assert kinds(it.handle(Found(vertex=step, record=record("T")))) == [("Load", "step")]

    [run] = it.handle(Lost(vertex=step))
    assert isinstance(run, Run)
    assert not run.recheck


def test_ignored_cache_digests_for_the_record_but_never_asks() -> None:
    bench = Bench()
    image, local = bench.image("base"), bench.local()
    copy = bench.copy("copy", image, local, ignore_cache=True)
    it = machine(copy)
    it.start()
    it.handle(Identified(vertex=image, identity="I"))
    it.handle(Identified(vertex=local, identity="L"))
    assert it.handle(Loaded(vertex=local)) == [ReadContent(vertex=copy, index=1)]

    assert kinds(it.handle(ContentRead(vertex=copy, index=1, content=Content(digest=DIGEST)))) == [
        ("Load", "base")
    ]
    [run] = it.handle(Loaded(vertex=image))
    assert isinstance(run, Run)
    assert (len(run.keys), run.recheck) == (1, False)


def test_one_of_two_equal_vertices_ignores_the_cache_so_both_do() -> None:
    bench = Bench()
    image = bench.image("base")
    it = machine(bench.run("step", image), bench.run("step", image, ignore_cache=True))
    it.start()

    assert kinds(it.handle(Identified(vertex=image, identity="I"))) == [("Load", "base")]


def test_new_identity_of_a_lost_input_is_waited_for() -> None:
    bench = Bench()
    image, local = bench.image("base"), bench.local()
    lost = bench.run("lost", image)
    eager = bench.run("eager", lost)
    patient = bench.copy("patient", lost, local)
    it = machine(eager, patient)
    it.start()
    it.handle(Identified(vertex=image, identity="I"))
    it.handle(Identified(vertex=local, identity="L"))
    it.handle(Found(vertex=lost, record=record("old")))
    it.handle(Missing(vertex=eager))
    it.handle(Lost(vertex=lost))
    it.handle(Loaded(vertex=local))

    assert it.handle(ContentRead(vertex=patient, index=1, content=Content(digest=DIGEST))) == []
    it.handle(Loaded(vertex=image))
    commands = it.handle(Ran(vertex=lost, identity="new"))
    inputs = parts("new", InputPart(identity="L", content=DIGEST))
    key = slow_key(patient, inputs)
    assert key is not None
    assert Query(vertex=patient, keys=(key,), ingredients=seen(patient, inputs)) in commands


def test_image_of_a_waiting_step_is_loaded_while_another_runs() -> None:
    bench = Bench()
    tools, base = bench.image("tools"), bench.image("base")
    compiled = bench.run("compile", tools)
    it = machine(bench.copy("copy", base, compiled))
    it.start()
    it.handle(Identified(vertex=base, identity="B"))
    it.handle(Identified(vertex=tools, identity="T"))

    assert kinds(it.handle(Missing(vertex=compiled))) == [("Load", "tools"), ("Load", "base")]


def test_event_that_does_not_fit_is_a_bug() -> None:
    image = Bench().image("base")
    it = machine(image)
    it.start()

    with pytest.raises(InternalError, match="Ran doesn't fit 'base' in state identifying"):
        it.handle(Ran(vertex=image, identity="I"))


def test_vertex_that_stands_still_is_a_bug() -> None:
    bench = Bench()
    image = bench.image("base")
    step = bench.run("step", image)
    it = machine(step)
    it.start()
    it._nodes[step.digest].users.clear()
    it._nodes[image.digest].users.clear()

    with pytest.raises(InternalError, match="nothing goes on at all"):
        it.handle(Identified(vertex=image, identity="I"))


@pytest.mark.parametrize(
    ("name", "under_way", "state"),
    [("step", 0, "loading"), ("base", 1, "known")],
    ids=["a command that got lost", "a command for a vertex at rest"],
)
def test_what_stands_still_is_a_bug(name: str, under_way: int, state: str) -> None:
    it, *vertices = found_step(Bench())
    (vertex,) = (each for each in vertices if each.name == name)
    it._nodes[vertex.digest].under_way = under_way
    it._agenda.append(it._nodes[vertex.digest])

    with pytest.raises(InternalError, match=f"nothing goes on for '{name}' in state {state}"):
        it._dispatch()


def test_no_targets_are_done_at_once() -> None:
    it = machine()

    assert it.start() == []
    assert it.done
