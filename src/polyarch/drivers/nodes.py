"""The driver of a node, by the name that its builder has for it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from polyarch.builders.values import (
    CONTAINER_DRIVER,
    DOCKER_DRIVER,
    KUBERNETES_DRIVER,
    BuilderNode,
    SavedBuilder,
)
from polyarch.buildkit.address import Target, parse_target
from polyarch.buildkit.build import Remote
from polyarch.buildkit.nodes import wait_for
from polyarch.drivers.container import container_node
from polyarch.drivers.driver import NodeDriver, Status
from polyarch.drivers.kubernetes.needs import require_kubernetes
from polyarch.engine.containers import Containers
from polyarch.engine.docker import address_at
from polyarch.errors import InputError
from polyarch.late import is_there
from polyarch.progress import Sink
from polyarch.record import frozen, replace
from polyarch.text.nearest import hint_for

__all__ = ["driver_of"]

_REMOTE_OPTIONS = frozenset({"cacert", "cert", "key", "servername", "default-load"})


@frozen
class _Found:
    """A daemon that others run: there is nothing to be done but to reach it."""

    found: Remote

    def remote(self) -> Remote:
        return self.found

    def check(self) -> None:
        """Leave it to builds to find out whether it is there."""

    def status(self) -> Status:
        return Status.RUNNING

    def boot(self, sink: Sink) -> None:
        """Wait for it: its owner may be starting it."""
        wait_for(self.found, sink)

    def stop(self) -> None:
        """Leave it running."""

    def remove(self, *, keeps_state: bool) -> None:
        """Leave it running."""


def driver_of(
    builder: SavedBuilder, node: BuilderNode, environ: Mapping[str, str], *, key: str = ""
) -> NodeDriver:
    """Return what runs the daemon of a node, which isn't this machine. Raises InputError, NotFound, MachineError.

    `key` is the path of the build context: where a node is several daemons, builds with one key are done by one of them.
    """
    if builder.driver == KUBERNETES_DRIVER:
        require_kubernetes()
        # The client library takes most of a second.
        from polyarch.drivers.kubernetes.driver import cluster_node  # noqa: PLC0415

        return cluster_node(node, environ, key)
    if builder.driver == CONTAINER_DRIVER:
        return container_node(node, _engine(node.endpoint, environ), environ)
    if builder.driver == DOCKER_DRIVER:
        target = Target(dial=_engine(node.endpoint, environ).dial_buildkit)
        remote = Remote(address=node.endpoint, target=target, environ=environ, is_engine=True)
        return _Found(found=remote)
    for name in node.driver_opts:
        if name not in _REMOTE_OPTIONS:
            raise InputError(
                f"invalid driver option {name} for remote driver",
                hint=hint_for(name, _REMOTE_OPTIONS),
            )
    target = parse_target(node.endpoint, node.driver_opts)
    if target.program[:1] == ("kubectl",) and _lacks_kubectl(environ):
        from polyarch.drivers.kubernetes.driver import pod_target  # noqa: PLC0415 see above

        target = pod_target(node.endpoint, environ)
    is_engine = bool(target.engine)
    if is_engine:
        target = replace(target, dial=_engine(target.engine, environ).dial_buildkit)
    remote = Remote(address=node.endpoint, target=target, environ=environ, is_engine=is_engine)
    return _Found(found=remote)


def _lacks_kubectl(environ: Mapping[str, str]) -> bool:
    """Tell whether the client library has to do what kubectl does elsewhere."""
    is_lacking = shutil.which("kubectl", path=environ.get("PATH")) is None
    return is_lacking and is_there("kubernetes")


def _engine(endpoint: str, environ: Mapping[str, str]) -> Containers:
    return Containers(address=address_at(environ, endpoint))
