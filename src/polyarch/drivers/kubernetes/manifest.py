"""The objects of Kubernetes that a node is made of: a Deployment, or a StatefulSet if it keeps its state, and ConfigMaps.

Names, labels and annotations are docker buildx's, so that either program finds what the other one made. In
three things its objects contradict its documentation, which is followed here: `requests.ephemeral-storage` is a request, not a
limit; a volume that keeps the state leaves the settings mounted; and the state is in one volume, that one.

Source: docker buildx, `driver/kubernetes/manifest/manifest.go`.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import PurePosixPath
from typing import Any

from kubernetes import client

from polyarch.builders.configfiles import CONFIG_PLACE
from polyarch.builders.values import BuilderNode
from polyarch.drivers.kubernetes.options import ClusterOptions
from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.record import frozen

__all__ = ["CONTAINER", "Manifest", "manifest_of", "workload_name"]

CONTAINER = "buildkitd"
_APP = "app"
_PLATFORMS = "buildx.docker.com/platform"
_APPARMOR = f"container.apparmor.security.beta.kubernetes.io/{CONTAINER}"
_STATE = "/var/lib/buildkit"
_ROOTLESS_STATE = "/home/user/.local/share/buildkit"
_STATE_VOLUME = "buildkitd"
_MEMORY_VOLUME = "buildkit-memory"


@frozen
class Manifest:
    """What is made for a node. `labels` are those by which its pods are found."""

    name: str
    labels: Mapping[str, str]
    workload: Any
    """A V1Deployment or a V1StatefulSet."""
    settings: tuple[Any, ...]
    """V1ConfigMaps."""

    @property
    def keeps_state(self) -> bool:
        """Whether it is a StatefulSet."""
        return isinstance(self.workload, client.V1StatefulSet)

    @property
    def selector(self) -> str:
        """The labels as the API server is asked for them."""
        return ",".join(f"{name}={value}" for name, value in sorted(self.labels.items()))


def workload_name(node: BuilderNode) -> str:
    """Return the name of what is made for a node; those of Kubernetes have no underscores."""
    return node.name.replace("_", "-")


def manifest_of(node: BuilderNode, options: ClusterOptions, namespace: str) -> Manifest:
    """Return what is made for a node. Raises InputError for labels and annotations that aren't the user's."""
    name = workload_name(node)
    labels = {_APP: name, **_own(options.labels, "label", _APP)}
    annotations = _annotations(node, options)
    settings = _settings(node, name, namespace, annotations)
    metadata = client.V1ObjectMeta(
        namespace=namespace, name=name, labels=labels, annotations=annotations
    )
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels, annotations=annotations),
        spec=_pods(node, options, settings),
    )
    selector = client.V1LabelSelector(match_labels=labels)
    workload: Any
    if options.storage:
        workload = client.V1StatefulSet(
            api_version="apps/v1",
            kind="StatefulSet",
            metadata=metadata,
            spec=client.V1StatefulSetSpec(
                service_name="buildkitd",
                pod_management_policy="Parallel",
                replicas=options.replicas,
                selector=selector,
                template=template,
                volume_claim_templates=[_claim(options.storage)],
            ),
        )
    else:
        workload = client.V1Deployment(
            api_version="apps/v1",
            kind="Deployment",
            metadata=metadata,
            spec=client.V1DeploymentSpec(
                replicas=options.replicas, selector=selector, template=template
            ),
        )
    return Manifest(
        name=name,
        labels=labels,
        workload=workload,
        settings=tuple(each for each, _ in settings.values()),
    )


def _own(given: Mapping[str, str], what: str, reserved: str) -> Mapping[str, str]:
    if reserved in given:
        raise InputError(f"the {what} {quote(reserved)} is reserved and cannot be customized")
    return given


def _annotations(node: BuilderNode, options: ClusterOptions) -> dict[str, str]:
    found = dict(_own(options.annotations, "annotation", _PLATFORMS))
    if node.platforms:
        found[_PLATFORMS] = ",".join(map(str, node.platforms))
    if options.rootless:
        found[_APPARMOR] = "unconfined"
    return found


def _pods(
    node: BuilderNode, options: ClusterOptions, settings: Mapping[str, tuple[Any, str]]
) -> Any:
    mounts = [
        client.V1VolumeMount(name=name, mount_path=path) for name, (_, path) in settings.items()
    ]
    volumes = [
        client.V1Volume(
            name=name, config_map=client.V1ConfigMapVolumeSource(name=each.metadata.name)
        )
        for name, (each, _) in settings.items()
    ]
    state_mounts, state_volumes = _state(options)
    return client.V1PodSpec(
        service_account_name=options.service_account or None,
        scheduler_name=options.scheduler or None,
        node_selector=dict(options.node_selector) or None,
        tolerations=[_toleration(each) for each in options.tolerations] or None,
        init_containers=[_installer(options)] if options.installs_emulators else None,
        containers=[_daemon(node, options, mounts + state_mounts)],
        volumes=(volumes + state_volumes) or None,
    )


def _daemon(node: BuilderNode, options: ClusterOptions, mounts: Sequence[Any]) -> Any:
    """Return the container that BuildKit runs in."""
    return client.V1Container(
        name=CONTAINER,
        image=options.whole_image,
        args=[*node.flags, *(["--oci-worker-no-process-sandbox"] if options.rootless else [])],
        env=[client.V1EnvVar(name=name, value=value) for name, value in options.environ.items()],
        security_context=_unconfined() if options.rootless else _privileged(),
        readiness_probe=_probe(),
        liveness_probe=_probe(),
        resources=client.V1ResourceRequirements(
            requests=dict(options.requests), limits=dict(options.limits)
        ),
        volume_mounts=list(mounts),
    )


def _installer(options: ClusterOptions) -> Any:
    """Return the container that registers emulators before the daemon starts."""
    return client.V1Container(
        name="qemu",
        image=options.emulators,
        args=["--install", "all"],
        security_context=_privileged(),
    )


def _privileged() -> Any:
    return client.V1SecurityContext(privileged=True)


def _probe() -> Any:
    return client.V1Probe(
        _exec=client.V1ExecAction(command=["buildctl", "debug", "workers"]),
        failure_threshold=3,
        initial_delay_seconds=5,
        period_seconds=30,
        success_threshold=1,
        timeout_seconds=60,
    )


def _unconfined() -> Any:
    profile = client.V1SeccompProfile(type="Unconfined")
    return client.V1SecurityContext(seccomp_profile=profile)


def _state(options: ClusterOptions) -> tuple[list[Any], list[Any]]:
    """Return where the daemon's state is mounted, and volumes for it; none for what an image has by itself."""
    place = _ROOTLESS_STATE if options.rootless else _STATE
    if options.storage:
        # What the claims of a StatefulSet make has their name.
        return [client.V1VolumeMount(name=_STATE_VOLUME, mount_path=place)], []
    if options.rootless or options.memory_volume:
        name = _STATE_VOLUME if options.rootless else _MEMORY_VOLUME
        directory = client.V1EmptyDirVolumeSource()
        if options.memory_volume:
            directory = client.V1EmptyDirVolumeSource(
                medium="Memory", size_limit=options.memory_volume
            )
        return (
            [client.V1VolumeMount(name=name, mount_path=place)],
            [client.V1Volume(name=name, empty_dir=directory)],
        )
    return [], []


def _toleration(fields: Mapping[str, str]) -> Any:
    seconds = fields.get("tolerationSeconds")
    return client.V1Toleration(
        key=fields.get("key"),
        operator=fields.get("operator"),
        value=fields.get("value"),
        effect=fields.get("effect"),
        toleration_seconds=None if seconds is None else int(seconds),
    )


def _claim(size: str) -> Any:
    return client.V1PersistentVolumeClaim(
        metadata=client.V1ObjectMeta(name=_STATE_VOLUME),
        spec=client.V1PersistentVolumeClaimSpec(
            access_modes=["ReadWriteOnce"],
            resources=client.V1VolumeResourceRequirements(requests={"storage": size}),
        ),
    )


def _settings(
    node: BuilderNode, name: str, namespace: str, annotations: dict[str, str]
) -> dict[str, tuple[Any, str]]:
    """Return ConfigMaps and where they are mounted, by the names of volumes: one for each directory of the node's files."""
    directories: dict[PurePosixPath, dict[str, str]] = {}
    for path, data in sorted(node.files.items()):
        whole = PurePosixPath(path)
        text = b64decode(data).decode(errors="replace")
        directories.setdefault(whole.parent, {})[whole.name] = text
    found = {}
    numbers = count(1)
    for directory, files in directories.items():
        volume = f"config-{next(numbers)}" if directory.parts else "config"
        settings = client.V1ConfigMap(
            api_version="v1",
            kind="ConfigMap",
            metadata=client.V1ObjectMeta(
                namespace=namespace, name=f"{name}-{volume}", annotations=annotations
            ),
            data=files,
        )
        found[volume] = (settings, str(CONFIG_PLACE / directory))
    return found
