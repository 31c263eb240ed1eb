"""What decides how a build's emulated steps run, made when the first of them runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from polyarch.engine.lazy import LazyPrograms
from polyarch.request.emulated import EmulatedStep
from polyarch.request.emulation import EMULATION_VARIABLE, EmulationMode, read_emulation
from polyarch.request.values import BuildRequest
from polyarch.worker.source_image import ImageSource

if TYPE_CHECKING:
    from polyarch.runtime.vm.runtime import VirtualMachines
    from polyarch.worker.emulated.steps import EmulatedSteps

__all__ = ["LateEmulatedSteps"]


class LateEmulatedSteps:
    """Makes them once, in whichever thread needs them first; what is fetched for them ends with the block.

    Raises InputError for a variable that names no mode.
    """

    def __init__(
        self,
        request: BuildRequest,
        environ: Mapping[str, str],
        programs: LazyPrograms,
        images: ImageSource,
    ) -> None:
        self._mode = _mode(request.emulation, environ)
        self._programs = programs
        self._images = images
        self._lock = threading.Lock()
        self._held = ExitStack()
        self._steps: EmulatedSteps | None = None
        self._environ = environ
        self._machines: VirtualMachines | None = None

    @property
    def in_machines(self) -> bool:
        """Whether steps run in virtual machines, all of them."""
        return self._mode is EmulationMode.MACHINE

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """End what goes on beside the steps."""
        self._held.close()

    def get(self) -> EmulatedSteps:
        """Return how emulated steps run. Raises NoRuntime."""
        with self._lock:
            if self._steps is None:
                self._steps = self._make()
            return self._steps

    def machines(self) -> VirtualMachines:
        """Return the machines in which steps run."""
        with self._lock:
            if self._machines is None:
                # Few builds have any.
                from polyarch.runtime.vm.runtime import VirtualMachines  # noqa: PLC0415

                store = self._images.store
                self._machines = VirtualMachines(
                    place=store.root / "machines",
                    temporary=lambda: store.temporary("machine"),
                    environ=self._environ,
                )
                self._held.callback(self._machines.close)
            return self._machines

    def checked(self) -> tuple[EmulatedStep, ...]:
        """Return what came of the emulated steps. Raises StepFailed if their results depend on how they ran."""
        if self._steps is None:
            return ()
        self._steps.check()
        return self._steps.done

    def _make(self) -> EmulatedSteps:
        # Builds without an emulated step load none of it.
        from polyarch.store.emulated import EmulatedRuns  # noqa: PLC0415
        from polyarch.worker.emulated.choice import Chooser  # noqa: PLC0415
        from polyarch.worker.emulated.sets import TwinSets  # noqa: PLC0415
        from polyarch.worker.emulated.steps import EmulatedSteps  # noqa: PLC0415

        images = self._images
        runs = EmulatedRuns(images.store.database)
        chooser = Chooser(
            sets=self._held.enter_context(TwinSets(images)),
            runs=runs,
            layer=images.snapshotter.layer,
            pace=lambda: images.pace.bytes_a_second,
        )
        return EmulatedSteps(
            self._mode,
            chooser=chooser,
            runs=runs,
            foreign=self._programs.get().foreign,
            sink=images.sink,
        )


def _mode(asked: str, environ: Mapping[str, str]) -> EmulationMode:
    text = asked or environ.get(EMULATION_VARIABLE) or EmulationMode.AUTO
    return read_emulation(text, "--emulation" if asked else EMULATION_VARIABLE)
