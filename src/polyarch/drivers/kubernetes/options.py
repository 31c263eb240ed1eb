"""Options of the driver kubernetes: what pods with a BuildKit daemon are made with.

Source: docker buildx, `driver/kubernetes/factory.go`; quantities as Kubernetes' `resource.ParseQuantity`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from polyarch.builders.values import KUBERNETES_DRIVER
from polyarch.drivers.options import DEFAULT_IMAGE
from polyarch.errors import InputError
from polyarch.golang.strconv import parse_bool, parse_int, quote
from polyarch.golang.time import parse_duration
from polyarch.pattern import pattern
from polyarch.record import field, frozen

__all__ = ["ClusterOptions", "read_cluster_options"]

_EMULATORS = "tonistiigi/binfmt:latest"
_SECONDS = 120.0
_ENV = "env."
_QUANTITY = pattern(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?\Z")
_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_LOADS = "default-load"
_TOLERATIONS = ("key", "operator", "value", "effect", "tolerationSeconds")

Read = Callable[[str, str], object]


@frozen
class ClusterOptions:
    """What was asked for. `requests` and `limits` are quantities by the names of resources."""

    image: str = ""
    namespace: str = ""
    """Where the pods are; "" for the namespace of the kubeconfig's context."""
    replicas: int = 1
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    storage: str = ""
    """The size of a volume that each pod keeps its state in; without one it's gone with the pod."""
    memory_volume: str = ""
    """The size of a volume in memory for the state."""
    rootless: bool = False
    scheduler: str = ""
    service_account: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()
    """Their fields, as the API has them."""
    loadbalance: str = "sticky"
    installs_emulators: bool = False
    emulators: str = _EMULATORS
    seconds: float = _SECONDS
    """How long pods may take until they are ready."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables of the daemon."""

    @property
    def whole_image(self) -> str:
        """The daemon's image: the one that was asked for, else BuildKit's, which has one for those without root."""
        return self.image or (f"{DEFAULT_IMAGE}-rootless" if self.rootless else DEFAULT_IMAGE)


def read_cluster_options(options: Mapping[str, str]) -> ClusterOptions:
    """Read the options of a node. Raises InputError for what the driver doesn't know."""
    found: dict[str, Any] = {}
    parts: dict[str, dict[str, str]] = {"requests": {}, "limits": {}, "environ": {}}
    for name, value in options.items():
        kind, _, resource = name.partition(".")
        if name in _FIELDS:
            key, read = _FIELDS[name]
            found[key] = read(name, value)
        elif kind in {"requests", "limits"} and resource in _RESOURCES:
            if value:
                parts[kind][resource] = _quantity(name, value)
        elif name.startswith(_ENV):
            parts["environ"][_variable(name)] = value
        elif name == _LOADS:
            parse_bool(value)  # counts for builds, not for pods
        else:
            raise InputError(f"invalid driver option {name} for driver {KUBERNETES_DRIVER}")
    return ClusterOptions(
        **found, requests=parts["requests"], limits=parts["limits"], environ=parts["environ"]
    )


def _text(_name: str, value: str) -> str:
    return value


def _flag(_name: str, value: str) -> bool:
    return parse_bool(value)


def _count(_name: str, value: str) -> int:
    return parse_int(value, bits=32)


def _quantity(name: str, value: str) -> str:
    if value and _QUANTITY.match(value) is None:
        raise InputError(
            f"invalid {name}: {quote(value)} is no quantity", hint="write 500m, 2, 1.5Gi or 100M"
        )
    return value


def _seconds(_name: str, value: str) -> float:
    try:
        return parse_duration(value) / 1e9
    except InputError as error:
        raise InputError(f"cannot parse timeout: {error}") from error


def _loadbalance(_name: str, value: str) -> str:
    if value not in {"sticky", "random"}:
        raise InputError(f"invalid loadbalance {quote(value)}", hint="it is sticky or random")
    return value


def _emulators(_name: str, value: str) -> str:
    return value or _EMULATORS


def _pairs(what: str) -> Read:
    def read(_name: str, value: str) -> dict[str, str]:
        found = {}
        for text in value.strip('"').split(","):
            words = text.split("=")
            if len(words) != 2:
                raise InputError(f"cannot parse {what}: invalid key-value pair: {text}")
            found[words[0]] = words[1]
        return found

    return read


def _tolerations(_name: str, value: str) -> tuple[Mapping[str, str], ...]:
    found = []
    for text in value.strip('"').split(";"):
        fields = dict(each.split("=", 1) for each in text.split(",") if "=" in each)
        if fields.keys() - set(_TOLERATIONS):
            raise InputError(
                f"invalid toleration {quote(value)}", hint=f"it has {', '.join(_TOLERATIONS)}"
            )
        if "tolerationSeconds" in fields:
            parse_int(fields["tolerationSeconds"])
        found.append(fields)
    return tuple(found)


def _variable(name: str) -> str:
    variable = name.removeprefix(_ENV)
    if not variable:
        raise InputError(f"invalid env option {quote(name)}, expecting env.FOO=bar")
    return variable


_FIELDS: Mapping[str, tuple[str, Read]] = {
    "image": ("image", _text),
    "namespace": ("namespace", _text),
    "replicas": ("replicas", _count),
    "persistent-volume-claim.requests.storage": ("storage", _quantity),
    "buildkit-root-volume-memory": ("memory_volume", _quantity),
    "rootless": ("rootless", _flag),
    "schedulername": ("scheduler", _text),
    "serviceaccount": ("service_account", _text),
    "nodeselector": ("node_selector", _pairs("node selector")),
    "annotations": ("annotations", _pairs("annotations")),
    "labels": ("labels", _pairs("labels")),
    "tolerations": ("tolerations", _tolerations),
    "loadbalance": ("loadbalance", _loadbalance),
    "qemu.install": ("installs_emulators", _flag),
    "qemu.image": ("emulators", _emulators),
    "timeout": ("seconds", _seconds),
}
