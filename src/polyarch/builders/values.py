"""Builders as values: a name, a driver and nodes; what `create` may change, and what it may not.

The rules and their messages are docker buildx's, so that its users and its scripts find themselves at
home. The local driver is called "polyarch": its nodes are shares of this machine, and all of them are at
the endpoint "local".
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence

from polyarch.errors import InputError, MachineError, NotFound
from polyarch.pattern import pattern
from polyarch.platforms import Platform
from polyarch.record import field, frozen, replace

__all__ = [
    "CONTAINER_DRIVER",
    "DAEMONS",
    "DASK_DRIVER",
    "DEFAULT_NAME",
    "DOCKER_DRIVER",
    "ELSEWHERE",
    "KUBERNETES_DRIVER",
    "LOCAL_DRIVER",
    "LOCAL_ENDPOINT",
    "REMOTE_DRIVER",
    "BuilderNode",
    "NodeChange",
    "SavedBuilder",
    "check_name",
    "default_builder",
    "random_name",
    "require_local",
    "with_node",
    "without_node",
]

DEFAULT_NAME = "default"
LOCAL_DRIVER = "polyarch"
LOCAL_ENDPOINT = "local"
DASK_DRIVER = "dask"
"""The driver of builders whose node is a Dask cluster."""
REMOTE_DRIVER = "remote"
"""The driver of builders whose nodes are BuildKit daemons, or this machine."""
CONTAINER_DRIVER = "docker-container"
"""The driver of builders whose daemons are containers of Docker's engine."""
KUBERNETES_DRIVER = "kubernetes"
"""The driver of builders whose daemons are pods of a Kubernetes cluster."""
DOCKER_DRIVER = "docker"
"""The driver of builders that are the BuildKit inside of Docker's engine: each context of docker is one."""
DAEMONS = frozenset({REMOTE_DRIVER, CONTAINER_DRIVER, KUBERNETES_DRIVER, DOCKER_DRIVER})
"""The drivers of builders whose nodes are BuildKit daemons."""
ELSEWHERE = DAEMONS | {DASK_DRIVER}
"""The drivers of builders that let other machines do the work."""
_OF_BUILDX = frozenset({REMOTE_DRIVER, CONTAINER_DRIVER, KUBERNETES_DRIVER})
_NAME = pattern(r"[a-zA-Z][a-zA-Z0-9.\-_]*\Z")


@frozen
class BuilderNode:
    """A node as it is configured. `files` are base64 by their name; `flags` are BuildKit's."""

    name: str
    endpoint: str = LOCAL_ENDPOINT
    platforms: tuple[Platform, ...] = ()
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


@frozen
class SavedBuilder:
    """A builder as it is configured. `is_foreign` if docker buildx made it, and keeps it."""

    name: str
    driver: str = LOCAL_DRIVER
    nodes: tuple[BuilderNode, ...] = ()
    dynamic: bool = False
    last_activity: str = field(default="", compare=False)
    """RFC 3339, or "" if it was never used."""
    is_foreign: bool = field(default=False, compare=False)
    is_context: bool = field(default=False, compare=False)
    """Whether it is there because docker has a context of that name."""

    @property
    def is_known_to_buildx(self) -> bool:
        """Whether docker buildx can use it as well: it has the driver, and none of the nodes is what only polyarch has."""
        return self.driver in _OF_BUILDX and not any(map(_is_our_own, self.nodes))

    @property
    def is_local(self) -> bool:
        """Whether it builds on this machine, by polyarch."""
        return self.driver == LOCAL_DRIVER

    @property
    def is_remote(self) -> bool:
        """Whether its nodes are BuildKit daemons, and this machine perhaps."""
        return self.driver in DAEMONS

    @property
    def is_cluster(self) -> bool:
        """Whether its node is a Dask cluster."""
        return self.driver == DASK_DRIVER

    @property
    def is_elsewhere(self) -> bool:
        """Whether other machines do its work, by polyarch's asking."""
        return self.driver in ELSEWHERE

    @property
    def is_usable(self) -> bool:
        """Whether polyarch can build with it."""
        return self.is_local or self.is_elsewhere


@frozen
class NodeChange:
    """What `create` was told of a node; None or empty: nothing. Platforms are normalised.

    A new node of which no endpoint was told is at `usual`.
    """

    name: str = ""
    endpoint: str | None = None
    platforms: tuple[Platform, ...] = ()
    driver_opts: Mapping[str, str] | None = None
    flags: tuple[str, ...] | None = None
    files: Mapping[str, str] | None = None
    append: bool = False
    usual: str = LOCAL_ENDPOINT


def _is_our_own(node: BuilderNode) -> bool:
    """Tell whether docker buildx would take a node for something else: this machine, and a context of a kubeconfig."""
    # `polyarch.builders.clusters` writes it first, and is for those who have such a node.
    return node.endpoint == LOCAL_ENDPOINT or "?context=" in node.endpoint


def default_builder() -> SavedBuilder:
    """Return the builder that is always there."""
    return SavedBuilder(name=DEFAULT_NAME, nodes=(BuilderNode(name=DEFAULT_NAME),))


def check_name(text: str) -> str:
    """Return the name of a builder or node as it is kept: in lower case. Raises InputError."""
    if _NAME.match(text) is None:
        raise InputError(
            f"invalid name {text}, name needs to start with a letter and may not contain symbols, "
            "except ._-"
        )
    name = text.lower()
    if name == DEFAULT_NAME:
        raise InputError(
            f'"{DEFAULT_NAME}" is a reserved name and cannot be used to identify a builder instance'
        )
    return name


def require_local(builder: SavedBuilder) -> None:
    """Raise MachineError for a builder of other machines where this machine is needed."""
    if builder.is_local:
        return
    reason = "which polyarch can't use yet"
    if builder.is_elsewhere:
        reason = "which polyarch can't ask for that"
    raise MachineError(
        f'builder "{builder.name}" has the driver {builder.driver}, {reason}',
        hint="take this machine: without --builder, or with --builder default",
    )


def with_node(builder: SavedBuilder, change: NodeChange) -> SavedBuilder:
    """Change the node that `change` names, or add one. Raises InputError, NotFound."""
    if builder.dynamic:
        raise InputError("dynamic node group does not support Update")
    position = _find(builder, change.name)
    if position is None:
        if not change.append and builder.nodes:
            raise NotFound(f"node {change.name} not found, did you mean to append?")
        node = BuilderNode(
            name=check_name(change.name or _next_name(builder)), endpoint=change.usual
        )
        position = len(builder.nodes)
    else:
        node = builder.nodes[position]
    nodes = list(builder.nodes)
    nodes[position : position + 1] = [_changed(node, change)]
    _check_endpoints(nodes)
    return replace(builder, nodes=_without_doubles(nodes, position))


def without_node(builder: SavedBuilder, name: str) -> SavedBuilder:
    """Take a node out. Raises NotFound, and InputError if it is the last one."""
    position = _find(builder, name)
    if position is None:
        raise NotFound(f"node {name} not found for {builder.name}")
    if len(builder.nodes) == 1:
        raise InputError("can not leave last node, do you want to rm instance instead?")
    nodes = builder.nodes[:position] + builder.nodes[position + 1 :]
    return replace(builder, nodes=nodes)


def _find(builder: SavedBuilder, name: str) -> int | None:
    names = [node.name for node in builder.nodes]
    return names.index(name) if name in names else None


def _next_name(builder: SavedBuilder) -> str:
    number = 0
    while _find(builder, f"{builder.name}{number}") is not None:
        number += 1
    return f"{builder.name}{number}"


def _changed(node: BuilderNode, change: NodeChange) -> BuilderNode:
    return replace(
        node,
        endpoint=node.endpoint if change.endpoint is None else change.endpoint,
        platforms=change.platforms or node.platforms,
        driver_opts=node.driver_opts if change.driver_opts is None else change.driver_opts,
        flags=node.flags if change.flags is None else change.flags,
        files=node.files if change.files is None else change.files,
    )


def _check_endpoints(nodes: Collection[BuilderNode]) -> None:
    """Refuse two nodes at the same place; this machine may be shared out, though."""
    endpoints = [node.endpoint for node in nodes if node.endpoint != LOCAL_ENDPOINT]
    for endpoint in endpoints:
        if endpoints.count(endpoint) > 1:
            raise InputError(f"invalid duplicate endpoint {endpoint}")


def _without_doubles(nodes: list[BuilderNode], position: int) -> tuple[BuilderNode, ...]:
    """Take the platforms that the node at `position` claims away from the others."""
    claimed = nodes[position].platforms
    return tuple(
        node
        if number == position
        else replace(node, platforms=tuple(each for each in node.platforms if each not in claimed))
        for number, node in enumerate(nodes)
    )


# fmt: off
_MANNERS = (
    "amiable", "attentive", "brisk", "candid", "careful", "cheery", "concise", "curious", "deft",
    "diligent", "earnest", "even", "fluent", "frugal", "gentle", "handy", "humble", "inventive", "keen",
    "lucid", "mellow", "mindful", "nimble", "orderly", "patient", "plucky", "polite", "precise", "quick",
    "quiet", "ready", "sober", "steady", "sunny", "tidy", "tireless", "upbeat", "versed", "wakeful", "witty",
)
_BUILDERS = (
    "aalto", "arup", "bawa", "brunel", "brunelleschi", "candela", "dieste", "doshi", "eames", "eiffel",
    "fathy", "fuller", "gaudi", "gray", "hadid", "howe", "imhotep", "isler", "kahn", "kere", "maillart",
    "mendes", "morgan", "nervi", "niemeyer", "otto", "palladio", "pei", "prouve", "roebling", "sinan",
    "sejima", "shukhov", "soane", "tange", "telford", "utzon", "vitruvius", "wren", "zumthor",
)
# fmt: on


def random_name(taken: Collection[str]) -> str:
    """Return a name for a builder that has none: a manner and somebody who built things."""
    while True:
        name = f"{_any_of(_MANNERS)}_{_any_of(_BUILDERS)}"
        if name not in taken:
            return name


def _any_of(words: Sequence[str]) -> str:
    # The modules for random numbers take longer to load than a build takes to find its builder.
    return words[int.from_bytes(os.urandom(4)) % len(words)]
