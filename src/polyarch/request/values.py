"""What a build is asked for, as values: the flags of `build` after they were understood."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from polyarch.pattern import pattern
from polyarch.platforms import Platform
from polyarch.record import field, frozen
from polyarch.request.annotation import Annotation
from polyarch.request.attestation import Attestation
from polyarch.request.limits import Resources, Ulimit
from polyarch.request.policies import Policy
from polyarch.request.signing import Signing

__all__ = [
    "BuildRequest",
    "CacheEntry",
    "ContextFile",
    "Output",
    "OutputType",
    "Secret",
    "is_address",
]

_ADDRESS = pattern(r"(?:https?|git|ssh)://|[\w.-]+@[\w.-]+:|github\.com/", re.IGNORECASE)


def is_address(context: str) -> bool:
    """Tell whether a build context is somewhere else, and no directory."""
    # Most are paths, and the first of them is all that the expression would be compiled for: 0.4 ms.
    may_be = ":" in context or "github.com/" in context.lower()
    return may_be and _ADDRESS.match(context) is not None


def _nothing() -> Mapping[str, str]:
    # A factory, as read-only mappings can't be hashed before Python 3.12, and so not be defaults.
    return MappingProxyType({})


class OutputType(StrEnum):
    """What an output is, spelled as in `--output`."""

    CACHEONLY = "cacheonly"
    DOCKER = "docker"
    IMAGE = "image"
    LOCAL = "local"
    OCI = "oci"
    REGISTRY = "registry"
    TAR = "tar"


@frozen
class Output:
    """Where a result goes. `type` is an OutputType, or a text of it; others are refused when a build begins.

    `destination` is a path, "-" for standard output or "" for none; `attributes` are the exporter's
    own (features of docker buildx's `--output`).
    """

    type: str
    destination: str = ""
    attributes: Mapping[str, str] = field(default_factory=_nothing)


@frozen
class CacheEntry:
    """A place to read a cache from or write it to; names of attributes are in lower case.

    `type` is steps, registry, local, gha, s3, azblob or inline; `attributes` are docker buildx's (`ref`, `src`, `dest`, `mode`, ...),
    of which one may be a token.
    """

    type: str
    attributes: Mapping[str, str] = field(default_factory=_nothing, repr=False)


@frozen
class Secret:
    """Where a secret comes from: a file at `path`, or a variable named `env`; "" for not.

    `value` is the secret itself, if it isn't None.
    """

    id: str
    path: str = ""
    env: str = ""
    value: bytes | None = field(default=None, repr=False)


@frozen
class ContextFile:
    """A file of a build context that is no directory: its content, or the path to copy it from."""

    name: str
    data: bytes | None = field(default=None, repr=False)
    path: str = ""


@frozen
class BuildRequest:
    """One build. Paths are as the user gave them, relative to the current directory.

    `context` is a directory, "-" or an address; `dockerfile` is a path, "-", or "" for `Dockerfile` in
    the context; `stdin` holds standard input where one of them is "-". `platforms` empty means that of
    this machine. Unset `build_args` (a bare name of a variable that isn't set) are left out. `ssh` maps ids to the
    sockets of agents, `ssh_keys` others to files of private keys;
    `emulation` is a mode of `polyarch.request.emulation`, "" for what the engine's variable says;
    `mask_secrets` keeps secrets out of what is shown of steps' output; `cache_budget` is for how many seconds a build waits
    for caches of single steps, None for the usual;
    `context_files` are contexts that are no directories, by name ("" is the main one), which only the library takes;
    `attestations` are those that are wanted, each type once; `attest_as` is index or referrers; `result_provenance` is min
    or max for the result to hold the provenance, whether it is attested or not;
    `vcs` is what git says of the context (`polyarch.request.vcs`), `ref` the build's name in the history, "" for one
    that is made up. Nothing is pushed if the result is what `if_changed`, the name of an image, stands for already;
    what is pushed is signed by all of `signing`. `policies` say what it may take from outside, beside that of its Dockerfile.
    """

    context: str
    dockerfile: str = ""
    stdin: bytes = field(default=b"", repr=False)
    platforms: tuple[Platform, ...] = ()
    tags: tuple[str, ...] = ()
    target: str = ""
    build_args: Mapping[str, str] = field(default_factory=_nothing)
    build_contexts: Mapping[str, str] = field(default_factory=_nothing)
    context_files: Mapping[str, tuple[ContextFile, ...]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=_nothing)
    outputs: tuple[Output, ...] = ()
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    pull: bool = False
    network: str = "default"
    add_hosts: tuple[str, ...] = ()
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    cgroup_parent: str = ""
    resources: Resources = field(default_factory=Resources)
    allow: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    ssh: Mapping[str, str] = field(default_factory=dict)
    ssh_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    annotations: tuple[Annotation, ...] = ()
    jobs: int = 0
    emulation: str = ""
    mask_secrets: bool = True
    cache_from: tuple[CacheEntry, ...] = ()
    cache_to: tuple[CacheEntry, ...] = ()
    attestations: tuple[Attestation, ...] = ()
    attest_as: str = "index"
    result_provenance: str = ""
    cache_budget: float | None = None
    vcs: Mapping[str, str] = field(default_factory=_nothing)
    ref: str = ""
    if_changed: str = ""
    signing: tuple[Signing, ...] = ()
    policies: tuple[Policy, ...] = ()
