"""What a build may be asked for by keyword: for type checkers; nothing here is needed to build."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypedDict

from polyarch.platforms import Platform
from polyarch.request.annotation import Annotation
from polyarch.request.attestation import Attestation
from polyarch.request.files import Files
from polyarch.request.limits import Resources, Ulimit
from polyarch.request.signing import Signing
from polyarch.request.values import CacheEntry, Output, Secret

__all__ = ["BuildOptions"]


class BuildOptions(TypedDict, total=False):
    """The keywords of `build`, `Builder.build` and `make_request`; each may be left out.

    A lone text where several may be given stands for itself: `tags="app"`.
    """

    dockerfile: str | os.PathLike[str]
    """A path, or "-" for `stdin`; else `Dockerfile` in the build context."""
    stdin: bytes
    """What "-" stands for: the text of the Dockerfile."""
    platforms: Sequence[str | Platform]
    """What to build for; else for this machine."""
    tags: Sequence[str]
    """Names of the image, short or full."""
    target: str
    """The stage to build; else the last."""
    build_args: Mapping[str, str]
    build_contexts: Mapping[str, str | os.PathLike[str] | Files]
    """More build contexts by name: directories, what `--build-context` knows, or files by their names."""
    labels: Mapping[str, str]
    outputs: Sequence[Output]
    """Where the result goes; else it is an image in the local store."""
    push: bool
    """Push the image to the registries that its tags name."""
    load: bool
    """Load the image into Docker."""
    needs_digest: bool
    """Whether an image is made even if it has neither tag nor output (yes, unless said otherwise)."""
    no_cache: bool
    no_cache_filter: Sequence[str]
    """Names of stages whose steps run in any case."""
    pull: bool
    """Ask the registry what the tags of base images stand for, even if that is known here."""
    network: str
    """Of steps: "default", "host" or "none"."""
    add_hosts: Sequence[str]
    """More names for steps' /etc/hosts: `name=address`."""
    shm_size: int
    """Of steps' /dev/shm, in bytes."""
    ulimits: Sequence[Ulimit]
    cgroup_parent: str
    resources: Resources
    """Limits of each step's memory and processors."""
    allow: Sequence[str]
    """Entitlements: "network.host", "security.insecure"."""
    secrets: Sequence[Secret]
    mask_secrets: bool
    """Whether secrets are masked in what steps print, and in errors (yes, unless said otherwise)."""
    ssh: Mapping[str, str]
    """Sockets of ssh agents by id."""
    ssh_keys: Mapping[str, Sequence[str]]
    """Files of private keys by id: each id gets an agent that holds them."""
    annotations: Sequence[Annotation]
    attestations: Sequence[Attestation]
    """What is attested of the result: provenance and sbom; else provenance, in short, of images in an index."""
    attest_as: str
    """Where attestations are: in the image's "index", or as "referrers"."""
    result_provenance: str
    """"min" or "max" for the result to tell the provenance as well."""
    cache_from: Sequence[CacheEntry]
    """Caches to look results up in that aren't here."""
    cache_to: Sequence[CacheEntry]
    """Where to write the cache of this build."""
    if_changed: str
    """The name of an image: nothing is pushed if the result is what it stands for (`BuildResult.changed`)."""
    signing: Sequence[Signing]
    """Who signs what is pushed."""
    cache_budget: float | None
    """Seconds that a build waits for caches of single steps, in all; else as long as they get on."""
    jobs: int
    """How many steps run at once; else as many as can, emulated ones two for each processor."""
    emulation: str
    """What of emulated steps runs natively: "auto", "strict" or "verify"; else what POLYARCH_EMULATION says."""
