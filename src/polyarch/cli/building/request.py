"""The flags of `build` -> a BuildRequest. The rules, and what contradicts what, are docker buildx's."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence

from polyarch.cli.building.limits import resource_flag, size_flag, ulimit_flag
from polyarch.cli.building.proxies import proxy_args
from polyarch.cli.building.runner import with_runner
from polyarch.cli.building.shard import shard_outputs, untagged
from polyarch.cli.building.signing import signing_flag
from polyarch.cli.building.table import resource_values
from polyarch.cli.building.values import (
    Call,
    SecretSpec,
    SshSpec,
    add_host_flag,
    allow_flag,
    annotation_flag,
    attest_flag,
    attest_shorthand,
    budget_flag,
    build_context_flag,
    cache_flag,
    call_flag,
    output_flag,
    secret_flag,
    ssh_flag,
)
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.flags import Options
from polyarch.errors import InputError
from polyarch.golang.strconv import find_bool, parse_bool, quote
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform, parse_list
from polyarch.record import frozen, replace
from polyarch.request.annotation import Annotation
from polyarch.request.attestation import DEFAULT_PROVENANCE, PROVENANCE, Attestation
from polyarch.request.frontend import MULTI_PLATFORM_ARG
from polyarch.request.make import make_request
from polyarch.request.outputs import check_mirrors
from polyarch.request.policies import parse_policy
from polyarch.request.secretfile import check_secret_file
from polyarch.request.values import BuildRequest, CacheEntry, Output, OutputType, Secret, is_address
from polyarch.request.vcs import with_git
from polyarch.text.giturl import parse_git_reference

__all__ = ["Asked", "BuildFlags", "read_flags", "read_request", "result_provenance"]

_NO_DEFAULT = "BUILDX_NO_DEFAULT_ATTESTATIONS"
_NO_ARTIFACT = "BUILDX_NO_DEFAULT_OCI_ARTIFACT"


@frozen
class Asked:
    """What `build` was asked for: a build, or an answer about one."""

    request: BuildRequest
    call: Call | None = None


@frozen
class BuildFlags:
    """Values of flags of which only the form was looked at: see `read_flags`."""

    build_args: Mapping[str, str]
    labels: Mapping[str, str]
    build_contexts: Mapping[str, str]
    outputs: tuple[Output, ...]
    secrets: tuple[SecretSpec, ...]
    cache_from: tuple[CacheEntry, ...]
    cache_to: tuple[CacheEntry, ...]
    attestations: tuple[Attestation, ...]
    call: Call | None


def read_flags(options: Options, environ: Mapping[str, str]) -> BuildFlags:
    """Read the values that have a form of their own. Raises InputError.

    These errors are about the command line, as buildx tells them apart from those of a build, which
    have "failed to build: " before them.
    """
    flags = BuildFlags(
        build_args=_build_args(options, environ),
        labels=_pairs(options.values("label")),
        attestations=_attestations(options, environ),
        build_contexts=build_context_flag(options.values("build-context"), familiar=_familiar),
        outputs=_outputs(options),
        cache_from=with_runner(cache_flag(options.values("cache-from")), environ),
        cache_to=with_runner(cache_flag(options.values("cache-to")), environ),
        secrets=secret_flag(options.values("secret")),
        call=_call(options),
    )
    if options.text("iidfile") and any(
        each.type in {OutputType.LOCAL, OutputType.TAR} for each in flags.outputs
    ):
        raise InputError(
            "local and tar exporters are incompatible with image ID file",
            hint="files have no image ID: leave --iidfile out, or write an image: -o type=oci,dest=FILE",
        )
    return flags


def read_request(options: Options, flags: BuildFlags, context: Context) -> Asked:
    """Understand what a build is asked for. Raises InputError and its kin."""
    if flags.call is not None:
        from polyarch.cli.building.calls import known_call  # noqa: PLC0415 for those who ask only

        known_call(flags.call.name)
    return Asked(
        request=_request(options, flags, context),
        call=flags.call,
    )


def _call(options: Options) -> Call | None:
    if options.is_set("check"):
        return call_flag("check")
    return call_flag(options.text("print") or options.text("call"))


def _attestations(options: Options, environ: Mapping[str, str]) -> tuple[Attestation, ...]:
    shorthands = (attest_shorthand(kind, options.text(kind)) for kind in ("provenance", "sbom"))
    found = attest_flag((*options.values("attest"), *filter(None, shorthands)))
    if any(each.type == PROVENANCE for each in found) or not _has_default(environ):
        return found
    return (DEFAULT_PROVENANCE, *found)


def _has_default(environ: Mapping[str, str]) -> bool:
    text = environ.get(_NO_DEFAULT)
    if text is None:
        return True
    try:
        return not parse_bool(text)
    except InputError as error:
        raise InputError(f"invalid {_NO_DEFAULT}: {error}") from error


def result_provenance(options: Options, environ: Mapping[str, str]) -> str:
    """Return how much of the provenance the metadata file tells, "" for nothing."""
    mode = environ.get("BUILDX_METADATA_PROVENANCE", "min").lower()
    if not options.text("metadata-file") or mode == "disabled" or find_bool(mode) is False:
        return ""
    return mode if mode == "max" else "min"


def _request(options: Options, flags: BuildFlags, context: Context) -> BuildRequest:
    needs_digest = options.is_set("quiet") or any(
        options.text(name) for name in ("iidfile", "metadata-file")
    )
    if not flags.build_args.get("BUILDKIT_SYNTAX", "-").strip():
        raise InputError(
            "empty BUILDKIT_SYNTAX build-arg is invalid, use --build-arg BUILDKIT_SYNTAX without '=' "
            "for optional behavior"
        )
    allowed = allow_flag(options.values("allow"))
    agents, keys = _agents(_ssh_specs(options), context.environ)
    request = make_request(
        options.arguments[0],
        dockerfile=options.text("file"),
        if_changed=options.text("if-changed"),
        signing=signing_flag(options, context),
        platforms=_platforms(options, context.environ),
        tags=_tags(options),
        target=options.text("target"),
        build_args=flags.build_args,
        build_contexts=flags.build_contexts,
        labels=flags.labels,
        outputs=flags.outputs,
        push=options.is_set("push") and not options.values("shard"),
        load=options.is_set("load"),
        needs_digest=needs_digest,
        no_cache=options.is_set("no-cache"),
        no_cache_filter=_stage_names(options.values("no-cache-filter")),
        pull=options.is_set("pull"),
        network=options.text("network"),
        add_hosts=add_host_flag(options.values("add-host")),
        shm_size=size_flag(options.text("shm-size")) if options.text("shm-size") else 0,
        ulimits=ulimit_flag(options.values("ulimit")),
        cgroup_parent=options.text("cgroup-parent"),
        resources=resource_flag(resource_values(options)),
        allow=allowed.entitlements,
        secrets=_secrets(flags.secrets, context.environ),
        ssh=agents,
        ssh_keys=keys,
        annotations=_annotations(options.values("annotation")),
        jobs=options.number("jobs"),
        emulation=options.text("emulation"),
        cache_from=flags.cache_from,
        cache_to=flags.cache_to,
        cache_budget=budget_flag(options.text("cache-budget")),
        mask_secrets=not options.is_set("no-mask-secrets"),
        attestations=flags.attestations,
        attest_as=options.text("attest-as"),
        result_provenance=result_provenance(options, context.environ),
    )
    policies = tuple(map(parse_policy, options.values("policy")))
    request = replace(
        request, outputs=_with_form(request.outputs, context.environ), policies=policies
    )
    if not allowed.local_delete:
        check_mirrors(request.outputs)
    return with_git(_with_stdin(request, context), context.environ)


def _with_form(outputs: tuple[Output, ...], environ: Mapping[str, str]) -> tuple[Output, ...]:
    """Return outputs whose attestations have the form of older builders, where the environment says so. Raises InputError."""
    try:
        is_older = _NO_ARTIFACT in environ and parse_bool(environ[_NO_ARTIFACT])
    except InputError as error:
        raise InputError(f"invalid {_NO_ARTIFACT}: {error}") from error
    if not is_older:
        return outputs
    images = {OutputType.IMAGE, OutputType.OCI, OutputType.REGISTRY}
    return tuple(
        replace(each, attributes={"oci-artifact": "false", **each.attributes})
        if each.type in images
        else each
        for each in outputs
    )


def _outputs(options: Options) -> tuple[Output, ...]:
    outputs = output_flag(options.values("output"))
    if not options.values("shard"):
        return outputs
    if options.values("platform") or options.is_set("load"):
        other = "platform" if options.values("platform") else "load"
        raise InputError(f"--shard and --{other} cannot be used together")
    return shard_outputs(outputs, push=options.is_set("push"))


def _tags(options: Options) -> Sequence[str]:
    tags = options.values("tag")
    return untagged(tags) if options.values("shard") else tags


def _annotations(values: Sequence[str]) -> tuple[Annotation, ...]:
    try:
        return annotation_flag(values)
    except InputError as error:
        raise InputError(f"parse annotations: {error}", hint=error.hint) from error


def _with_stdin(request: BuildRequest, context: Context) -> BuildRequest:
    if request.context == "-" and request.dockerfile == "-":
        raise InputError(
            "invalid argument: can't use stdin for both build context and dockerfile",
            hint="give the Dockerfile as a file, or in the archive",
        )
    if "-" not in {request.context, request.dockerfile}:
        return request
    return replace(request, stdin=context.stdin.buffer.read())


def _platforms(options: Options, environ: Mapping[str, str]) -> tuple[Platform, ...]:
    values = options.values("shard") or options.values("platform")
    if not values and environ.get("DOCKER_DEFAULT_PLATFORM"):
        values = (environ["DOCKER_DEFAULT_PLATFORM"],)
    return parse_list(values, keep_doubles=True)


def _familiar(name: str) -> str:
    return parse_reference(name).familiar


def _build_args(options: Options, environ: Mapping[str, str]) -> dict[str, str]:
    args = {MULTI_PLATFORM_ARG: "1"} if options.values("shard") else {}
    for value in options.values("build-arg"):
        name, equals, setting = _pair(value)
        if equals:
            args[name] = setting
        elif name in environ:
            args[name] = environ[name]
    if environ.get("SOURCE_DATE_EPOCH"):
        args.setdefault("SOURCE_DATE_EPOCH", environ["SOURCE_DATE_EPOCH"])
    return {**proxy_args(environ, args), **args}


def _stage_names(values: Iterable[str]) -> tuple[str, ...]:
    """Return the names of stages in all values, each of which may have several with commas."""
    return tuple(name for value in values for name in value.split(","))


def _pairs(values: Iterable[str]) -> dict[str, str]:
    return {name: setting for name, _, setting in map(_pair, values)}


def _pair(text: str) -> tuple[str, str, str]:
    name, equals, setting = text.partition("=")
    if not name:
        raise InputError(
            f"invalid key-value pair {quote(text)}: empty key", hint="write NAME=value"
        )
    return name, equals, setting


def _secrets(specs: Iterable[SecretSpec], environ: Mapping[str, str]) -> tuple[Secret, ...]:
    found = {}
    for spec in specs:
        if not spec.id:
            raise InputError("secret missing ID", hint="write --secret id=NAME,src=FILE")
        path, env = spec.file, spec.env
        if not path and not env:
            path, env = ("", spec.id) if spec.id in environ else (spec.id, "")
        if path:
            check_secret_file(spec.id, path)
        found[spec.id] = Secret(id=spec.id, path=path, env=env)
    return tuple(found.values())


def _ssh_specs(options: Options) -> tuple[SshSpec, ...]:
    """Return the agents to forward: the user's own if the context is fetched by ssh, and none is named."""
    specs = tuple(ssh_flag(options.values("ssh")))
    if specs or not is_address(options.arguments[0]):
        return specs
    reference = parse_git_reference(options.arguments[0])
    is_ssh = reference is not None and re.match(r"ssh://|[^/]*@[^/]*:(?!//)", reference.remote)
    return (SshSpec(id="default"),) if is_ssh else ()


def _agents(
    specs: Iterable[SshSpec], environ: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Return the agents' sockets by id, and the files of keys by id."""
    agents: dict[str, str] = {}
    keys: dict[str, tuple[str, ...]] = {}
    own = environ.get("SSH_AUTH_SOCK", "")
    for spec in specs:
        paths = spec.paths or (own,)
        if not all(paths):
            raise InputError(
                f"invalid empty ssh agent socket for {quote(spec.id)}: make sure SSH_AUTH_SOCK is set",
                hint="start an agent: eval $(ssh-agent), ssh-add",
            )
        sockets = [path for path in paths if _is_socket(path)]
        if sockets and len(paths) > 1:
            raise InputError(
                f"--ssh {spec.id}={','.join(paths)}: only one socket is allowed, and no keys beside it",
                hint="give another id to the others",
            )
        name = spec.id or "default"
        if sockets:
            agents[name] = paths[0]
        else:
            _check_keys(paths)
            keys[name] = paths
    return agents, keys


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as error:
        raise InputError(f"can't use {path} for ssh: {error.strerror}") from error


def _check_keys(paths: Iterable[str]) -> None:
    """Find out early what can't be used. Raises InputError."""
    from polyarch.worker.keyagent import read_key  # noqa: PLC0415 for keys only

    for path in paths:
        if not read_key(path).lstrip().startswith(b"-----BEGIN "):
            raise InputError(
                f"failed to parse {path}: it is no private key",
                hint="name a private key, or the socket of an agent",
            )
