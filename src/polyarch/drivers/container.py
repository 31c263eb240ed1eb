"""The driver docker-container: a BuildKit daemon in a container of Docker's engine.

The container of the node `b0` is `buildx_buildkit_b0`, its state is the volume `buildx_buildkit_b0_state`: docker buildx
makes and finds them by the same names. The daemon is spoken to through the engine: `buildctl dial-stdio`, run in
the container, leads to its socket.

Source: docker buildx, `driver/docker-container/driver.go`.
"""

from __future__ import annotations

import io
import socket
import time
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePosixPath

from polyarch.builders.collecting import CONFIG_NAME
from polyarch.builders.values import BuilderNode
from polyarch.buildkit.address import Target
from polyarch.buildkit.build import Remote
from polyarch.drivers.driver import Status
from polyarch.drivers.options import ContainerOptions, read_options
from polyarch.engine.containers import Containers, EngineRefused
from polyarch.errors import MachineError
from polyarch.layer.tar import DIRECTORY, Entry, TarWriter
from polyarch.oci.fields import Fields
from polyarch.progress import LogEvent, Sink, Step, check_cancelled, step
from polyarch.record import field, frozen
from polyarch.registry.credentials import Credentials

__all__ = ["ContainerNode", "container_node"]

_STATE = "/var/lib/buildkit"
_CONFIG = "/etc/buildkit"
_PARENT = "/docker/buildx"
"""The cgroup of all such containers where the engine has cgroupfs, so that they can be limited together."""
_ATTEMPTS = 15
_FIRST_PAUSE = 0.12
"""Seconds before a daemon is asked for the second time whether it is ready; each pause is longer by as much."""
_LIMITS = {
    "memory": "Memory",
    "memory-swap": "MemorySwap",
    "cpu-quota": "CpuQuota",
    "cpu-period": "CpuPeriod",
    "cpu-shares": "CpuShares",
}


@frozen
class ContainerNode:
    """The container of a node."""

    node: BuilderNode
    options: ContainerOptions
    engine: Containers
    environ: Mapping[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        """The name of the container."""
        return f"buildx_buildkit_{self.node.name}"

    @property
    def volume(self) -> str:
        """The name of the volume that has the daemon's state."""
        return f"{self.name}_state"

    def remote(self) -> Remote:
        """Return how the daemon is reached."""
        return Remote(
            address=f"docker-container://{self.name}",
            target=Target(dial=self._dial),
            environ=self.environ,
        )

    def _dial(self) -> socket.socket:
        return self.engine.dial(self.name, ("buildctl", "dial-stdio"))

    def check(self) -> None:
        """Ask the engine for the container, so that it is known to answer."""
        self.status()

    def status(self) -> Status:
        """Look how the container is."""
        found = self.engine.container(self.name)
        if found is None:
            return Status.INACTIVE
        return Status.RUNNING if found.object("State").flag("Running") else Status.STOPPED

    def boot(self, sink: Sink) -> None:
        """Make the container and start it, as far as that isn't done, and wait for the daemon."""
        with step(sink, "[internal] booting buildkit") as booting:
            if self.engine.container(self.name) is None:
                self._create(booting, self._image(booting))
            with booting.part(f"starting container {self.name}"):
                self.engine.start(self.name)
                self._wait(booting, sink)

    def stop(self) -> None:
        """Stop the container if it runs."""
        if self.status() is Status.RUNNING:
            self.engine.stop(self.name)

    def remove(self, *, keeps_state: bool) -> None:
        """Remove the container, and the volume unless it is kept."""
        if self.engine.container(self.name) is None:
            return
        self.engine.remove(self.name)
        if not keeps_state:
            self.engine.remove_volume(self.volume)

    # --- making it ---

    def _image(self, booting: Step) -> str:
        """Have the image fetched; one that is there will do where it can't be."""
        name = self.options.image
        try:
            with booting.part(f"pulling image {name}"):
                self.engine.pull(name, Credentials(self.environ), lambda _text: check_cancelled())
        except MachineError as error:
            if self.engine.image(name) is None:
                raise MachineError(
                    f"the image {name} of the builder can't be fetched: {error}",
                    hint="name one that the engine can reach: --driver-opt image=NAME",
                ) from error
            booting.remark(f"using local image {name}")
        return name

    def _create(self, booting: Step, image: str) -> None:
        with booting.part(f"creating container {self.name}"):
            try:
                self.engine.create(self.name, self._document(image))
            except EngineRefused as error:
                if not error.is_taken:
                    raise
                return
            try:
                self.engine.put(
                    self.name, str(PurePosixPath(_CONFIG).parent), _archive(self.node.files)
                )
            except BaseException:
                # Without its settings it would be another daemon, and the next start wouldn't know.
                with suppress(MachineError):
                    self.engine.remove(self.name)
                raise

    def _document(self, image: str) -> dict[str, object]:
        options = self.options
        host: dict[str, object] = {
            "Privileged": True,
            # It cleans up after the processes of steps that have lost their parents.
            "Init": True,
            "RestartPolicy": {
                "Name": options.restart.name,
                "MaximumRetryCount": options.restart.most,
            },
            "Mounts": [{"Type": "volume", "Source": self.volume, "Target": _STATE}],
            **{_LIMITS[name]: value for name, value in options.limits.items() if value},
            **_given("NetworkMode", options.network),
            **_given("CpusetCpus", options.cpuset_cpus),
            **_given("CpusetMems", options.cpuset_mems),
            **self._by_engine(self.engine.information()),
        }
        settings = (
            ["--config", f"{_CONFIG}/{CONFIG_NAME}"] if CONFIG_NAME in self.node.files else []
        )
        return {
            "Image": image,
            "Env": list(options.environ),
            # The user's own flags come last, and count.
            "Cmd": [*settings, *self.node.flags],
            "HostConfig": host,
        }

    def _by_engine(self, told: Fields) -> dict[str, object]:
        found: dict[str, object] = {}
        if told.text("CgroupDriver") == "cgroupfs":
            found["CgroupParent"] = self.options.cgroup_parent or _PARENT
        if any(each.startswith("name=userns") for each in told.texts("SecurityOptions")):
            found["UsernsMode"] = "host"
        return found

    def _wait(self, booting: Step, sink: Sink) -> None:
        """Wait until the daemon answers. Raises MachineError with its last words if it doesn't."""
        for attempt in range(1, _ATTEMPTS + 1):
            ended = self.engine.run(self.name, ("buildctl", "debug", "workers"))
            if ended.status == 0:
                return
            check_cancelled()
            time.sleep(attempt * _FIRST_PAUSE)
        logs = self.engine.logs(self.name)
        for data in (logs, ended.output.encode(), ended.errors.encode()):
            if data:
                sink(LogEvent(step=booting.digest, stream=2, data=data, time=time.time()))
        raise MachineError(
            f"the daemon in the container {self.name} doesn't answer: exit code {ended.status}",
            hint=f"look what it says: docker logs {self.name}",
        )


def container_node(
    node: BuilderNode, engine: Containers, environ: Mapping[str, str]
) -> ContainerNode:
    """Return the container of a node at an engine. Raises InputError for options that aren't any."""
    return ContainerNode(
        node=node, options=read_options(node.driver_opts), engine=engine, environ=environ
    )


def _given(name: str, value: str) -> dict[str, object]:
    return {name: value} if value else {}


def _archive(files: Mapping[str, str]) -> bytes:
    """Return an archive of the files of a node, to be unpacked beside the directory that they are in."""
    found = {
        f"{PurePosixPath(_CONFIG).name}/{name}": b64decode(files[name]) for name in sorted(files)
    }
    directories = {
        str(parent) for name in found for parent in PurePosixPath(name).parents if parent.name
    }
    sink = io.BytesIO()
    writer = TarWriter(sink)
    for name in sorted(directories):
        writer.add(Entry(name=name, kind=DIRECTORY, mode=0o755))
    for name, data in found.items():
        writer.add(Entry(name=name, mode=0o644, size=len(data)), data)
    writer.end()
    return sink.getvalue()
