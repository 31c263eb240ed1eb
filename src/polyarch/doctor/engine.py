"""What this machine allows, tried in the engine's namespaces, where builds run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from polyarch.doctor.check import Check, Grade
from polyarch.doctor.place import find_place
from polyarch.emulation.facts import Facts
from polyarch.emulation.private import register_private
from polyarch.engine.programs import host_resolv_conf
from polyarch.errors import MachineError, NamespaceForbidden, PolyarchError
from polyarch.namespaces.userns import (
    EngineNamespaces,
)
from polyarch.record import frozen
from polyarch.runtime.choose import choose_runtime, find_host
from polyarch.runtime.foreign import Holder
from polyarch.runtime.sandbox.spawner import Spawner
from polyarch.snapshot.choose import open_snapshotter
from polyarch.store.store import Store
from polyarch.syscalls import capget

__all__ = ["EngineChecks"]

_CAP_SYS_CHROOT = 18


@frozen
class EngineChecks:
    """What is tried in the engine's namespaces, before there are threads."""

    environ: Mapping[str, str]
    namespaces: EngineNamespaces
    store: Store | None
    names: tuple[str, ...] = ()
    """What an ordinary user is called; none for root."""

    def run(self) -> Iterator[Check]:
        """Look at one thing after the other."""
        yield self._namespaces()
        yield find_place(self.namespaces, names=self.names, changes_root=_may_change_root())
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
        if self.namespaces.refused is not None:
            return Check(
                name="namespaces",
                grade=Grade.WARN,
                text=f"builds do without: {self.namespaces.refused}",
            )
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
        if self.namespaces.refused is not None:
            return Check(
                name=title,
                grade=Grade.WARN,
                text="only by handlers of the whole machine, where it has any",
            )
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
                fix="sudo polyarch binfmt install all",
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
                fix=self._overlay_fix(store),
            )
        return Check(name="overlayfs", grade=Grade.OK, text="layers are mounted, not copied")

    def _overlay_fix(self, store: Store) -> str:
        if self.namespaces.refused is not None:
            return ""
        if _file_system(store.root) == "overlay":
            # Which can't be mounted over itself: as in most containers.
            return "export POLYARCH_ROOT=DIRECTORY, in a volume of the container or on another file system"
        return "sudo modprobe overlay"

    def _runtime(self, spawner: Spawner, store: Store) -> Check:
        host = find_host(
            rootless=self.namespaces.rootless,
            mapped_ids=self.namespaces.mapped_ids,
            refused=str(self.namespaces.refused or ""),
            covered=not self.namespaces.pid_namespace,
        )
        try:
            runtime = choose_runtime(
                self.environ.get("POLYARCH_RUNTIME"),
                host=host,
                spawner=spawner,
                facts=Facts(store.root),
                temporary=lambda: store.temporary("probe"),
                environ=self.environ,
            )
        except PolyarchError as error:
            refused = self.namespaces.refused
            fix = "sudo apt-get install runc" if refused is None else refused.hint
            return Check(name="runtime", grade=Grade.FAIL, text=str(error), fix=fix)
        return Check(name="runtime", grade=Grade.OK, text=f"steps are run by {runtime.name}")

    def _network(self) -> Check:
        servers = re.findall(r"^\s*nameserver\s+(\S+)", host_resolv_conf(), re.MULTILINE)
        if not servers:
            return Check(
                name="network",
                grade=Grade.WARN,
                text="steps share the machine's network, but /etc/resolv.conf names no server",
                fix="echo nameserver 1.1.1.1 | sudo tee -a /etc/resolv.conf",
            )
        return Check(
            name="network",
            grade=Grade.OK,
            text=f"steps share the machine's; names are asked of {', '.join(servers)}",
        )


def _may_change_root() -> bool:
    effective, _, _ = capget()
    return os.geteuid() == 0 and bool(effective >> _CAP_SYS_CHROOT & 1)


def _file_system(directory: Path) -> str:
    """Return the kernel's name for the file system that a directory is on; "" if it can't be told. Source: proc_pid_mountinfo(5)."""
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with (
        suppress(OSError),
        open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file,
    ):
        for line in file:
            mount, _, kind = line.partition(" - ")
            if mount.split(" ")[2] == wanted:
                return kind.split(" ")[0]
    return ""
