"""A node of the driver kubernetes, from its creation to its removal.

Source: docker buildx, `driver/kubernetes/driver.go`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

from polyarch.builders.clusters import ClusterPlace, read_cluster_endpoint
from polyarch.builders.values import BuilderNode
from polyarch.buildkit.address import DIAL, Target
from polyarch.buildkit.build import Remote
from polyarch.buildkit.lastwords import LastWords, spoken
from polyarch.drivers.driver import Status
from polyarch.drivers.kubernetes.carrying import carry
from polyarch.drivers.kubernetes.choosing import choose_pod
from polyarch.drivers.kubernetes.cluster import Cluster, open_cluster
from polyarch.drivers.kubernetes.manifest import CONTAINER, Manifest, manifest_of
from polyarch.drivers.kubernetes.options import ClusterOptions, read_cluster_options
from polyarch.drivers.kubernetes.persisting import persistently
from polyarch.drivers.kubernetes.settings import read_cluster_settings
from polyarch.drivers.kubernetes.troubles import (
    ended_containers,
    is_ready,
    pod_troubles,
    ready_count,
    workload_troubles,
)
from polyarch.errors import MachineError, PolyarchError
from polyarch.golang.units import human_duration
from polyarch.progress import Sink, Step, check_cancelled, step
from polyarch.record import field, frozen

__all__ = ["ClusterNode", "cluster_node", "pod_target"]

_PAUSE = 0.25
"""Seconds between two looks at pods that aren't ready."""


@frozen
class ClusterNode:
    """The pods of a node. `key` is the path of the build context, by which a pod is chosen."""

    options: ClusterOptions
    manifest: Manifest
    cluster: Cluster
    key: str
    environ: Mapping[str, str] = field(repr=False)

    def remote(self) -> Remote:
        """Return how the daemon in one of the pods is reached."""
        words = LastWords()
        return Remote(
            address=f"kubernetes://{self.cluster.namespace}/{self.manifest.name}",
            target=Target(dial=partial(self._dial, words), words=words),
            environ=self.environ,
            is_spread=self._is_random and self.options.replicas > 1,
        )

    @property
    def _is_random(self) -> bool:
        return self.options.loadbalance == "random"

    def _dial(self, words: LastWords) -> socket.socket:
        return persistently(partial(self._try, words))

    def _try(self, words: LastWords) -> socket.socket:
        pods = [pod for pod in self.cluster.pods(self.manifest) if pod.status.phase == "Running"]
        # Where none is ready, one that runs may be all the same.
        running = [str(pod.metadata.name) for pod in list(filter(is_ready, pods)) or pods]
        if not running:
            raise MachineError(
                f"no pod of {self.manifest.name} runs in the namespace {self.cluster.namespace}",
                hint=f"look at them: kubectl --namespace={self.cluster.namespace} get pods -l {self.manifest.selector}",
            )
        pod = choose_pod(running, self.key, is_random=self._is_random)
        return carry(self.cluster.run(pod, CONTAINER, DIAL), words)

    def check(self) -> None:
        """Ask nothing: builders are made before their clusters, and options are read by now."""

    def status(self) -> Status:
        """Look whether there are pods, and any that are ready."""
        found = self.cluster.workload(self.manifest)
        if found is None:
            return Status.INACTIVE
        return Status.RUNNING if ready_count(found) else Status.STOPPED

    def boot(self, sink: Sink) -> None:
        """Make what there isn't, and wait until all pods are ready."""
        with step(sink, "[internal] booting buildkit") as booting:
            if self.cluster.workload(self.manifest) is None:
                self.cluster.create(self.manifest)
            seconds = self.options.seconds
            count = self.options.replicas
            waiting = f"waiting for {count} pods to be ready, timeout: {human_duration(seconds)}"
            with booting.part(waiting):
                self._wait(booting, time.monotonic() + seconds)

    def stop(self) -> None:
        """Leave the pods running: they are the cluster's to stop, as with docker buildx."""

    def remove(self, *, keeps_state: bool) -> None:
        """Remove all that was made, and volumes that keep the state unless they are kept."""
        self.cluster.delete(self.manifest, keeps_state=keeps_state)

    # --- waiting for pods ---

    def _wait(self, booting: Step, deadline: float) -> None:
        told: set[str] = set()
        while True:
            found = self.cluster.workload(self.manifest)
            ready = ready_count(found) if found is not None else 0
            if ready >= self.options.replicas:
                return
            if time.monotonic() >= deadline:
                raise self._late(ready, found)
            for text in self._waiting():
                if text not in told:
                    told.add(text)
                    booting.remark(text)
            check_cancelled()
            time.sleep(_PAUSE)

    def _waiting(self) -> Iterator[str]:
        """Give what pods and their containers say that they wait for."""
        for pod in self.cluster.pods(self.manifest):
            yield from pod_troubles(pod)

    def _late(self, ready: int, found: Any | None) -> MachineError:
        """Return the error for pods that weren't ready in time, with what is known of the reasons."""
        name, namespace = self.manifest.name, self.cluster.namespace
        reasons = list(workload_troubles(found)) if found is not None else ["it is gone"]
        with suppress(PolyarchError):
            for pod in self.cluster.pods(self.manifest):
                reasons += pod_troubles(pod)
                reasons += self._told_of(pod)
        why = f": {'; '.join(dict.fromkeys(reasons))}" if reasons else ""
        return MachineError(
            f"expected {self.options.replicas} replicas of {name} to be ready, got {ready}{why}",
            hint=f"look at them: kubectl --namespace={namespace} describe pods -l {self.manifest.selector}; "
            "--driver-opt timeout=5m waits for longer",
        )

    def _told_of(self, pod: Any) -> list[str]:
        """Return what containers that ended had printed, and what was noted: not everybody who may build may read that."""
        name = str(pod.metadata.name)
        told = []
        for container in ended_containers(pod):
            with suppress(PolyarchError):
                printed = spoken(self.cluster.log(name, container))
                told += [f"{name}: {container} printed: {printed}"] if printed else []
        with suppress(PolyarchError):
            for event in self.cluster.events(name):
                if event.type == "Warning" and event.message:
                    told.append(f"{name}: {event.reason}: {event.message}")
        return told


def cluster_node(node: BuilderNode, environ: Mapping[str, str], key: str) -> ClusterNode:
    """Return a node's pods. Raises InputError for options that aren't any, MachineError without a cluster."""
    options = read_cluster_options(node.driver_opts)
    settings = read_cluster_settings(read_cluster_endpoint(node.endpoint), environ)
    cluster = open_cluster(settings, options.namespace)
    return ClusterNode(
        options=options,
        manifest=manifest_of(node, options, cluster.namespace),
        cluster=cluster,
        key=key,
        environ=environ,
    )


def pod_target(address: str, environ: Mapping[str, str]) -> Target:
    """Return where a daemon is whose address names a pod: `kube-pod://`."""
    url = urlsplit(address)
    query = {name: values[-1] for name, values in parse_qs(url.query).items()}
    settings = read_cluster_settings(ClusterPlace(context=query.get("context", "")), environ)
    cluster = open_cluster(settings, query.get("namespace", ""))
    words = LastWords()

    def dial() -> socket.socket:
        return carry(cluster.run(url.netloc, query.get("container", ""), DIAL), words)

    return Target(dial=partial(persistently, dial), words=words)
