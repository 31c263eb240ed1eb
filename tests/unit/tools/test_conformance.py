from __future__ import annotations

from tools.conformance import Excuse, Verdict, load_excuses, tally, unexcused

TIMES = Excuse(
    reason="by the time", kinds=frozenset({"history: created"}), cases=frozenset({"a/late"})
)
LATE = Verdict(name="a/late", differences=(("history: created", "history 1: then -> now"),))
BROKEN = Verdict(name="b/broken", differences=(("layers: count", "layers: 1 -> 2"),))
SAME = [Verdict(name="a/same"), Verdict(name="b/same")]


def test_tally_counts_by_corpus_and_says_what_may_differ() -> None:
    assert tally([*SAME, LATE, BROKEN], [TIMES]) == [
        "a: 1 of 2 identical",
        "b: 1 of 2 identical",
        "all: 2 of 4 identical",
        "1 may differ, by the time: a/late",
    ]


def test_one_corpus_needs_no_sum() -> None:
    assert tally(SAME[:1], [TIMES]) == ["a: 1 of 1 identical"]


def test_what_is_excused_does_not_count() -> None:
    assert unexcused([*SAME, LATE, BROKEN], [TIMES]) == {
        "b/broken": ["layers: count: layers: 1 -> 2"]
    }


def test_an_excuse_is_for_its_kinds_only() -> None:
    worse = Verdict(name="a/late", differences=(*LATE.differences, *BROKEN.differences))

    assert list(unexcused([worse], [TIMES])) == ["a/late"]


def test_no_case_is_excused_twice() -> None:
    names = [name for excuse in load_excuses() for name in excuse.cases]

    assert names
    assert len(names) == len(set(names))
