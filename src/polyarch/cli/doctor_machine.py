"""What this machine allows: each check looks at one thing, believing nothing that it can try.

The first part is looked at where the command is called, the second in the engine, where builds run.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from polyarch.cli.command import Context
from polyarch.cli.doctor_report import Check, Grade
from polyarch.emulation.binfmt import HANDLERS
from polyarch.emulation.facts import Facts
from polyarch.emulation.private import register_private
from polyarch.emulation.probe import Runnable, RunsHow, runnable
from polyarch.emulation.qemu import find_emulator
from polyarch.engine.programs import host_resolv_conf
from polyarch.errors import MachineError, NamespaceForbidden, PolyarchError
from polyarch.golang.units import human_size
from polyarch.namespaces.subids import find_id_trouble
from polyarch.namespaces.userns import (
    EngineNamespaces,
    needs_user_namespace,
    parse_subids,
    subid_names,
)
from polyarch.paths import docker_config_folder, state_folder
from polyarch.record import frozen
from polyarch.runtime.choose import choose_runtime, find_host
from polyarch.runtime.foreign import Holder
from polyarch.runtime.sandbox.spawner import Spawner
from polyarch.snapshot.choose import open_snapshotter
from polyarch.store.store import Store

__all__ = [
    "EngineChecks",
    "credentials",
    "disk",
    "emulators",
    "kernel",
    "subordinate_ids",
    "unprivileged_names",
]

_LEAST_KERNEL = (5, 11)
_PRIVATE_KERNEL = (6, 7)
_SCARCE = 2_000_000_000
_TOO_SCARCE = 100_000_000
_EMULATOR_PACKAGE = "sudo apt-get install qemu-user-static"


def kernel() -> Check:
    """Look at the kernel's version."""
    name = os.uname()
    numbers = re.match(r"(\d+)\.(\d+)", name.release)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    text = f"Linux {name.release} on {name.machine}"
    if version < _LEAST_KERNEL:
        return Check(
            name="kernel",
            grade=Grade.WARN,
            text=f"{text}: before 5.11 ordinary users can't mount overlays, so files are copied",
            mend="upgrade the kernel, or build as root",
        )
    if version < _PRIVATE_KERNEL:
        text += " (before 6.7, emulators must be registered for the whole machine)"
    return Check(name="kernel", grade=Grade.OK, text=text)


def subordinate_ids(*, names: tuple[str, ...]) -> Check:
    """Look at the ids that an ordinary user, called by any of `names`, may give away."""
    title = "user ids"
    trouble = find_id_trouble(names)
    if trouble is not None:
        return Check(name=title, grade=Grade.WARN, text=trouble.text, mend=trouble.mend)
    count = sum(each.count for each in parse_subids(_read("/etc/subuid"), names))
    return Check(name=title, grade=Grade.OK, text=f"{count} subordinate ids")


def credentials(context: Context) -> Check:
    """Look whether Docker's configuration, and the programs that it names, are there."""
    title = "credentials"
    path = docker_config_folder(context.environ) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        helpers = [config.get("credsStore"), *config.get("credHelpers", {}).values()]
    except FileNotFoundError:
        return Check(name=title, grade=Grade.OK, text=f"none: there is no {path}")
    except (OSError, ValueError, AttributeError) as error:
        return Check(
            name=title, grade=Grade.WARN, text=f"{path} can't be used: {error}", mend=f"mend {path}"
        )
    folders = context.environ.get("PATH", os.defpath).split(":")
    for helper in sorted({f"docker-credential-{each}" for each in helpers if each}):
        if not any(os.access(os.path.join(folder, helper), os.X_OK) for folder in folders):
            return Check(
                name=title,
                grade=Grade.WARN,
                text=f"{path} names the program {helper}, which isn't on PATH",
                mend=f"install {helper}, or take it out of {path}",
            )
    known = len(config.get("auths") or {})
    return Check(name=title, grade=Grade.OK, text=f"{path}, {known} registries signed in to")


def disk(context: Context) -> Check:
    """Look at the space where the store is, or would be."""
    root = state_folder(context.environ)
    place = next(each for each in (root, *root.parents) if os.path.exists(each))
    status = os.statvfs(place)
    free = status.f_bavail * status.f_frsize
    text = f"{human_size(free)} free at {root}"
    if not os.access(place, os.W_OK | os.X_OK):  # also where a folder on the way may not be entered
        return Check(
            name="disk",
            grade=Grade.FAIL,
            text=f"{place} can't be written",
            mend="export POLYARCH_ROOT=$HOME/.local/share/polyarch",
        )
    if status.f_files and not status.f_favail:
        free, text = 0, f"no inodes left at {root}"
    grade = Grade.FAIL if free < _TOO_SCARCE else Grade.WARN if free < _SCARCE else Grade.OK
    return Check(
        name="disk",
        grade=grade,
        text=text,
        mend="" if grade is Grade.OK else "polyarch prune --all",
    )


def emulators(context: Context) -> Iterator[Check]:
    """Look which architectures' programs run here, and how."""
    facts = Facts(state_folder(context.environ))
    running = {each.architecture: each.how for each in runnable(facts, context.environ)}
    for handler in HANDLERS:
        architecture = handler.architecture
        bare = Runnable(os="linux", architecture=architecture, variant="", how=RunsHow.EMULATOR)
        emulator = find_emulator(bare, facts, context.environ)
        match running.get(architecture):
            case RunsHow.NATIVE:
                yield _architecture(architecture, "natively")
            case RunsHow.HANDLER:
                yield _architecture(architecture, "by a handler of the whole machine")
            case RunsHow.EMULATOR if emulator is not None:
                version = ".".join(map(str, emulator.version))
                yield _architecture(architecture, f"emulated by {emulator.path}, QEMU {version}")
            case _:
                yield _not_running(architecture, handler.qemu, has_emulator=emulator is not None)


def _not_running(architecture: str, qemu: str, *, has_emulator: bool) -> Check:
    text, mend = f"no static qemu-{qemu} was found", _EMULATOR_PACKAGE
    if has_emulator:
        text = f"qemu-{qemu} is here, but builds can't register it for themselves"
        mend = f"sudo polyarch binfmt install {architecture}"
    return Check(name=f"linux/{architecture}", grade=Grade.WARN, text=text, mend=mend)


def _architecture(architecture: str, how: str) -> Check:
    return Check(name=f"linux/{architecture}", grade=Grade.OK, text=f"runs {how}")


@frozen
class EngineChecks:
    """What is tried in the engine's namespaces, before there are threads."""

    context: Context
    namespaces: EngineNamespaces
    store: Store | None

    def run(self) -> Iterator[Check]:
        """Look at one thing after the other."""
        yield self._namespaces()
        spawner = Spawner()
        try:
            yield self._private_handlers(spawner)
            if self.store is not None:
                yield self._overlay(self.store)
                yield self._runtime(spawner, self.store)
        finally:
            spawner.close()
        yield self._network()

    def _namespaces(self) -> Check:
        where = "a user namespace" if self.namespaces.rootless else "root's own rights"
        pids = "" if self.namespaces.pid_namespace else ", without a PID namespace"
        ids = self.namespaces.mapped_ids
        return Check(
            name="namespaces",
            grade=Grade.OK,
            text=f"builds run in {where}{pids}; {ids} user ids are mapped",
        )

    def _private_handlers(self, spawner: Spawner) -> Check:
        title = "emulation"
        try:
            if self.namespaces.rootless:
                os.close(register_private(()))
            else:
                Holder(spawner, ()).close()
        except (NamespaceForbidden, MachineError) as error:
            return Check(
                name=title,
                grade=Grade.WARN,
                text=f"not without handlers of the whole machine: {error}",
                mend="sudo polyarch binfmt install all",
            )
        return Check(name=title, grade=Grade.OK, text="builds register emulators for themselves")

    def _overlay(self, store: Store) -> Check:
        try:
            open_snapshotter(store, "overlay")
        except PolyarchError as error:
            return Check(
                name="overlayfs",
                grade=Grade.WARN,
                text=f"{error}: every step copies all files",
                mend="sudo modprobe overlay",
            )
        return Check(name="overlayfs", grade=Grade.OK, text="layers are mounted, not copied")

    def _runtime(self, spawner: Spawner, store: Store) -> Check:
        environ = self.context.environ
        host = find_host(rootless=self.namespaces.rootless, mapped_ids=self.namespaces.mapped_ids)
        try:
            runtime = choose_runtime(
                environ.get("POLYARCH_RUNTIME"),
                host=host,
                spawner=spawner,
                facts=Facts(store.root),
                temporary=lambda: store.temporary("probe"),
                environ=environ,
            )
        except PolyarchError as error:
            return Check(
                name="runtime", grade=Grade.FAIL, text=str(error), mend="sudo apt-get install runc"
            )
        return Check(name="runtime", grade=Grade.OK, text=f"steps are run by {runtime.name}")

    def _network(self) -> Check:
        servers = re.findall(r"^\s*nameserver\s+(\S+)", host_resolv_conf(), re.MULTILINE)
        if not servers:
            return Check(
                name="network",
                grade=Grade.WARN,
                text="steps share the machine's network, but /etc/resolv.conf names no server",
                mend="echo nameserver 1.1.1.1 | sudo tee -a /etc/resolv.conf",
            )
        return Check(
            name="network",
            grade=Grade.OK,
            text=f"steps share the machine's; names are asked of {', '.join(servers)}",
        )


def unprivileged_names() -> tuple[str, ...]:
    """Return what /etc/subuid may call the caller, the name last; nothing for who needs no such ids."""
    if not needs_user_namespace():
        return ()
    return subid_names(os.geteuid())


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
