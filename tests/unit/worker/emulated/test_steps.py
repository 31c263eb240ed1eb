"""How often a step runs, with what, and what is kept and told of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from polyarch.emulation.facts import Facts
from polyarch.emulation.probe import RunsHow
from polyarch.emulation.qemu import Emulator
from polyarch.errors import StepFailed
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Event, StatusEvent
from polyarch.record import frozen
from polyarch.request.emulated import EmulatedStep
from polyarch.request.emulation import EmulationMode
from polyarch.runtime.base import Ended
from polyarch.runtime.foreign import Emulation
from polyarch.snapshot.stack import LayerStack
from polyarch.store.emulated import EmulatedRuns
from polyarch.twins.sets import FORMAT, TwinSet
from polyarch.worker.emulated import steps
from polyarch.worker.emulated.choice import Chooser
from polyarch.worker.emulated.ladder import Ladder
from polyarch.worker.emulated.steps import EmulatedSteps
from polyarch.worker.work import Attempt, Work
from tests.support.fakes.twins import AMD64, Images, Sets, image, run_on, work_of

DEBIAN = image("debian")
NATIVE_PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00" + bytes(300)
TROUBLE = "/copy is a program or a library of this machine"


@frozen
class Run:
    """What a step does: how it ends, and the files that it writes; with twins it takes `seconds`."""

    files: Mapping[str, bytes]
    status: int = 0
    refused: str = ""
    seconds: float = 1.0


def writes(status: int = 0, **files: bytes) -> Run:
    return Run(files=files, status=status)


class Steps:
    """Runs steps: the next of `natively` with twins, the next of `strictly` without.

    Each run writes down the next letter of `clock`, if there is one.
    """

    def __init__(
        self, images: Images, natively: Sequence[Run], strictly: Sequence[Run], clock: str = ""
    ) -> None:
        self.images = images
        self.clock = list(clock)
        self.runs = {True: list(natively), False: list(strictly)}
        self.log: list[str] = []
        self.has_namespaces = True

    def prepare(self, platform: Platform, twins: Sequence[TwinSet] = ()) -> Emulation:
        assert platform == DEBIAN.platform
        where = twins[0].directory.parent if twins and self.has_namespaces else None
        emulator = "without" if where is None else "with"
        return Emulation(how=RunsHow.EMULATOR, emulator=emulator, twins=where)

    def prepare_on(self, _platform: Platform, _emulator: Emulator, /) -> None:
        """No other emulator is here."""

    def usual(self, _platform: Platform, /) -> None:
        """It has no name."""

    @contextmanager
    def attempt(
        self, work: Work, emulation: Emulation, twins: Path | None = None
    ) -> Iterator[Attempt]:
        assert (twins is not None) == (emulation.emulator == "with")
        self.log.append(emulation.emulator)
        run = self.runs[twins is not None].pop(0)
        with self.images.snapshotter.prepare(()) as draft:
            for name, data in run.files.items():
                (draft.root / name).write_bytes(data)
            if self.clock:
                (draft.root / "time").write_text(self.clock.pop(0))
            yield Attempt(
                work=work,
                draft=draft,
                ended=Ended(status=run.status, refused=run.refused, cpu_seconds=0.5),
                seconds=run.seconds if twins else 10.0,
                failure=lambda: StepFailed(f"status {run.status}", status=run.status),
            )

    def attempt_in_machine(self, _work: Work) -> AbstractContextManager[Attempt]:
        raise AssertionError

    def lacks_machine(self, _platform: Platform) -> str:
        return "there is none"

    def forget_caches(self, _work: Work) -> None:
        self.log.append("caches")


class Bench:
    """Builds of one step, one after the other, in one store."""

    def __init__(self, root: Path) -> None:
        self.images = Images(root, image("debian", AMD64))
        self.told: list[str] = []
        self.emulated: tuple[EmulatedStep, ...] = ()
        self.files: dict[str, bytes] = {}
        self.has_namespaces = True

    def build(
        self,
        mode: EmulationMode,
        natively: Sequence[Run] = (),
        strictly: Sequence[Run] = (),
        clock: str = "",
    ) -> list[str]:
        """Run the step; return how it ran, without what caches were emptied where there were none."""
        steps = Steps(self.images, natively, strictly, clock)
        steps.has_namespaces = self.has_namespaces
        self.told, self.emulated, self.files = [], (), {}
        runs = EmulatedRuns(self.images.store.database)
        with Sets(self.images) as sets:
            chooser = Chooser(
                sets=sets, runs=runs, layer=self.images.snapshotter.layer, pace=lambda: 10e6
            )
            ladder = Ladder(foreign=steps, facts=Facts(None), environ={}, sink=self._take)
            emulated = EmulatedSteps(
                mode, chooser=chooser, runs=runs, foreign=steps, ladder=ladder, sink=self._take
            )
            work = work_of(run_on(DEBIAN), LayerStack(), CancelToken())
            snapshot = emulated.run(work, steps)
            path = self.images.snapshotter.path(snapshot)
            self.files = {each.name: each.read_bytes() for each in path.iterdir()}
            self.emulated = emulated.done
            emulated.check()
        return steps.log

    def _take(self, event: Event) -> None:
        assert isinstance(event, StatusEvent)
        assert event.is_remark
        self.told.append(event.id)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_strict_never_has_twins(bench: Bench) -> None:
    ran = bench.build(EmulationMode.STRICT, strictly=[writes(out=b"a")])

    assert ran == ["without"]
    assert bench.told == ["emulated throughout, 0.5s of CPU"]
    assert bench.images.asked == []
    assert bench.files == {"out": b"a"}


def test_auto_has_twins(bench: Bench) -> None:
    ran = bench.build(EmulationMode.AUTO, natively=[writes(out=b"a")])

    assert ran == ["with"]
    assert bench.told == ["1 program could run natively, 0.5s of CPU"]
    assert bench.files == {"out": b"a"}


def test_what_was_saved_is_told_after_a_run_without(bench: Bench) -> None:
    bench.build(EmulationMode.STRICT, strictly=[writes()])

    bench.build(EmulationMode.AUTO, natively=[writes()])

    assert bench.told == [
        "1 program could run natively, 0.5s of CPU, 9.0s sooner than emulated throughout"
    ]
    (step,) = bench.emulated
    assert (step.seconds, step.emulated_seconds, step.saved_seconds) == (1.0, 10.0, 9.0)


def test_a_step_that_ended_later_with_twins_is_told_of(bench: Bench) -> None:
    bench.build(EmulationMode.STRICT, strictly=[writes()])

    bench.build(EmulationMode.AUTO, natively=[Run(files={}, seconds=10.2)])

    assert bench.told == [
        "1 program could run natively, 0.5s of CPU, 0.2s later than emulated throughout"
    ]


def test_a_native_program_in_the_result_is_found_out(bench: Bench) -> None:
    ran = bench.build(
        EmulationMode.AUTO, natively=[writes(copy=NATIVE_PROGRAM)], strictly=[writes(copy=b"f")]
    )

    assert ran == ["with", "caches", "without"]
    assert bench.told == [
        f"run again without native programs: {TROUBLE}",
        "emulated throughout, 0.5s of CPU",
    ]
    assert bench.files == {"copy": b"f"}
    assert [step.again for step in bench.emulated] == [TROUBLE]
    assert [path.name for path in bench.images.store.scratch.rglob("copy")] == []


def test_a_step_that_was_found_out_has_no_twins_next_time(bench: Bench) -> None:
    bench.build(EmulationMode.AUTO, [writes(copy=NATIVE_PROGRAM)], [writes(copy=b"f")])

    assert bench.build(EmulationMode.AUTO, strictly=[writes(copy=b"f")]) == ["without"]
    assert bench.told[0] == f"without native programs, as found earlier: {TROUBLE}"
    assert bench.build(EmulationMode.STRICT, strictly=[writes(copy=b"f")]) == ["without"]
    assert bench.build(EmulationMode.AUTO, strictly=[writes(copy=b"f")]) == ["without"]


def test_a_step_that_was_found_out_is_tried_with_twins_of_another_make(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.build(EmulationMode.AUTO, [writes(copy=NATIVE_PROGRAM)], [writes(copy=b"f")])
    monkeypatch.setattr(steps, "FORMAT", FORMAT + 1)

    assert bench.build(EmulationMode.AUTO, natively=[writes(copy=b"f")]) == ["with"]


def test_a_failure_counts_only_without_twins(bench: Bench) -> None:
    ran = bench.build(EmulationMode.AUTO, [writes(status=3)], [writes(out=b"a")])

    assert ran == ["with", "caches", "without"]
    assert bench.told[0] == "run again without native programs: it ended with status 3"
    assert bench.files == {"out": b"a"}


def test_a_step_that_fails_both_ways_fails(bench: Bench) -> None:
    with pytest.raises(StepFailed, match="status 4"):
        bench.build(EmulationMode.AUTO, [writes(status=3)], [writes(status=4)])

    # It isn't known to be the twins' fault.
    assert bench.build(EmulationMode.AUTO, [writes()]) == ["with"]


def test_a_step_that_can_not_start_is_not_tried_again(bench: Bench) -> None:
    with pytest.raises(StepFailed, match="status 1"):
        bench.build(EmulationMode.AUTO, [Run(files={}, status=1, refused="no such file")])


def test_a_machine_without_namespaces_for_twins_emulates(bench: Bench) -> None:
    bench.has_namespaces = False

    assert bench.build(EmulationMode.AUTO, strictly=[writes()]) == ["without"]
    assert bench.told[0] == "without native programs: this machine has no namespace for them"


def test_verify_finds_nothing_where_both_are_the_same(bench: Bench) -> None:
    ran = bench.build(EmulationMode.VERIFY, [writes(out=b"a")], [writes(out=b"a")])

    assert [each for each in ran if each != "caches"] == ["without", "with"]
    assert bench.told[-1] == "verified: 1 files are the same both ways"
    assert bench.files == {"out": b"a"}


def test_verify_leaves_out_what_differs_between_two_strict_runs(bench: Bench) -> None:
    strictly = [writes(out=b"a", random=b"2"), writes(out=b"a", random=b"3")]
    ran = bench.build(EmulationMode.VERIFY, [writes(out=b"a", random=b"1")], strictly)

    assert ran == ["caches", "without", "caches", "with", "caches", "without"]
    assert bench.files == {"out": b"a", "random": b"2"}


def test_verify_names_what_differs_and_keeps_the_strict_result(bench: Bench) -> None:
    strictly = [writes(out=b"a", random=b"2"), writes(out=b"a", random=b"3")]
    with pytest.raises(StepFailed) as caught:
        bench.build(EmulationMode.VERIFY, [writes(out=b"b", random=b"1", more=b"")], strictly)

    assert str(caught.value) == ("native programs made a difference:\nRUN make:\n  /more\n  /out")
    assert bench.files == {"out": b"a", "random": b"2"}


@pytest.mark.parametrize("clock", ["111", "112", "122", "123"])
def test_verify_takes_no_clock_for_a_difference_whenever_it_turns(bench: Bench, clock: str) -> None:
    strictly = [writes(random=b"2"), writes(random=b"3")]

    bench.build(EmulationMode.VERIFY, [writes(random=b"1")], strictly, clock)

    assert bench.files == {"random": b"2", "time": b"1"}


def test_verify_learns_nothing_of_a_run_that_fails(bench: Bench) -> None:
    strictly = [writes(a=b"1", b=b"1"), writes(status=9, a=b"1")]
    with pytest.raises(StepFailed) as caught:
        bench.build(EmulationMode.VERIFY, [writes(a=b"1", b=b"2")], strictly)

    assert str(caught.value).endswith("RUN make:\n  /b")


def test_verify_does_not_try_natively_what_fails(bench: Bench) -> None:
    with pytest.raises(StepFailed, match="status 4"):
        bench.build(EmulationMode.VERIFY, strictly=[writes(status=4)])


def test_verify_names_another_status(bench: Bench) -> None:
    with pytest.raises(StepFailed) as caught:
        bench.build(EmulationMode.VERIFY, [writes(status=3)], [writes()])

    assert str(caught.value).endswith("RUN make:\n  it ended with status 3, not 0")


def test_of_many_differences_the_first_are_named(bench: Bench) -> None:
    natively = [Run(files={f"f{number:02}": b"" for number in range(30)})]
    with pytest.raises(StepFailed) as caught:
        bench.build(EmulationMode.VERIFY, natively, [writes(), writes()])

    lines = str(caught.value).splitlines()
    assert (lines[2], lines[-2], lines[-1]) == ("  /f00", "  /f19", "  and 10 more")
