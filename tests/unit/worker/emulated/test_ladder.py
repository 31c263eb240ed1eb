"""What is tried when an emulator stands in a step's way, in which order, and what is remembered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from polyarch.emulation.facts import Facts
from polyarch.emulation.probe import RunsHow
from polyarch.emulation.qemu import Emulator
from polyarch.errors import NoRuntime, StepFailed
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Event, StatusEvent
from polyarch.record import frozen
from polyarch.runtime.base import Ended
from polyarch.runtime.foreign import Emulation
from polyarch.snapshot.stack import LayerStack
from polyarch.worker.emulated.ladder import Ladder
from polyarch.worker.work import Attempt, Work
from tests.support.fakes.twins import Images, image, run_on, work_of

DEBIAN = image("debian")
HELPED = "a virtual machine helped, and is remembered for scratch on linux/arm64"


@frozen
class Run:
    """How a step ends; with an error it doesn't begin."""

    status: int = 0
    trouble: str = ""
    refused: str = ""
    error: Exception | None = None


CRASH = Run(status=139, trouble="the emulator crashed")


class Steps:
    """Runs steps: the next of `emulated`, or of `machines`, unless there are none for a reason."""

    def __init__(self, directory: Path) -> None:
        self.images = Images(directory)
        self.facts = Facts(directory)
        self.emulated: list[Run] = []
        self.machines: list[Run] = []
        self.lacking = ""
        self.told: list[str] = []

    def build(
        self, emulated: Sequence[Run] = (), machines: Sequence[Run] = (), lacking: str = ""
    ) -> int:
        """Run the step; return its status. All runs that are given have to be made."""
        self.emulated, self.machines, self.lacking = list(emulated), list(machines), lacking
        self.told = []
        ladder = Ladder(foreign=self, facts=self.facts, environ={}, sink=self._take)
        work = work_of(run_on(DEBIAN), LayerStack(), CancelToken())
        try:
            with ladder.attempt(work, self) as done:
                return done.ended.status
        finally:
            assert (self.emulated, self.machines) == ([], [])

    def prepare(self, _platform: Platform) -> Emulation:
        return Emulation(how=RunsHow.EMULATOR, emulator="emulator")

    def prepare_on(self, _platform: Platform, _emulator: Emulator, /) -> None:
        """No other emulator is here."""

    def usual(self, _platform: Platform, /) -> None:
        """It has no name."""

    @contextmanager
    def attempt(self, work: Work, _emulation: Emulation) -> Iterator[Attempt]:
        with self._run(work, self.emulated.pop(0)) as done:
            yield done

    @contextmanager
    def attempt_in_machine(self, work: Work) -> Iterator[Attempt]:
        with self._run(work, self.machines.pop(0)) as done:
            yield done

    @contextmanager
    def _run(self, work: Work, run: Run) -> Iterator[Attempt]:
        if run.error is not None:
            raise run.error
        with self.images.snapshotter.prepare(()) as draft:
            yield Attempt(
                work=work,
                draft=draft,
                ended=Ended(status=run.status, refused=run.refused),
                seconds=1.0,
                failure=lambda: StepFailed(f"status {run.status}", status=run.status),
                trouble=run.trouble,
            )

    def lacks_machine(self, _platform: Platform) -> str:
        return self.lacking

    def forget_caches(self, _work: Work) -> None:
        self.told.append("caches")

    def _take(self, event: Event) -> None:
        assert isinstance(event, StatusEvent)
        self.told.append(event.id)


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    return Steps(tmp_path)


def test_a_step_that_runs_is_run_once(steps: Steps) -> None:
    assert steps.build([Run(status=3)]) == 3
    assert steps.told == []


def test_a_virtual_machine_is_the_last_rung_and_remembered(steps: Steps) -> None:
    assert steps.build([CRASH], [Run()]) == 0
    assert steps.told == [
        "the emulator crashed",
        "run again in a virtual machine",
        "caches",
        HELPED,
    ]

    assert steps.build([], [Run()]) == 0
    assert steps.told == ["in a virtual machine, which helped earlier"]


def test_a_step_that_fails_by_itself_there_isnt_remembered(steps: Steps) -> None:
    assert steps.build([CRASH], [Run(status=4)]) == 4
    assert HELPED not in steps.told
    assert steps.build([Run()]) == 0


@pytest.mark.parametrize(
    "run", [Run(error=NoRuntime("it isn't ready")), Run(status=1, refused="it isn't ready")]
)
def test_a_machine_that_cant_do_it_is_told(steps: Steps, run: Run) -> None:
    with pytest.raises(StepFailed, match="status 139") as caught:
        steps.build([CRASH], [run])

    assert caught.value.hint == (
        "with the usual emulator: the emulator crashed; in a virtual machine: it isn't ready; "
        "another version of QEMU may do better (POLYARCH_QEMU_PATH, POLYARCH_QEMU_IMAGE)"
    )


def test_where_there_is_no_machine_its_want_is_told(steps: Steps) -> None:
    with pytest.raises(StepFailed) as caught:
        steps.build([CRASH], lacking="there is no kernel")

    assert caught.value.hint.endswith("; so may a virtual machine, but there is no kernel")


def test_a_machine_that_is_gone_is_forgotten_for_this_time(steps: Steps) -> None:
    steps.build([CRASH], [Run()])

    assert steps.build([Run()], lacking="there is no kernel") == 0
    assert steps.build([Run()], [Run(error=NoRuntime("it isn't ready"))]) == 0
    assert steps.told[:4] == [
        "in a virtual machine, which helped earlier",
        "it isn't ready",
        "run again with the usual emulator",
        "caches",
    ]
