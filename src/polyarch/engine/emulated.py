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

__all__ = ["LateEmulatedSteps", "mode_of"]


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
        self._mode = mode_of(request.emulation, environ)
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
        from polyarch.worker.emulated import ladder, opening  # noqa: PLC0415

        programs = self._programs.get()
        made = ladder.Ladder(
            foreign=programs.foreign,
            facts=programs.facts,
            environ=programs.environ,
            sink=self._images.sink,
        )
        return opening.open_steps(self._mode, self._images, programs.foreign, made, self._held)


def mode_of(asked: str, environ: Mapping[str, str]) -> EmulationMode:
    """Return the mode that a request or else the variable names. Raises InputError."""
    text = asked or environ.get(EMULATION_VARIABLE) or EmulationMode.AUTO
    return read_emulation(text, "--emulation" if asked else EMULATION_VARIABLE)
