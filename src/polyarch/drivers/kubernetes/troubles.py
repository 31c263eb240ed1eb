"""Why pods aren't ready: what a cluster says of a Deployment, of pods that have no machine, and of containers that wait or end.

Source: Kubernetes' API, `apps/v1` (conditions of a Deployment) and `core/v1` (PodStatus, ContainerStatus).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["ended_containers", "is_ready", "pod_troubles", "ready_count", "workload_troubles"]

_QUIET = frozenset({None, "Completed"})


def ready_count(workload: Any) -> int:
    """Return how many pods of a Deployment or StatefulSet are ready."""
    return int(workload.status.ready_replicas or 0) if workload.status is not None else 0


def is_ready(pod: Any) -> bool:
    """Tell whether the daemon in a pod has answered; one whose container ends again and again runs, too."""
    conditions = pod.status.conditions or ()
    return any(each.type == "Ready" and each.status == "True" for each in conditions)


def workload_troubles(workload: Any) -> Iterator[str]:
    """Give what a Deployment says of pods that it couldn't make."""
    for condition in workload.status.conditions or ():
        is_failure = condition.type == "ReplicaFailure" and condition.status == "True"
        if is_failure or (condition.type == "Progressing" and condition.status == "False"):
            yield f"{condition.reason}: {condition.message}"


def pod_troubles(pod: Any) -> Iterator[str]:
    """Give what a pod waits for, and how its containers have ended."""
    name = pod.metadata.name
    if pod.status.reason:  # evicted, for example
        yield _line(name, pod.status.reason, pod.status.message)
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            yield _line(name, condition.reason, condition.message)
    for each in _containers(pod):
        state = each.state.waiting or each.state.terminated if each.state else None
        if state is not None and state.reason not in _QUIET:
            yield _line(name, state.reason, state.message)
        if (ended := _ending(each)) is not None:
            why = "" if ended.reason == "Error" else f" ({ended.reason})"
            yield f"{name}: {each.name} ended with exit status {ended.exit_code}{why}"


def ended_containers(pod: Any) -> list[str]:
    """Return the names of containers that have ended without being ready since."""
    return [each.name for each in _containers(pod) if _ending(each) is not None]


def _containers(pod: Any) -> list[Any]:
    return (pod.status.init_container_statuses or []) + (pod.status.container_statuses or [])


def _ending(container: Any) -> Any | None:
    """Return how a container ended, now or before it was started anew; None if it is ready, or did what it was to do."""
    ended = None
    for state in (container.state, container.last_state):
        ended = ended or (state.terminated if state is not None else None)
    return ended if ended is not None and not container.ready and ended.exit_code else None


def _line(name: str, reason: str | None, message: str | None) -> str:
    return f"{name}: {reason}: {message}" if message else f"{name}: {reason}"
