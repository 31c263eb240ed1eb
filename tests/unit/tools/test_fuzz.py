"""The fuzzer: it finds what is planted, makes it small, and finds nothing in what we have."""

from __future__ import annotations

import pytest

from tools.fuzz import AREAS, Finding, attempt, fuzz, main, shrink
from tools.fuzz_areas import Area


def planted(data: bytes) -> str:
    if b"b" in data and b"z" in data:
        raise KeyError(data)
    return "fine"


AREA = Area(lambda: (b"abc", b"xyz"), (b"a", b"c", b"\n"), planted)


@pytest.mark.parametrize("name", AREAS)
def test_a_few_inputs_of_each_area_are_taken_or_refused(name: str) -> None:
    finding, tried = fuzz(AREAS[name], seconds=600, seed=7, most=120)

    assert (finding, tried) == (None, 120)


def test_a_fault_is_found_and_made_small() -> None:
    finding, _tried = fuzz(AREA, seconds=60, seed=1)

    assert finding is not None
    smallest = shrink(finding, planted)
    assert smallest.kind == "KeyError in test_fuzz.py, planted"
    assert sorted(smallest.data) == sorted(b"bz")


def test_the_same_seed_tries_the_same_inputs() -> None:
    assert fuzz(AREA, seconds=60, seed=1) == fuzz(AREA, seconds=60, seed=1)


def test_what_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.fuzz._STOP_AFTER", 0.01)

    def endless(_data: bytes) -> str:
        while True:
            pass

    found = attempt(b"x", endless)

    assert isinstance(found, Finding)
    assert found.kind == "too slow"


def test_a_finding_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(AREAS, "lexer", AREA)

    assert main(["lexer", "--seed", "1"]) == 1
    assert "KeyError in test_fuzz.py, planted" in capsys.readouterr().out


def test_an_unknown_area_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nonsense"])

    assert "there is no area nonsense: choose from lexer, expansion" in capsys.readouterr().err
