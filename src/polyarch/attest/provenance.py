"""Provenance: how a result came about, as a predicate of SLSA v1, and of v0.2 made from it.

Fields, their order, and what each mode leaves out are those of BuildKit's `solver/llbsolver/provenance.go` and
`provenance/types`. What a builder without a daemon can't know is listed in docs/guides/attestations.md.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from polyarch.attest.definition import Definition
from polyarch.attest.invocations import Invocation
from polyarch.attest.options import ProvenanceOptions
from polyarch.attest.parameters import BUILD_ARG, VCS, Parameters
from polyarch.attest.sources import Remote, Sources, digest_set
from polyarch.attest.steps import Hiding
from polyarch.errors import InputError
from polyarch.graph.location import SourceText
from polyarch.graph.op import JSONObject
from polyarch.graph.vertex import Vertex
from polyarch.oci.descriptor import Descriptor
from polyarch.platforms import Platform
from polyarch.record import field, frozen
from polyarch.release import DOCKERFILE_RELEASE
from polyarch.request.frontend import FRONTEND

__all__ = ["Facts", "newest", "older", "predicate", "predicate_type"]

_SLSA_1 = "https://slsa.dev/provenance/v1"
_SLSA_02 = "https://slsa.dev/provenance/v0.2"
_BUILD_TYPE_1 = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
_BUILD_TYPE_02 = "https://mobyproject.org/buildkit@v1"
_COMPATIBILITY = 30


@frozen
class Facts:
    """What is known of the build for one platform; `dockerfile` is None if the graph came as it is.

    `config` is what the main context was fetched from, if it was; `layers` are those of the image;
    `remote` says of build contexts by name what they were fetched from.
    """

    parameters: Parameters
    sources: Sources
    target: Vertex
    dockerfile: SourceText | None
    builder: Platform
    layers: Sequence[Descriptor] = ()
    config: Remote | None = None
    remote: Mapping[str, Remote] = field(default_factory=dict)
    hiding: Hiding = field(default_factory=Hiding)


def predicate_type(options: ProvenanceOptions) -> str:
    """Return the type of the predicate that is made."""
    return _SLSA_02 if options.version == "v0.2" else _SLSA_1


def predicate(facts: Facts, options: ProvenanceOptions, invocation: Invocation) -> JSONObject:
    """Return the predicate of SLSA v1. Raises InputError if all materials must be known, and aren't."""
    locals_ = _locals(facts)
    is_complete = not locals_
    if options.complete_materials and not is_complete:
        raise InputError(
            _incomplete(locals_), hint="leave complete-materials out, or build from a repository"
        )
    request, hides = _request(facts, options, locals_)
    definition: JSONObject = {"buildType": _BUILD_TYPE_1}
    if materials := facts.sources.materials():
        definition["resolvedDependencies"] = materials
    definition["externalParameters"] = {"configSource": _config_source(facts), "request": request}
    internal: JSONObject = {
        "builderPlatform": str(facts.builder),
        **({} if facts.dockerfile is None else {"dockerfileVersion": DOCKERFILE_RELEASE}),
    }
    beside: JSONObject = (
        {"vcs": dict(sorted(facts.parameters.vcs.items()))} if facts.parameters.vcs else {}
    )
    if options.mode == "max":
        graph = Definition.of(facts.target, facts.hiding, facts.remote)
        internal = {"buildConfig": graph.build_config(), **internal}
        beside |= _beside(graph, facts)
    definition["internalParameters"] = internal
    completeness: JSONObject = {
        "request": not hides and facts.dockerfile is not None,
        "resolvedDependencies": is_complete,
    }
    is_hermetic = is_complete and not facts.sources.uses_network
    metadata: JSONObject = {
        "invocationId": invocation.id,
        "startedOn": invocation.started_on,
        "finishedOn": invocation.finished_on,
        "buildkit_metadata": beside,
        **({"buildkit_hermetic": True} if is_hermetic else {}),
        "buildkit_completeness": completeness,
        **({"buildkit_reproducible": True} if options.reproducible else {}),
    }
    details = {"builder": {"id": options.builder_id}, "metadata": metadata}
    return {"buildDefinition": definition, "runDetails": details}


def newest(predicate: JSONObject) -> JSONObject:
    """Return the predicate of SLSA v1 in the order in which BuildKit writes it."""
    definition = _part(predicate, "buildDefinition")
    internal = _sorted(definition["internalParameters"])
    return {**predicate, "buildDefinition": {**definition, "internalParameters": internal}}


def _sorted(value: object) -> object:
    """Return JSON with all keys sorted: there BuildKit's goes through a map, as it may get more of them."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(each) for each in value] if isinstance(value, list) else value


def _locals(facts: Facts) -> tuple[str, ...]:
    if facts.config is not None or facts.dockerfile is None:
        return facts.sources.local
    return tuple(sorted({"context", "dockerfile", *facts.sources.local}))


def _incomplete(names: Sequence[str]) -> str:
    """Return BuildKit's complaint."""
    listed = "".join(f"\n  - {name}\n    reason: local_source" for name in names)
    return (
        "provenance materials are incomplete\n\nThe build requested complete provenance materials, but "
        f"not all dependencies could be captured.\n\nUncaptured local sources:{listed}"
    )


def _config_source(facts: Facts, *, is_root: bool = False) -> JSONObject:
    source: JSONObject = {}
    if facts.dockerfile is None:
        return source
    if facts.config is not None:
        source["uri"] = facts.parameters.context
        pin = facts.sources.find(facts.config)
        if pin and not (is_root and not facts.sources.is_taken(facts.config)):
            source["digest"] = digest_set(pin)
    return {**source, "path": facts.parameters.path}


def _request(
    facts: Facts, options: ProvenanceOptions, locals_: Sequence[str]
) -> tuple[JSONObject, bool]:
    """Return what was asked for, and whether something of it isn't told."""
    is_max = options.mode == "max"
    args = {
        name: value for name, value in facts.parameters.args.items() if is_max or _is_kept(name)
    }
    vcs = {f"{VCS}{name}": value for name, value in facts.parameters.vcs.items()}
    hides = facts.parameters.hides or len(args) < len(facts.parameters.args)
    request: JSONObject = {} if facts.dockerfile is None else {"frontend": FRONTEND}
    if args:
        request["args"] = args
    if is_max:
        request |= _ids("secrets", facts.sources.secrets) | _ids("ssh", facts.sources.ssh)
    if locals_:
        request["locals"] = [{"name": name} for name in locals_]
    if facts.parameters.args or vcs:
        told = dict(sorted({**args, **vcs}.items()))
        inner: JSONObject = {"args": told} if told else {}
        request["root"] = {"configSource": _config_source(facts, is_root=True), "request": inner}
    request["compatibilityVersion"] = _COMPATIBILITY
    return request, hides


def _is_kept(name: str) -> bool:
    return not name.startswith((BUILD_ARG, "label:"))


def _ids(key: str, found: Mapping[str, bool]) -> JSONObject:
    listed = [
        {"id": name, "optional": True} if optional else {"id": name}
        for name, optional in found.items()
    ]
    return {key: listed} if listed else {}


def _beside(graph: Definition, facts: Facts) -> JSONObject:
    """Return what only the full form tells beside the steps: the Dockerfile, places, layers."""
    found: JSONObject = {}
    if facts.dockerfile is not None:
        text = facts.hiding.text(facts.dockerfile.text)
        info = {
            "filename": facts.parameters.path,
            "language": "Dockerfile",
            "data": base64.b64encode(text.encode("utf-8", "surrogateescape")).decode(),
        }
        found["source"] = {"locations": graph.locations(), "infos": [info]}
    if layers := graph.layers(facts.layers):
        found["layers"] = layers
    return found


def older(predicate: JSONObject) -> JSONObject:
    """Return the predicate of SLSA v0.2 that says the same."""
    definition, details = _part(predicate, "buildDefinition"), _part(predicate, "runDetails")
    external, internal = (
        _part(definition, "externalParameters"),
        _part(definition, "internalParameters"),
    )
    source, metadata = _part(external, "configSource"), _part(details, "metadata")
    complete = _part(metadata, "buildkit_completeness")
    made: JSONObject = {"builder": details["builder"], "buildType": _BUILD_TYPE_02}
    if "resolvedDependencies" in definition:
        made["materials"] = definition["resolvedDependencies"]
    entry = {("entryPoint" if key == "path" else key): value for key, value in source.items()}
    # Other builders' say nothing of their frontend.
    told = {"dockerfileVersion": "dockerfileVersion", "platform": "builderPlatform"}
    environment = {name: internal[key] for name, key in told.items() if key in internal}
    made["invocation"] = {
        "configSource": entry,
        "parameters": external["request"],
        "environment": environment,
    }
    if "buildConfig" in internal:
        made["buildConfig"] = internal["buildConfig"]
    made["metadata"] = {
        "buildInvocationID": metadata["invocationId"],
        "buildStartedOn": metadata["startedOn"],
        "buildFinishedOn": metadata["finishedOn"],
        "completeness": {
            "parameters": complete.get("request", False),
            "environment": True,
            "materials": complete.get("resolvedDependencies", False),
        },
        "reproducible": metadata.get("buildkit_reproducible", False),
        "https://mobyproject.org/buildkit@v1#metadata": metadata.get("buildkit_metadata", {}),
        **(
            {"https://mobyproject.org/buildkit@v1#hermetic": True}
            if "buildkit_hermetic" in metadata
            else {}
        ),
    }
    return made


def _part(value: JSONObject, key: str) -> JSONObject:
    part = value[key]
    assert isinstance(part, dict)
    return part
