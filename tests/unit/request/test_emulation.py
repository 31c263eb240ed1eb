"""How a build emulates, as it may be said."""

from __future__ import annotations

import pytest

from polyarch.errors import InputError
from polyarch.request.emulation import EmulationMode, Ring, read_emulation, read_rings
from polyarch.request.make import make_request


@pytest.mark.parametrize("mode", EmulationMode)
def test_each_mode_is_spelled_as_it_is_called(mode: EmulationMode) -> None:
    assert read_emulation(str(mode), "--emulation") is mode
    assert make_request(emulation=str(mode)).emulation == mode


def test_nothing_said_is_left_to_the_engine() -> None:
    assert make_request().emulation == ""


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "strikt",
            '--emulation: there is no emulation "strikt" (did you mean strict?)',
            "auto, strict, verify or vm",
        ),
    ],
)
def test_another_mode_is_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        make_request(emulation=text)

    assert (str(caught.value), caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("environ", "rings"),
    [
        ({}, set(Ring)),
        ({"POLYARCH_TWINS": ""}, set()),
        ({"POLYARCH_TWINS": " c, a"}, {Ring.GO, Ring.SHELL}),
    ],
)
def test_kinds_of_programs(environ: dict[str, str], rings: set[Ring]) -> None:
    assert read_rings(environ) == rings


def test_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match='POLYARCH_TWINS: "a,go"') as caught:
        read_rings({"POLYARCH_TWINS": "a,go"})

    assert "c (Go)" in caught.value.hint
