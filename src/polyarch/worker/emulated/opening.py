"""All that decides how emulated steps run, put together: loaded by builds that have such a step."""

from __future__ import annotations

from contextlib import ExitStack

from polyarch.request.emulation import EmulationMode, read_rings
from polyarch.runtime.foreign import ForeignSteps
from polyarch.store.emulated import EmulatedRuns
from polyarch.worker.emulated.choice import Chooser
from polyarch.worker.emulated.ladder import Ladder
from polyarch.worker.emulated.sets import TwinSets
from polyarch.worker.emulated.steps import EmulatedSteps
from polyarch.worker.source_image import ImageSource

__all__ = ["open_steps"]


def open_steps(
    mode: EmulationMode,
    images: ImageSource,
    foreign: ForeignSteps,
    ladder: Ladder,
    held: ExitStack,
) -> EmulatedSteps:
    """Return how emulated steps run; what is fetched for them ends with `held`.

    Raises InputError for a variable that names no kinds of native programs.
    """
    runs = EmulatedRuns(images.store.database)
    chooser = Chooser(
        sets=held.enter_context(TwinSets(images, rings=read_rings(ladder.environ))),
        runs=runs,
        layer=images.snapshotter.layer,
        pace=lambda: images.pace.bytes_a_second,
    )
    return EmulatedSteps(
        mode, chooser=chooser, runs=runs, foreign=foreign, ladder=ladder, sink=images.sink
    )
