"""Options of the driver docker-container: what a container with a BuildKit daemon is made with.

Source: docker buildx, `driver/docker-container/factory.go`; docker's options of containers.
"""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.builders.values import CONTAINER_DRIVER
from polyarch.errors import InputError
from polyarch.golang.strconv import parse_bool, parse_int, quote
from polyarch.golang.units import ram_in_bytes
from polyarch.record import field, frozen

__all__ = ["DEFAULT_IMAGE", "ContainerOptions", "RestartPolicy", "read_options"]

DEFAULT_IMAGE = "moby/buildkit:buildx-stable-1"
_TEXTS = ("network", "image", "cpuset-cpus", "cpuset-mems", "cgroup-parent")
_SIZES = ("memory", "memory-swap")
_NUMBERS = ("cpu-period", "cpu-quota", "cpu-shares")
_FLAGS = ("default-load", "provenance-add-gha", "allow-untrusted-image")
_ENV = "env."


@frozen
class RestartPolicy:
    """When the engine starts a container again, and how often after a failure; 0 is without an end."""

    name: str = "unless-stopped"
    most: int = 0


@frozen
class ContainerOptions:
    """What was asked for. `limits` are by the names of options; what isn't there isn't limited."""

    image: str = DEFAULT_IMAGE
    network: str = ""
    cgroup_parent: str = ""
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    limits: Mapping[str, int] = field(default_factory=dict)
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    environ: tuple[str, ...] = ()
    """`NAME=VALUE`, for the daemon."""


def read_options(options: Mapping[str, str]) -> ContainerOptions:
    """Read the options of a node. Raises InputError for what the driver doesn't know."""
    texts: dict[str, str] = {}
    limits: dict[str, int] = {}
    environ = []
    restart = RestartPolicy()
    for name, value in options.items():
        if name in _TEXTS:
            texts[name.replace("-", "_")] = value
        elif name in _SIZES or name in _NUMBERS:
            limits[name] = _limit(name, value)
        elif name in _FLAGS:
            parse_bool(value)
        elif name == "restart-policy":
            restart = _restart_policy(value)
        elif name.startswith(_ENV):
            environ.append(_variable(name, value))
        else:
            raise InputError(f"invalid driver option {name} for {CONTAINER_DRIVER} driver")
    return ContainerOptions(
        **{**texts, "image": texts.get("image") or DEFAULT_IMAGE},
        limits=limits,
        restart=restart,
        environ=tuple(environ),
    )


def _limit(name: str, value: str) -> int:
    if name in _NUMBERS:
        return parse_int(value)
    # docker's client has a word for swap without a limit.
    return -1 if (name, value) == ("memory-swap", "-1") else ram_in_bytes(value)


def _variable(name: str, value: str) -> str:
    variable = name.removeprefix(_ENV)
    if not variable:
        raise InputError(f"invalid env option {quote(name)}, expecting env.FOO=bar")
    return f"{variable}={value}"


def _restart_policy(text: str) -> RestartPolicy:
    name, colon, count = text.partition(":")
    if colon and not name:
        raise InputError("invalid restart policy format: no policy provided before colon")
    try:
        return RestartPolicy(name=name, most=parse_int(count) if count else 0)
    except InputError as error:
        raise InputError(
            "invalid restart policy format: maximum retry count must be an integer"
        ) from error
