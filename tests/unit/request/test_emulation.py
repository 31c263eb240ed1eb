"""How a build emulates, as it may be said."""

from __future__ import annotations

import pytest

from polyarch.errors import InputError
from polyarch.request.emulation import EmulationMode, read_emulation
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
