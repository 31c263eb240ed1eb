"""Where an image comes from, as policies see it: of statements by SLSA 0.2 and 1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from polyarch.golang.time import find_time

__all__ = ["SLSA_0_2", "SLSA_1", "find_provenance"]

SLSA_1 = "https://slsa.dev/provenance/v1"
SLSA_0_2 = "https://slsa.dev/provenance/v0.2"
_ARGUMENT = "build-arg:"
Fields = dict[str, object]


def find_provenance(statements: Iterable[object]) -> Fields | None:
    """Return the field `provenance` of the first statement that has one."""
    for each in statements:
        predicate = _table(_at(each, "predicate"))
        kind = _at(each, "predicateType")
        found = (
            _version_1(predicate)
            if kind == SLSA_1
            else _version_02(predicate)
            if kind == SLSA_0_2
            else None
        )
        if found:
            return found
    return None


def _at(value: object, *path: str) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _version_1(predicate: Mapping[str, object]) -> Fields | None:
    definition, details = (
        _table(predicate.get("buildDefinition")),
        _table(predicate.get("runDetails")),
    )
    request = _at(definition, "externalParameters", "request")
    source = _at(definition, "externalParameters", "configSource")
    found = _common(
        SLSA_1,
        build_type=_text(definition.get("buildType")),
        builder=_text(_at(details, "builder", "id")),
        source={**_table(source)},
        request=request,
    )
    metadata = details.get("metadata")
    if found is None or not isinstance(metadata, Mapping):
        return found
    return {
        **found,
        **_times(metadata, "invocationID", "startedOn", "finishedOn"),
        **_promises(metadata),
        "completeness": {
            "parameters": _at(metadata, "buildkit_completeness", "request") is True,
            "materials": _at(metadata, "buildkit_completeness", "resolvedDependencies") is True,
        },
    }


def _version_02(predicate: Mapping[str, object]) -> Fields | None:
    invocation = _table(predicate.get("invocation"))
    source = _table(invocation.get("configSource"))
    found = _common(
        SLSA_0_2,
        build_type=_text(predicate.get("buildType")),
        builder=_text(_at(predicate, "builder", "id")),
        source={**source, "path": source.get("entryPoint", "")},
        request=invocation.get("parameters"),
    )
    metadata = predicate.get("metadata")
    if found is None or not isinstance(metadata, Mapping):
        return found
    return {
        **found,
        **_times(metadata, "buildInvocationID", "buildStartedOn", "buildFinishedOn"),
        **_promises(metadata),
        "completeness": {
            name: _at(metadata, "completeness", name) is True
            for name in ("parameters", "environment", "materials")
        },
    }


def _common(
    kind: str, *, build_type: str, builder: str, source: Mapping[str, object], request: object
) -> Fields | None:
    if not build_type and not builder:
        return None
    arguments = _table(_at(request, "args"))
    builds = {
        name.removeprefix(_ARGUMENT): each
        for name, each in arguments.items()
        if name.startswith(_ARGUMENT) and name != _ARGUMENT
    }
    origin = {
        name: each
        for name, each in (
            ("uri", source.get("uri")), ("digest", source.get("digest")), ("path", source.get("path")),
        )
        if each
    }  # fmt: skip
    told = {
        "predicateType": kind,
        "buildType": build_type,
        "builderID": builder,
        "configSource": origin,
        "frontend": _text(_at(request, "frontend")),
        "buildArgs": builds,
        "rawArgs": dict(arguments),
    }
    return {name: each for name, each in told.items() if each or name == "configSource"}


def _times(metadata: Mapping[str, object], *names: str) -> Fields:
    invocation, started, finished = (_text(metadata.get(name)) for name in names)
    told = {
        "invocationID": invocation,
        "startedOn": _whole_seconds(started),
        "finishedOn": _whole_seconds(finished),
    }
    return {name: each for name, each in told.items() if each}


def _whole_seconds(text: str) -> str:
    found = find_time(text)
    return "" if found is None else f"{found.day}T{found.clock.partition('.')[0]}{found.zone}"


def _promises(metadata: Mapping[str, object]) -> Fields:
    return {
        "reproducible": (metadata.get("buildkit_reproducible", metadata.get("reproducible")))
        is True,
        "hermetic": (metadata.get("buildkit_hermetic", metadata.get("hermetic"))) is True,
    }
