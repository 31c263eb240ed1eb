"""What came of emulated steps, as programs get it."""

from __future__ import annotations

from polyarch.library.codec import decode, encode
from polyarch.request.emulated import EmulatedStep
from polyarch.request.result import BuildResult

FIRST = EmulatedStep(
    name="RUN a", platform="linux/arm64", seconds=1.0, natives=3, starts=9, emulated_seconds=4.0
)
NEVER_STRICT = EmulatedStep(name="RUN b", platform="linux/arm64", seconds=1.0, natives=3)
STRICT = EmulatedStep(name="RUN c", platform="linux/arm64", seconds=5.0, emulated_seconds=5.0)


def test_what_was_saved_is_known_after_a_run_without_native_programs() -> None:
    result = BuildResult(emulated=(FIRST, NEVER_STRICT, STRICT))

    assert [step.saved_seconds for step in result.emulated] == [3.0, None, None]
    assert result.saved_seconds == 3.0


def test_it_travels_from_the_engine() -> None:
    result = BuildResult(emulated=(FIRST, NEVER_STRICT))

    assert decode(BuildResult, encode(result)).emulated == result.emulated
