"""Steps for another CPU: which emulator, and the user namespace in which the kernel knows it.

An ordinary user's engine has a user namespace already: the handlers are registered in that. Root's has
not, and must not change the whole machine's: a holder, a process in a user namespace that maps every id
to itself, keeps handlers for the steps that join it. Where the kernel has no private handlers, those of
the machine are used if they work in any root. Else the step is refused before it starts.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.emulation.binfmt import HANDLERS, BinfmtMount, Entry, get_handler
from polyarch.emulation.facts import Facts
from polyarch.emulation.kept import note_use
from polyarch.emulation.private import entries_to_register, register_more, register_private
from polyarch.emulation.probe import RunsHow, machine_handler, probe_level, runs_natively
from polyarch.emulation.qemu import (
    Emulator,
    find_emulator,
    find_path,
)
from polyarch.errors import NamespaceForbidden, NoEmulator
from polyarch.platforms import Platform
from polyarch.record import frozen, replace
from polyarch.runtime.configuration import HolderPlan
from polyarch.runtime.sandbox.plan import ANSWER_LIMIT, send_plan
from polyarch.runtime.sandbox.spawner import Spawner
from polyarch.runtime.step import Host
from polyarch.twins.registration import plan_twins

if TYPE_CHECKING:
    from polyarch.twins.sets import TwinSet

__all__ = ["Emulation", "ForeignSteps", "Holder"]

# Who emulates one wants programs of the other, too: CPUs and distributions have both.
_FAMILIES = {
    "arm64": ("arm64", "arm"),
    "arm": ("arm", "arm64"),
    "amd64": ("amd64", "386"),
    "386": ("386", "amd64"),
}


class Holder:
    """A user namespace with every id mapped to itself and with handlers of its own, while it is open."""

    def __init__(
        self, spawner: Spawner, entries: Sequence[Entry], twins: Iterable[TwinSet] = ()
    ) -> None:
        """Make it, with handlers for native twins before all others.

        Raises NamespaceForbidden if the kernel has no private handlers.
        """
        self._control, theirs = socket.socketpair()
        with theirs:
            spawner.ask([theirs.fileno()], kept=True)
        lines = [(entry.name, entry.register_line.hex()) for entry in entries]
        plan: HolderPlan = {"handlers": lines, "twins": [plan_twins(each) for each in twins]}
        send_plan(self._control, json.dumps(plan).encode())
        answer = json.loads(self._control.recv(ANSWER_LIMIT) or b'{"refused": "the holder died"}')
        if refused := answer.get("refused"):
            self._control.close()
            raise NamespaceForbidden(refused, hint=answer.get("hint", ""))
        self.user_namespace = f"/proc/{answer['pid']}/ns/user"
        self.has_twins = bool(plan["twins"])

    def close(self) -> None:
        """End it; steps that have joined the namespace keep it."""
        self._control.close()


def _place(emulator: Emulator) -> str:
    """Return what tells a program from others for good: an image by its digest, else the file."""
    return emulator.origin if "@" in emulator.origin else emulator.path


@frozen
class Emulation:
    """What to add to a step so that it runs here; nothing for a native one."""

    how: RunsHow = RunsHow.NATIVE
    user_namespace: str = ""
    """The path of the one to join, if any."""
    emulator: str = ""
    """The path of the interpreter."""
    description: str = ""
    """What it is, for the build's record: its version, and where it comes from."""
    twins: Path | None = None
    """The directory of sets of native twins that the step has to see, if it has any: see `Step.twins`."""


def _emulation(emulator: Emulator, holder: Holder | None) -> Emulation:
    setting = f", -cpu {emulator.model}" if emulator.model else ""
    return Emulation(
        how=RunsHow.EMULATOR,
        user_namespace=holder.user_namespace if holder else "",
        emulator=emulator.path,
        description=f"QEMU {emulator.shown_version}{setting} ({_place(emulator)})",
    )


class ForeignSteps:
    """Prepares the emulation of steps, once per engine and only when it is needed; thread-safe.

    `outer` is the binfmt_misc that was there before the engine's namespaces, if any.
    """

    def __init__(
        self,
        *,
        host: Host,
        spawner: Spawner,
        facts: Facts,
        outer: BinfmtMount | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._host = host
        self._spawner = spawner
        self._facts = facts
        self._outer = outer
        self._environ = environ
        self._lock = threading.Lock()
        self._registered: set[str] = set()
        self._holders: dict[str, Holder] = {}
        self._handlers = -1
        self._forbidden = NamespaceForbidden(host.refused) if host.refused else None

    def close(self) -> None:
        """End the holder, or take the handlers back."""
        if self._handlers >= 0:
            os.close(self._handlers)
        for holder in self._holders.values():
            holder.close()

    def prepare(self, platform: Platform, twins: Sequence[TwinSet] = ()) -> Emulation:
        """Return what a step for `platform` needs. Raises NoEmulator if it can't run here.

        With `twins`, the programs of these sets run natively; of two that know a program the later one counts.
        """
        if self._is_native(platform.architecture):
            return Emulation()
        emulator = self._find(platform.architecture) if platform.os == "linux" else None
        outer = self._outer_entries()
        if emulator is not None:
            with self._lock:
                holder = self._holder_with(twins, platform.architecture, outer) if twins else None
                if holder is None:
                    holder = self._holder(platform.architecture, outer)
            if self._forbidden is None:
                emulation = _emulation(emulator, holder)
                has_twins = holder is not None and holder.has_twins
                return replace(emulation, twins=twins[0].directory.parent if has_twins else None)
        return self._by_outer_handler(platform, outer)

    def prepare_on(self, platform: Platform, emulator: Emulator) -> Emulation | None:
        """Return what a step for `platform` needs to be emulated by `emulator`, which isn't the usual one.

        None where it can't be had beside the usual one.
        """
        architecture = platform.architecture
        key = f"{architecture} {emulator.path} {emulator.cpu}"
        with self._lock:
            if key not in self._holders:
                outer = self._outer_entries()
                usual = [each for each in self._group(architecture, outer) if each != architecture]
                found = [emulator, *(each for each in map(self._find, usual) if each is not None)]
                entries = entries_to_register(map(self._used, found), self._kept(outer))
                try:
                    self._holders[key] = Holder(self._spawner, entries)
                except NamespaceForbidden:
                    return None
            holder = self._holders[key]
        return _emulation(emulator, holder)

    def usual(self, platform: Platform) -> Emulator | None:
        """Return the emulator that steps for `platform` have if nothing else is said."""
        return self._find(platform.architecture)

    def may_run(self, architecture: str, platform: Platform) -> bool:
        """Tell whether a step for `platform` may start programs for another architecture, too."""
        if self._is_native(architecture) or architecture in _FAMILIES.get(
            platform.architecture, ()
        ):
            return True
        if architecture in self._registered or architecture in self._replaced(
            self._outer_entries()
        ):
            return True
        # Handlers of the machine are handed on, and in a container they can't be seen.
        return probe_level(architecture) > 0

    def lacks_emulator(self, platform: Platform) -> bool:
        """Tell whether steps for `platform` would run if only there were an emulator."""
        if platform.os != "linux" or self._forbidden is not None:
            return False
        known = any(each.architecture == platform.architecture for each in HANDLERS)
        return known and self._find(platform.architecture) is None

    def unrunnable(self, platforms: Iterable[Platform]) -> list[Platform]:
        """Return those of `platforms` whose steps can't run here."""
        refused = []
        for platform in platforms:
            try:
                self.prepare(platform)
            except NoEmulator:
                refused.append(platform)
        return refused

    def _is_native(self, architecture: str) -> bool:
        return runs_natively(architecture, self._facts)

    def _outer_entries(self) -> tuple[Entry, ...]:
        return self._outer.entries() if self._outer is not None else ()

    def _register_for_all(self, entries: Iterable[Entry]) -> None:
        lines = [(entry.name, entry.register_line) for entry in entries]
        if self._handlers < 0:
            self._handlers = register_private(lines)
        else:
            register_more(self._handlers, lines)

    def _holder(self, architecture: str, outer: Sequence[Entry]) -> Holder | None:
        """Return what holds the emulators of an architecture, which are registered if they weren't."""
        if architecture not in self._registered and self._forbidden is None:
            self._register(architecture, outer)
        return self._holders.get(architecture)

    def _register(self, architecture: str, outer: Sequence[Entry]) -> None:
        """Register the emulators for an architecture and its relatives, and for what the machine runs.

        No others: finding out how one is to be registered means to run it.
        """
        group = self._group(architecture, outer)
        if self._host.rootless:
            # They all share one namespace; of root's, each holder has its own.
            group = [each for each in group if each not in self._registered]
        emulators = self._emulators(group)
        kept = self._kept(outer) if self._handlers < 0 else ()
        entries = entries_to_register(emulators, kept)
        try:
            if self._host.rootless:
                self._register_for_all(entries)
            else:
                self._holders[architecture] = Holder(self._spawner, entries)
        except NamespaceForbidden as error:
            self._forbidden = error
            return
        there = {each.handler.architecture for each in emulators}
        self._registered |= there if self._host.rootless else {architecture}

    def _used(self, emulator: Emulator) -> Emulator:
        """Return the emulator as it is to be registered."""
        # Native builds don't load what only this needs.
        from polyarch.emulation.tuned import tuned  # noqa: PLC0415

        note_use(emulator.path)
        return tuned(emulator, self._facts)

    def _group(self, architecture: str, outer: Sequence[Entry]) -> list[str]:
        """Return an architecture, its relatives, and what the machine runs, but for what is native."""
        family = _FAMILIES.get(architecture, (architecture,))
        family = tuple(dict.fromkeys((*family, *self._replaced(outer))))
        return [each for each in family if not self._is_native(each)]

    def _emulators(self, group: Iterable[str]) -> list[Emulator]:
        return [self._used(each) for each in map(self._find, group) if each is not None]

    def _holder_with(
        self, twins: Sequence[TwinSet], architecture: str, outer: Sequence[Entry]
    ) -> Holder | None:
        """Return a namespace that has handlers for twins besides; None where that can't be had.

        Steps without twins never join it. Raises StoreError if the sets can't be written to.
        """
        key = f"{architecture} {' '.join(str(each.directory) for each in twins)}"
        if key not in self._holders:
            # Few builds have twins.
            from polyarch.emulation.cpuinfo import find_shown  # noqa: PLC0415
            from polyarch.twins.lending import lend_cpuinfo, lend_emulator  # noqa: PLC0415

            emulators = self._emulators(self._group(architecture, outer))
            entries = entries_to_register(emulators, self._kept(outer))
            path = next(
                each.path for each in emulators if each.handler.architecture == architecture
            )
            shown = find_shown(path, architecture)
            for each in twins:
                lend_emulator(each, path)
                lend_cpuinfo(each, shown)
            try:
                self._holders[key] = Holder(self._spawner, entries, twins)
            except NamespaceForbidden:
                return None
        return self._holders[key]

    def _find(self, architecture: str) -> Emulator | None:
        return find_emulator(architecture, self._facts, self._environ)

    def _replaced(self, outer: Sequence[Entry]) -> list[str]:
        """Return the architectures for which the machine has a handler, and we have an emulator."""
        there = {entry.magic for entry in outer if entry.enabled}
        return [
            each.architecture
            for each in HANDLERS
            if each.magic in there
            and not self._is_native(each.architecture)
            and find_path(each, self._environ, self._facts.directory)
        ]

    def _kept(self, outer: Sequence[Entry]) -> list[Entry]:
        """Return the machine's handlers that none of ours replaces."""
        ours = {get_handler(each).magic for each in self._replaced(outer)}
        return [entry for entry in outer if entry.magic not in ours]

    def _by_outer_handler(self, platform: Platform, outer: Sequence[Entry]) -> Emulation:
        """Use a handler of the whole machine, if it doesn't need files of the step's root."""
        entry = machine_handler(platform.architecture, outer)
        if entry is None and self._host.refused and probe_level(platform.architecture):
            # A container doesn't show the machine's handlers; they work all the same.
            return Emulation(how=RunsHow.HANDLER, emulator="a handler of the machine")
        if entry is None:
            raise self.no_emulator([platform])
        return Emulation(
            how=RunsHow.HANDLER,
            emulator=entry.interpreter,
            description=f"the machine's handler {entry.name} ({entry.interpreter})",
        )

    def no_emulator(self, platforms: Sequence[Platform]) -> NoEmulator:
        """Return the error that names all of `platforms`, none of which can run here."""
        names = ", ".join(map(str, platforms))
        if self._forbidden is not None:
            return NoEmulator(
                f"{names} can't be emulated: {self._forbidden}", hint=self._forbidden.hint
            )
        architectures = " ".join(dict.fromkeys(each.architecture for each in platforms))
        return NoEmulator(
            f"{names} can't be run here, natively or emulated",
            hint="install static QEMU emulators (Debian, Ubuntu: apt-get install qemu-user-static), "
            f"or have root run: polyarch binfmt install {architectures}",
        )
