"""For each platform: what would run its programs in a build here, why that, and how long it takes to start.

By the rules by which builds prepare a step. How long a start takes is measured, by programs of a few
instructions: less than anything that is worth running.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from polyarch.emulation.binfmt import HANDLERS, BinfmtMount, Entry, Handler
from polyarch.emulation.facts import Facts
from polyarch.emulation.kept import IMAGE_VARIABLE, emulator_image
from polyarch.emulation.private import allows_private
from polyarch.emulation.probe import machine_handler, probe_program, runs_natively
from polyarch.emulation.qemu import find_emulator, searched
from polyarch.emulation.tuned import tuned
from polyarch.platforms import Platform, linux
from polyarch.process import base_environment
from polyarch.record import frozen

__all__ = ["Way", "overview", "start_seconds"]

_STARTS = 5
_VARIANTS = {"arm": "v7"}


@frozen
class Way:
    """How programs of a platform would run.

    `how` is native, emulator, handler (of the whole machine), image (fetched when a step needs it) or none;
    `program` is the emulator's path, `version` QEMU's. `start` is in seconds, None if nothing can be started yet.
    """

    platform: Platform
    how: str
    why: str
    program: str = ""
    version: str = ""
    image: str = ""
    start: float | None = None

    def to_json(self) -> dict[str, object]:
        """Return it for programs; the start in milliseconds."""
        start = None if self.start is None else round(self.start * 1000, 2)
        return {
            "platform": str(self.platform),
            "how": self.how,
            "why": self.why,
            "program": self.program,
            "version": self.version,
            "image": self.image,
            "startMilliseconds": start,
        }


def overview(
    facts: Facts, environ: Mapping[str, str], mount: BinfmtMount | None = None
) -> tuple[Way, ...]:
    """Return the ways of all known architectures, native ones first. To be called without threads."""
    outer = (mount or BinfmtMount()).entries()
    ways = [_way(handler, facts, environ, outer) for handler in HANDLERS]
    return tuple(sorted(ways, key=lambda each: each.how != "native"))


def _way(handler: Handler, facts: Facts, environ: Mapping[str, str], outer: Sequence[Entry]) -> Way:
    architecture = handler.architecture
    platform = linux(architecture, _VARIANTS.get(architecture, ""))
    if runs_natively(architecture, facts):
        start = start_seconds(architecture)
        return Way(platform=platform, how="native", why="this machine's own", start=start)
    emulator = find_emulator(architecture, facts, environ)
    entry = machine_handler(architecture, outer)
    if emulator is not None and allows_private(facts):
        used = tuned(emulator, facts)
        setting = f", with -cpu {emulator.cpu}" if used.path != emulator.path else ""
        return Way(
            platform=platform,
            how="emulator",
            why=f"found by {emulator.origin}{setting}",
            program=emulator.path,
            version=emulator.shown_version,
            image=emulator.origin if "@" in emulator.origin else "",
            start=start_seconds(architecture, used.path),
        )
    if entry is not None:
        return Way(
            platform=platform,
            how="handler",
            why=f"registered for the whole machine as {entry.name}",
            program=entry.interpreter,
            start=start_seconds(architecture),
        )
    return _absent(handler, platform, environ, facts, has_emulator=emulator is not None)


def _absent(
    handler: Handler,
    platform: Platform,
    environ: Mapping[str, str],
    facts: Facts,
    *,
    has_emulator: bool,
) -> Way:
    """Say what becomes of a platform for which nothing is ready."""
    if has_emulator:
        why = (
            f"{handler.entry} is here, but this kernel lets builds register nothing for themselves"
        )
        return Way(platform=platform, how="none", why=why)
    passed = next(
        (
            f"{each.path} is dynamically linked, and "
            for each in searched(handler, environ, facts.directory)
            if os.access(each.path, os.X_OK)
        ),
        "",
    )
    image = emulator_image(environ)
    if not image:
        why = f"{passed}no static {handler.entry} was found, and {IMAGE_VARIABLE}=none"
        return Way(platform=platform, how="none", why=why)
    why = f"{passed}no static {handler.entry} was found: a step that needs it has it fetched"
    return Way(platform=platform, how="image", why=why, image=image)


def start_seconds(architecture: str, emulator: str = "") -> float | None:
    """Return how long a program takes from its start to its end, at best; None if it doesn't run.

    Without an emulator it is left to the kernel how it starts it.
    """
    written = os.memfd_create(f"probe-{architecture}", 0)
    try:
        os.write(written, probe_program(architecture))
        # Open for writing would mean "text file busy".
        read_only = os.open(f"/proc/self/fd/{written}", os.O_RDONLY)
    finally:
        os.close(written)
    try:
        os.set_inheritable(read_only, True)
        path = f"/proc/self/fd/{read_only}"
        times = [_start([emulator, path] if emulator else [path]) for _ in range(_STARTS)]
    finally:
        os.close(read_only)
    return None if None in times else min(each for each in times if each is not None)


def _start(argv: list[str]) -> float | None:
    started = time.perf_counter()
    try:
        pid = os.posix_spawn(argv[0], argv, base_environment())
    except OSError:
        return None
    _, status = os.waitpid(pid, 0)
    took = time.perf_counter() - started
    return took if os.waitstatus_to_exitcode(status) > 64 else None
