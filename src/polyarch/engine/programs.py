"""What the engine runs programs with: a runtime, and emulation for what isn't native."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.emulation.binfmt import BinfmtMount
from polyarch.emulation.facts import Facts
from polyarch.errors import InputError
from polyarch.http.offline import is_offline
from polyarch.http.proxied import is_proxied
from polyarch.namespaces.userns import EngineNamespaces
from polyarch.platforms import Platform
from polyarch.record import frozen
from polyarch.registry.authorities import find_authorities
from polyarch.runtime.base import Runtime
from polyarch.runtime.choose import choose_runtime, find_host
from polyarch.runtime.foreign import Emulation, ForeignSteps
from polyarch.runtime.network import resolv_conf
from polyarch.runtime.sandbox.spawner import Spawner
from polyarch.runtime.step import Network
from polyarch.store.store import Store
from polyarch.worker.exec import StepRunner
from polyarch.worker.mounts import KeptMounts, StepMounts
from polyarch.worker.remote import RemoteSources
from polyarch.worker.source_image import ImageSource
from polyarch.worker.work import Left

if TYPE_CHECKING:
    from polyarch.cdi.devices import Devices
    from polyarch.engine.emulated import LateEmulatedSteps

__all__ = ["HANG_VARIABLE", "Programs", "hang_seconds", "host_resolv_conf", "open_programs"]

_RESOLV_CONF = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
HANG_VARIABLE = "POLYARCH_HANG_SECONDS"
_HANG_SECONDS = "300"
_STUB_SERVER = "127.0.0.53"


@frozen
class Programs:
    """Runs programs, native and foreign."""

    runtime: Runtime
    foreign: ForeignSteps
    facts: Facts
    environ: Mapping[str, str]

    def close(self) -> None:
        """End what is held for foreign steps."""
        self.foreign.close()

    def _devices(self) -> Devices:
        # Few steps have any: 1 ms.
        from polyarch.cdi.devices import find_devices, spec_directories  # noqa: PLC0415

        return find_devices(spec_directories(self.environ))

    def step_runner(
        self,
        images: ImageSource,
        remote: RemoteSources,
        emulated: LateEmulatedSteps,
        note_emulation: Callable[[Platform, Emulation], None],
        kept: KeptMounts | None = None,
        left: Left | None = None,
    ) -> StepRunner:
        """Return what runs the steps of one build, on what its images come from.

        `note_emulation` is told by what they are emulated; `kept` has what cache mounts begin with; `left` is told what
        steps that fail have left.
        """
        store, snapshotter = images.store, images.snapshotter
        return StepRunner(
            snapshotter=snapshotter,
            runtime=self.runtime,
            foreign=self.foreign,
            mounts=StepMounts(
                store=store, snapshotter=snapshotter, secrets=remote.secrets, kept=kept
            ),
            remote=remote,
            sink=images.sink,
            temporary=lambda: store.temporary("step"),
            devices=self._devices,
            resolv_conf=host_resolv_conf,
            emulated=emulated.get,
            note_emulation=note_emulation,
            hang_seconds=hang_seconds(self.environ),
            machines=emulated.machines,
            in_machines=emulated.in_machines,
            is_offline=is_offline(self.environ),
            is_proxied=is_proxied(self.environ),
            left=left,
            authorities=tuple(each.path for each in find_authorities(self.environ)),
        )


def hang_seconds(environ: Mapping[str, str]) -> float:
    """Return for how long nothing may move in an emulated step, 0 for any time. Raises InputError."""
    text = environ.get(HANG_VARIABLE) or _HANG_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise InputError(
            f"{HANG_VARIABLE}={text} is no number of seconds",
            hint="write 300, or 0 to let emulated steps stand still for any time",
        )
    return seconds


def open_programs(
    store: Store, namespaces: EngineNamespaces, spawner: Spawner, environ: Mapping[str, str]
) -> Programs:
    """Find a runtime that works. Raises NoRuntime, InputError for an unknown POLYARCH_RUNTIME."""
    host = find_host(
        rootless=namespaces.rootless,
        mapped_ids=namespaces.mapped_ids,
        refused=str(namespaces.refused or ""),
        lift=namespaces.refused.hint if namespaces.refused else "",
        covered=not namespaces.pid_namespace,
    )
    facts = Facts(store.root)
    foreign = ForeignSteps(
        host=host, spawner=spawner, facts=facts, outer=_outer_binfmt(namespaces), environ=environ
    )
    runtime = choose_runtime(
        environ.get("POLYARCH_RUNTIME"),
        host=host,
        spawner=spawner,
        facts=facts,
        temporary=lambda: store.temporary("probe"),
        environ=environ,
    )
    return Programs(runtime=runtime, foreign=foreign, facts=facts, environ=environ)


def _outer_binfmt(namespaces: EngineNamespaces) -> BinfmtMount | None:
    if namespaces.outer_binfmt is None:
        return None
    return BinfmtMount(f"/proc/self/fd/{namespaces.outer_binfmt}")


def host_resolv_conf(network: Network = Network.HOST) -> str:
    """Return the resolv.conf of steps on a network: the real servers behind systemd's stub, too."""
    texts = [_read(path) for path in _RESOLV_CONF]
    text = texts[1] if _STUB_SERVER in texts[0] and texts[1] else texts[0]
    return resolv_conf(text, network)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
