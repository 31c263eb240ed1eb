"""Which sets a step gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from polyarch.errors import Cancelled, RegistryError
from polyarch.graph.op import ImageOp
from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.snapshot.stack import LayerStack
from polyarch.store.emulated import EmulatedRun, EmulatedRuns, EmulatedStepKey
from polyarch.store.snapshots import SnapshotRecord
from polyarch.worker.emulated.choice import Choice, Chooser
from tests.support.fakes.twins import AMD64, PROGRAM, Images, Sets, image, run_on, work_of

DEBIAN, ALPINE = image("debian"), image("alpine")
KEY = EmulatedStepKey(step="make", base="debian", platform="linux/arm64")


class Bench:
    """A chooser over a store, at 10 MB a second."""

    def __init__(self, root: Path, *natives: ImageOp, reason: str = "") -> None:
        self.images = Images(root, *natives)
        self.sets = Sets(self.images, reason)
        self.runs = EmulatedRuns(self.images.store.database)
        self.chooser = Chooser(
            sets=self.sets, runs=self.runs, layer=self.images.snapshotter.layer, pace=lambda: 10e6
        )
        self.cancel = CancelToken()

    def choose(self, vertex: Vertex, *above: SnapshotID, in_any_case: bool = False) -> Choice:
        base = vertex.inputs[0].op
        assert isinstance(base, ImageOp)
        stack = LayerStack.of_image(base.diff_ids, base.blobs, base.source)
        for each in above:
            stack = stack.with_layer(each)
        return self.chooser.choose(
            work_of(vertex, stack, self.cancel), KEY, in_any_case=in_any_case
        )

    def layer(self, name: str, files: Mapping[str, bytes]) -> SnapshotID:
        """Make a layer of programs."""

        def fill(root: Path) -> None:
            for path, data in files.items():
                (root / path).write_bytes(data)
                (root / path).chmod(0o755)

        snapshot = SnapshotID(name)
        self.images.snapshotter.unpack(snapshot, fill, SnapshotRecord(id=name))
        return snapshot


def native(name: str, size: int = 1000) -> ImageOp:
    return image(name, AMD64, size)


def names(choice: Choice) -> list[str]:
    assert choice.reason == ""
    return [each.base.reference for each in choice.sets]


def test_a_small_variant_is_fetched_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path, native("debian"))

    assert names(bench.choose(run_on(DEBIAN))) == ["debian"]


def test_a_large_one_is_fetched_beside_and_used_by_later_steps(tmp_path: Path) -> None:
    bench = Bench(tmp_path, native("debian", 500_000_000))
    first = names(bench.choose(run_on(DEBIAN)))
    bench.sets.wait()

    assert first == []
    assert names(bench.choose(run_on(DEBIAN))) == ["debian"]


def test_steps_that_took_little_are_left_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, native("debian"))
    bench.runs.save(KEY, EmulatedRun(seconds=0.2))

    assert names(bench.choose(run_on(DEBIAN))) == []
    assert bench.images.fetched == []
    assert names(bench.choose(run_on(DEBIAN), in_any_case=True)) == ["debian"]


def test_a_set_that_is_there_costs_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, native("debian"))
    bench.choose(run_on(DEBIAN))
    bench.runs.save(KEY, EmulatedRun(seconds=0.2))

    assert names(bench.choose(run_on(DEBIAN))) == ["debian"]


def test_sets_of_images_that_were_copied_from_come_along(tmp_path: Path) -> None:
    bench = Bench(tmp_path, native("debian"), native("alpine"))
    alone = names(bench.choose(run_on(DEBIAN, ALPINE)))
    bench.choose(run_on(ALPINE))

    assert alone == ["debian"]
    assert names(bench.choose(run_on(DEBIAN, ALPINE))) == ["alpine", "debian"]


def test_an_image_for_itself_has_no_twins(tmp_path: Path) -> None:
    assert names(Bench(tmp_path).choose(run_on(DEBIAN))) == []


def test_no_twins_are_no_trouble(tmp_path: Path) -> None:
    bench = Bench(tmp_path, native("debian"), reason="there are none")

    assert names(bench.choose(run_on(DEBIAN))) == []


def test_a_registry_that_fails_is_no_trouble_of_the_step(tmp_path: Path) -> None:
    bench = Bench(tmp_path, native("debian"))
    bench.images.failure = RegistryError("too many requests")

    assert bench.choose(run_on(DEBIAN)) == Choice(reason="too many requests")
    assert bench.choose(run_on(DEBIAN)) == Choice()


def test_the_end_of_the_build_is_heeded(tmp_path: Path) -> None:
    bench = Bench(tmp_path, native("debian"))
    bench.cancel.cancel()

    with pytest.raises(Cancelled):
        bench.choose(run_on(DEBIAN))


def test_an_insecure_step_has_none(tmp_path: Path) -> None:
    found = Bench(tmp_path, native("debian")).choose(run_on(DEBIAN, security="insecure"))

    assert found == Choice(reason="it may do to the machine what can't be repeated")


def test_a_program_that_is_taken_for_another_forbids_twins(tmp_path: Path) -> None:
    bench = Bench(tmp_path, native("debian"))
    copied = bench.layer("copied", {"sh": PROGRAM})
    patched = bench.layer("patched", {"sh": PROGRAM[:-1] + b"!"})
    twins = bench.choose(run_on(DEBIAN), copied)
    before = bench.choose(run_on(DEBIAN), copied, patched)
    (tmp_path / "snapshots/patched/fs/sh").unlink()  # each layer is looked at once

    assert names(twins) == ["debian"]
    assert before == Choice(reason="/sh begins like a program of the base image, but isn't it")
    assert bench.choose(run_on(DEBIAN), copied, patched) == before


def test_of_two_sets_with_one_number_a_step_has_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, native("debian"), native("alpine"))
    bench.choose(run_on(ALPINE))
    bench.choose(run_on(DEBIAN))
    bench.sets.renumber(7)

    assert names(bench.choose(run_on(DEBIAN, ALPINE))) == ["debian"]
