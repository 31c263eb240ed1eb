from __future__ import annotations

from polyarch.digest import sha256
from polyarch.solver.key import (
    CacheKey,
    Ingredients,
    InputPart,
    candidate_key,
    fast_key,
    has_lasting_identity,
    slow_key,
)
from tests.support.fakes.solving import Bench

A, B = (InputPart(identity=name) for name in "AB")
READ = InputPart(identity="R", content=sha256(b"read"))


def test_fast_key_depends_on_op_and_identities() -> None:
    bench = Bench()
    image = bench.image("image")
    one, two = bench.run("one", image), bench.run("two", image)

    assert fast_key(one, [A]) == fast_key(one, [A])
    assert len({fast_key(one, [A]), fast_key(one, [B]), fast_key(two, [A])}) == 3


def test_fast_key_does_not_depend_on_where_inputs_come_from() -> None:
    bench = Bench()
    on_image = bench.run("one", bench.image("image"))
    on_step = bench.run("one", bench.run("zero", bench.image("other")))

    assert fast_key(on_image, [A]) == fast_key(on_step, [A])


def test_fast_key_leaves_contents_out() -> None:
    bench = Bench()
    copy = bench.copy("copy", bench.image("image"), bench.image("other"))

    assert fast_key(copy, [A, READ]) == fast_key(copy, [A, InputPart(identity="R")])


def test_slow_key_takes_content_in_place_of_identity() -> None:
    bench = Bench()
    copy = bench.copy("copy", bench.image("image"), bench.local())
    elsewhere = InputPart(identity="elsewhere", content=READ.content)

    assert slow_key(copy, [A, READ]) == slow_key(copy, [A, elsewhere])
    assert slow_key(copy, [A, READ]) != slow_key(copy, [B, READ])
    assert slow_key(copy, [A, READ]) != fast_key(copy, [A, READ])


def test_content_is_never_taken_for_an_identity() -> None:
    bench = Bench()
    copy = bench.copy("copy", bench.image("image"), bench.image("other"), bench.image("third"))
    named = InputPart(identity=READ.content or "")

    assert slow_key(copy, [A, READ, named]) != slow_key(copy, [A, named, READ])


def test_directory_has_no_place_in_a_fast_key() -> None:
    bench = Bench()
    local = bench.local()
    copy = bench.copy("copy", bench.image("image"), local)

    assert not has_lasting_identity(local)
    assert fast_key(copy, [A, READ]) is None


def test_no_slow_key_without_content_or_with_a_directory_by_identity() -> None:
    bench = Bench()
    image, local = bench.image("image"), bench.local()

    assert slow_key(bench.run("run", image), [A]) is None
    assert slow_key(bench.copy("copy", local, image), [A, READ]) is None


def test_ingredients_round_trip() -> None:
    ingredients = Ingredients(op=sha256(b"op"), inputs=(A, READ))

    assert Ingredients.from_json(ingredients.to_json()) == ingredients


def test_ingredients_that_were_kept_before_contents_could_be_parts_are_whole() -> None:
    text = '{"op":"sha256:1","inputs":[{"identity":"R","content":"sha256:2"}]}'

    assert Ingredients.from_json(text).is_whole


def test_key_of_what_was_not_read_as_a_whole_is_of_its_own_kind() -> None:
    bench = Bench()
    copy = bench.copy("copy", bench.image("image"), bench.image("other"))
    part = InputPart(identity="R", content=READ.content, is_whole=False)

    assert slow_key(copy, [A, part]) != slow_key(copy, [A, READ])
    assert not Ingredients(op=copy.cache_digest, inputs=(A, part)).is_whole
    assert Ingredients(op=copy.cache_digest, inputs=(A, READ)).is_whole


def test_candidates_have_keys_of_their_own_beside_the_one_that_they_share() -> None:
    one, other = (candidate_key(CacheKey("alike"), name) for name in ("I", "J"))

    assert one != other
    assert one.startswith("alike/")
