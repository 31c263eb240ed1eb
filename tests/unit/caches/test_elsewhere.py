"""Caches that were read as a whole: their results are found above those that the store has under names of its own."""

from __future__ import annotations

import time

from polyarch.caches.elsewhere import ImportedResults, Several
from polyarch.caches.names import Names, name_of_diffs
from polyarch.digest import DiffID, sha256
from polyarch.graph.vertex import Vertex
from polyarch.snapshot.stack import LayerStack
from polyarch.solver.key import CacheKey, Ingredients, InputPart, candidate_key
from polyarch.solver.records import Record
from tests.support.fakes.solving import Bench

DIFF = DiffID(sha256(b"layer"))


def record(vertex: Vertex, identity: str, result: str = "[]") -> Record:
    now = time.time()
    return Record(
        identity=identity,
        result=result,
        step=vertex.name,
        explain=local(vertex).to_json(),
        created=now,
        last_used=now,
    )


def local(vertex: Vertex) -> Ingredients:
    parts = tuple(
        InputPart(identity=f"of this store {number}") for number in range(len(vertex.inputs))
    )
    return Ingredients(op=vertex.cache_digest, inputs=parts)


def key_of(vertex: Vertex, *names: str) -> CacheKey:
    """Return the key that a cache has a step under whose inputs it calls so."""
    known = Names()
    for source, name in zip(vertex.inputs, names, strict=True):
        known[source] = name
    keys = known.keys(vertex, local(vertex))
    assert keys is not None
    return keys.certain


def chain() -> tuple[Vertex, Vertex, Vertex]:
    bench = Bench()
    base = bench.image("base")
    first = bench.run("first", base)
    return base, first, bench.run("second", first)


def test_a_step_above_one_that_the_store_had_is_found() -> None:
    base, first, second = chain()
    theirs = {
        key_of(first, "image"): record(first, "layers:first"),
        key_of(second, "layers:first"): record(second, "layers:second"),
    }
    results = ImportedResults(theirs, lambda _stack: None)
    results.identified(base, "image")

    results.found(first, record(first, "sha256:random"))

    found = results.find(second, local(second))
    assert found is not None
    assert found.identity == "layers:second"
    results.lost(second, found)
    assert results.find(second, local(second)) is None


def test_a_step_above_one_that_came_out_the_same_is_found() -> None:
    base, first, second = chain()
    name = name_of_diffs([DIFF])
    results = ImportedResults(
        {key_of(second, name): record(second, "key:x")}, lambda _stack: [DIFF]
    )
    results.identified(base, "image")

    results.ran(first, record(first, "sha256:random", LayerStack().to_json()), 1.0)

    assert results.find(second, local(second)) is not None


def test_candidates_are_found_by_names_of_the_cache() -> None:
    bench = Bench()
    copy = bench.copy("copy", bench.image("base"), bench.run("made", bench.image("other")))
    parts = (InputPart(identity="x"), InputPart(identity="y", content=sha256(b""), is_whole=False))
    asked = Ingredients(op=copy.cache_digest, inputs=parts)
    names = Names()
    names[copy.inputs[0]] = "image"
    keys = names.keys(copy, asked)
    assert keys is not None
    theirs = record(copy, "layers:copy")
    results = ImportedResults(
        {candidate_key(keys.alike[0], "layers:copy"): theirs}, lambda _stack: None
    )
    results.identified(copy.inputs[0], "image")

    assert results.find_alike(copy, asked) == {"layers:copy": theirs}
    assert Several.of((None, results)) is results
    assert Several.of(()) is None


def test_several_are_asked_in_turn() -> None:
    base, first, _ = chain()
    key = key_of(first, "image")
    one = ImportedResults({}, lambda _stack: None)
    two = ImportedResults({key: record(first, "key:two")}, lambda _stack: None)
    both = Several.of((one, two))
    assert both is not None
    both.identified(base, "image")

    found = both.find(first, local(first))

    assert found is not None
    both.found(first, found)
    both.ran(first, found, 1.0)
    assert not both.is_far
    assert both.find_alike(first, local(first)) == {}
    both.lost(first, found)
    assert both.find(first, local(first)) is None
