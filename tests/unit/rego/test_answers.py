"""What modules answer: as Open Policy Agent answered when its answers were recorded (1.14, as docker buildx 0.36 has it)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polyarch.rego.context import Context
from polyarch.rego.documents import find_value
from polyarch.rego.faults import RegoError
from polyarch.rego.modules import parse_module
from polyarch.rego.program import compile_modules
from polyarch.rego.undefined import UNDEFINED
from polyarch.rego.values import Obj, Wanted, from_plain, plain

RECORDED = json.loads(
    (Path(__file__).parents[2] / "golden/rego/answers.json").read_text(encoding="utf-8")
)


def answer(*texts: str, given: object = UNDEFINED, path: tuple[str, ...] = ("t",)) -> object:
    modules = [parse_module(f"{number}.rego", text) for number, text in enumerate(texts)]
    program = compile_modules(modules, {})
    return find_value(Context(program, host={}, given=given), path)


@pytest.mark.parametrize(
    "case", RECORDED["cases"], ids=lambda case: str(case["module"]).partition("\n")[2]
)
def test_modules_answer_as_recorded(case: dict[str, object]) -> None:
    given = from_plain(RECORDED["input"])
    if case.get("fails"):
        with pytest.raises(RegoError):
            answer(str(case["module"]), given=given)
        return

    assert plain(answer(str(case["module"]), given=given)) == case["answer"]


def test_packages_see_each_other() -> None:
    found = answer(
        "package t\nimport data.lib.names as n\nr := n.all[_] if n.is_known(n.all[0])",
        'package lib.names\nall := ["a"]\nis_known(x) if x == "a"',
    )

    assert plain(found) == {"r": "a"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "package t\nr := http.send({})",
            "0.rego:2: rego_type_error: undefined function http.send",
        ),
        (
            "package t\n\nr := yaml.marshal(1)",
            "0.rego:3: rego_type_error: function yaml.marshal isn't there yet",
        ),
        (
            'package t\nr := $"{input.x}"',
            "0.rego:2: rego_parse_error: template strings aren't there yet",
        ),
        ("package t\nr if x > 1", "0.rego:2: rego_unsafe_var_error: var x is unsafe"),
        (
            "package t\nr { true }",
            "0.rego:2: rego_parse_error: unexpected '{': `if` keyword is required",
        ),
        ("package t\nr := 1 with count as 2", "0.rego:2: rego_parse_error: unexpected 'with'"),
        ("package t\nr if { true with count as 2 }", "with count: functions can't be replaced yet"),
        (
            "package t\nr := [",
            "0.rego:2: rego_parse_error: unexpected end of file: expected a term",
        ),
        ('package t\nr := "a', "0.rego:2: rego_parse_error: non-terminated string"),
        ("package t\nr := count(1, 2, 3)", "count: arity mismatch: 3 given, 1 wanted"),
        ("package t\np if q\nq if p", "rego_recursion_error: rule data.t.p is recursive"),
        ("package t\nr := 1\nr := 2", "complete rules must not produce multiple outputs"),
    ],
)
def test_faults_have_places(text: str, message: str) -> None:
    with pytest.raises(RegoError) as raised:
        answer(text)

    assert message in str(raised.value)
    assert raised.value.place is not None
    assert ">>>" in raised.value.place.excerpt()


def test_endless_policies_end() -> None:
    numbers = "numbers.range(1, 1000)"

    with pytest.raises(RegoError, match="takes more than 500000 steps"):
        answer(f"package t\nr := count([1 | some x in {numbers}; some y in {numbers}; x == y])")


def test_nobody_nests_deeper_than_is_read() -> None:
    with pytest.raises(RegoError, match="nested deeper than 60 levels"):
        answer(f"package t\nr := {'[' * 100}{']' * 100}")


def test_large_values_are_refused() -> None:
    assert answer("package t\nr := bits.lsh(1, 1000000)") is not UNDEFINED
    assert plain(answer("package t\nr := bits.lsh(1, 1000000)")) == {}
    assert plain(answer("package t\nr := count(numbers.range(1, 100000000))")) == {}


def test_pending_fields_are_told() -> None:
    image = Obj([("repo", "busybox")], {"labels": "image.labels"})
    given = Obj([("image", image)])
    text = 'package t\nr if { input.image.repo == "%s"; input.image.labels.a == "b" }'

    with pytest.raises(Wanted) as raised:
        answer(text % "busybox", given=given)

    assert raised.value.field == "image.labels"
    # What no rule comes to isn't asked for.
    assert plain(answer(text % "alpine", given=given)) == {}
