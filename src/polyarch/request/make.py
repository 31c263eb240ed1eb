"""Wishes -> a BuildRequest: the rules that the command line and programs share.

They are docker buildx's: what names mean, what contradicts what, which outputs follow from `push`,
`load` and tags.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from polyarch.errors import InputError, InvalidReference
from polyarch.golang.strconv import quote
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform, normalize, parse_list
from polyarch.request.attestation import DEFAULT_PROVENANCE, chosen
from polyarch.request.caches import check_caches
from polyarch.request.emulation import read_emulation
from polyarch.request.files import Files, split_contexts
from polyarch.request.limits import Resources
from polyarch.request.outputs import check_places, default_outputs, merge_outputs
from polyarch.request.values import BuildRequest, Output
from polyarch.text.nearest import suggestion

if TYPE_CHECKING:
    from typing import Unpack

    from polyarch.request.options import BuildOptions

__all__ = ["make_request", "read_platforms", "several"]

# Fields of the request have keywords of their names; these go into its outputs.
_WISHES = frozenset({"push", "load", "needs_digest"})
_PLACES = ("index", "referrers")
_INNER = frozenset({"context_files", "policies", "ref", "vcs"})
"""Fields that are found out, or that the command line alone asks for."""


def make_request(
    context: str | os.PathLike[str] | Files = ".", **options: Unpack[BuildOptions]
) -> BuildRequest:
    """Understand what is asked for. Raises InputError and its kin.

    `context` is a directory, files by name, or "-" for none. Paths stay as they are.
    """
    known = BuildRequest.__annotations__.keys() - _INNER | _WISHES
    unknown = options.keys() - known
    if unknown:
        raise TypeError(f"a build has no option {', '.join(sorted(unknown))}")
    if options.get("no_cache") and options.get("no_cache_filter"):
        raise InputError("--no-cache and --no-cache-filter cannot currently be used together")
    names = _tags(several(options.get("tags", ())))
    tags = tuple(dict.fromkeys(parse_reference(name).canonical for name in names))
    directories, files = split_contexts({**options.get("build_contexts", {}), "": context})
    caches = tuple(options.get("cache_from", ())), tuple(options.get("cache_to", ()))
    check_caches(*caches)
    network = _network(options.get("network", ""))
    allowed = several(options.get("allow", ()))
    if network == "host":
        allowed = (*allowed, "network.host")
    return BuildRequest(
        context=directories.pop("", ""),
        dockerfile=os.fspath(options.get("dockerfile", "")),
        stdin=options.get("stdin", b""),
        platforms=read_platforms(options.get("platforms", ())),
        tags=tags,
        target=options.get("target", ""),
        build_args=dict(options.get("build_args", {})),
        build_contexts=directories,
        context_files=files,
        labels=dict(options.get("labels", {})),
        outputs=_outputs(names, options),
        no_cache=options.get("no_cache", False),
        no_cache_filter=several(options.get("no_cache_filter", ())),
        pull=options.get("pull", False),
        network=network,
        add_hosts=several(options.get("add_hosts", ())),
        shm_size=options.get("shm_size", 0),
        ulimits=tuple(options.get("ulimits", ())),
        cgroup_parent=options.get("cgroup_parent", ""),
        resources=options.get("resources", Resources()),
        allow=tuple(dict.fromkeys(allowed)),
        secrets=tuple(options.get("secrets", ())),
        ssh=dict(options.get("ssh", {})),
        ssh_keys={name: several(paths) for name, paths in options.get("ssh_keys", {}).items()},
        annotations=tuple(options.get("annotations", ())),
        jobs=options.get("jobs", 0),
        emulation=_emulation(options.get("emulation", "")),
        mask_secrets=options.get("mask_secrets", True),
        cache_from=caches[0],
        cache_to=caches[1],
        attestations=chosen(options.get("attestations", (DEFAULT_PROVENANCE,))),
        attest_as=_attest_as(options.get("attest_as", "")),
        result_provenance=options.get("result_provenance", ""),
        if_changed=options.get("if_changed", ""),
        signing=tuple(options.get("signing", ())),
        cache_budget=options.get("cache_budget"),
    )


def several(values: Sequence[str]) -> tuple[str, ...]:
    """Return the texts; a lone one is itself a sequence of texts, which nobody means."""
    return (values,) if isinstance(values, str) else tuple(values)


def read_platforms(values: Sequence[str | Platform]) -> tuple[Platform, ...]:
    """Return platforms that are given as texts or as values, normalised; texts may be lists with commas.

    Raises InvalidPlatform.
    """
    found: list[Platform] = []
    for value in (values,) if isinstance(values, str) else values:
        if isinstance(value, str):
            found += parse_list((value,), keep_doubles=True)
        else:
            found.append(normalize(value))
    return tuple(found)


def _tags(values: Iterable[str]) -> tuple[str, ...]:
    tags = []
    for value in values:
        try:
            reference = parse_reference(value)
        except InvalidReference as error:
            reason = _tag_trouble(value, str(error))
            raise InvalidReference(
                f"invalid tag {quote(value)}: {reason}", hint=error.hint
            ) from error
        tags.append(str(reference))
    return tuple(dict.fromkeys(tags))


def _tag_trouble(value: str, reason: str) -> str:
    """Return what buildx says of a tag, which it reads before it thinks of the registry."""
    if not value:
        return "repository name must have at least one component"
    return "repository name must be lowercase" if reason.endswith("must be lowercase") else reason


def _network(mode: str) -> str:
    if mode not in {"", "default", "none", "host"}:
        near = suggestion(mode, ("default", "host", "none"))
        raise InputError(
            f"network mode {quote(mode)} is not supported{near}",
            hint="a step has the network of the host or none: default, host or none",
        )
    return mode or "default"


def _attest_as(text: str) -> str:
    if text not in {"", *_PLACES}:
        raise InputError(
            f"attestations can't be stored as {quote(text)}{suggestion(text, _PLACES)}",
            hint="store them in the image's index, or as referrers of its manifests",
        )
    return text or "index"


def _emulation(text: str) -> str:
    return read_emulation(text, "--emulation").value if text else ""


def _outputs(tags: tuple[str, ...], options: BuildOptions) -> tuple[Output, ...]:
    outputs = merge_outputs(
        options.get("outputs", ()),
        push=options.get("push", False),
        load=options.get("load", False),
        tags=tags,
    )
    check_places(outputs)
    return outputs or default_outputs(tags, needs_digest=options.get("needs_digest", True))
