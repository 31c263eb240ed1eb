"""What all runtimes have in common: a step goes in, its output comes out as it is made, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from polyarch.errors import NamespaceForbidden, NoRuntime
from polyarch.namespaces.subids import MORE_IDS
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.request.talk import SILENCE, Talk
from polyarch.runtime.step import Host, Step

__all__ = [
    "NEEDS_ROOT",
    "Ended",
    "OnOutput",
    "Refused",
    "Runtime",
    "check_ids",
    "check_talk",
    "refused_step",
]

NEEDS_ROOT = "only builds by root have them"

OnOutput = Callable[[int, bytes], None]
"""Takes a stream (1 or 2) and the bytes that came from it."""


class Refused(Exception):
    """The step can't be started; the text says why. No runtime lets it out: it is in how the step ended."""


@frozen
class Ended:
    """How a step ended.

    `status` is what BuildKit reports: that of the process; 128 + N if signal N killed it; 1 if it
    could not be started at all, in which case `refused` says why (the step's output says it, too).
    """

    status: int
    out_of_memory: bool = False
    """Whether the kernel killed something in it for want of memory."""
    refused: str = ""
    no_devices: str = ""
    """Why nodes of devices couldn't be made or opened in it; empty if they could."""
    cpu_seconds: float | None = None
    """What its processes took of the processors, but for those that outlived the first one; None if the runtime
    doesn't know."""
    had_one_id: bool = False
    """Whether owners and users but one were refused in it, since there are no other ids."""


class Runtime(Protocol):
    """Runs steps; safe to use from several threads."""

    @property
    def name(self) -> str:
        """What `POLYARCH_RUNTIME` calls it."""

    def run(
        self,
        step: Step,
        *,
        directory: Path,
        on_output: OnOutput,
        cancel: CancelToken,
        talk: Talk = SILENCE,
    ) -> Ended:
        """Run `step` to its end; nothing of it is left when this returns or raises.

        The step's root is that of no other running step. `directory` is an empty one for the runtime's
        own files. `on_output` is called in the calling
        thread. Raises Cancelled, with every process of the step dead, once `cancel` is set; and
        NoRuntime if the machine refuses what a step needs.
        """


def refused_step(reason: str, on_output: OnOutput) -> Ended:
    """Say on a step's standard error why it can't be started; return that as its end."""
    on_output(2, f"{reason}\n".encode(errors="surrogateescape"))
    return Ended(status=1, refused=reason)


def check_talk(talk: Talk, name: str) -> None:
    """Raise NoRuntime for what is asked of the runtime `name` that only our own sandbox does."""
    if talk.on_started is not None or talk.beside is not None:
        raise NoRuntime(
            f"containers that several programs run in can't be had with {name}",
            hint="leave POLYARCH_RUNTIME out, where the kernel allows namespaces",
        )


def check_ids(step: Step, host: Host) -> None:
    """Raise NamespaceForbidden if the user or a group of `step` has no id in the engine's namespace."""
    highest = max(step.uid, step.gid, *step.groups)
    if highest >= host.mapped_ids:
        advice = f"give your user subordinate ids; as root: {MORE_IDS} USER"
        raise NamespaceForbidden(
            f"the step is to run as {step.uid}:{step.gid}, but only {host.mapped_ids} user ids exist",
            hint=f"leave POLYARCH_RUNTIME out, or {advice}" if host.has_one_id else advice,
        )
