"""Values of build flags: texts as typed -> records. The rules are docker buildx's, to the message.

Functions that take `values` get a flag's values in the order of the command line and forget empty ones
where buildx does. All raise InputError. What a value means to an exporter or a cache is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from polyarch.errors import InputError, InvalidReference
from polyarch.golang.csv import csv_fields
from polyarch.golang.strconv import find_bool, parse_bool, quote
from polyarch.golang.time import parse_duration
from polyarch.pattern import pattern
from polyarch.platforms import Platform, format_all
from polyarch.platforms import parse as parse_platform
from polyarch.platforms import read as read_platform
from polyarch.record import frozen
from polyarch.request.annotation import Annotation
from polyarch.request.attestation import Attestation
from polyarch.request.values import CacheEntry, Output, OutputType
from polyarch.text.nearest import hint_for

__all__ = [
    "Allowed",
    "Call",
    "SecretSpec",
    "SshSpec",
    "add_host_flag",
    "allow_flag",
    "annotation_flag",
    "attest_flag",
    "attest_shorthand",
    "budget_flag",
    "build_context_flag",
    "cache_flag",
    "call_flag",
    "output_flag",
    "secret_flag",
    "ssh_flag",
]


@frozen
class SecretSpec:
    """A secret: from `file`, else from the variable `env`, else from whichever is called `id`."""

    id: str = ""
    file: str = ""
    env: str = ""


@frozen
class SshSpec:
    """An agent socket or keys to forward under the name `id`; no paths mean the user's agent."""

    id: str
    paths: tuple[str, ...] = ()


@frozen
class Allowed:
    """What the build may do beyond the ordinary; `local_delete` concerns the client alone."""

    entitlements: tuple[str, ...] = ()
    local_delete: bool = False


@frozen
class Call:
    """A question to ask of a Dockerfile in place of a build."""

    name: str
    format: str = ""
    ignore_status: bool = False


def output_flag(values: Iterable[str]) -> tuple[Output, ...]:
    """Read `--output`: CSV, a directory, or "-" for a tar archive on standard output."""
    return tuple(_output(value) for value in values if value)


def _output(value: str) -> Output:
    fields = csv_fields(value)
    if fields == [value] and not value.startswith("type="):
        return Output(type=OutputType.TAR if value == "-" else OutputType.LOCAL, destination=value)
    attributes: dict[str, str] = {}
    for key, setting in map(_pair, fields):
        attributes[key.lower().strip()] = setting
    kind = attributes.pop("type", "")
    if not kind:
        raise InputError(
            "type is required for output",
            hint="for instance -o type=local,dest=DIRECTORY, or -o DIRECTORY",
        )
    destination = attributes.pop("dest", "")
    return Output(type=kind, destination=destination, attributes=attributes)


def _pair(text: str) -> tuple[str, str]:
    """Cut `key=value` at the first equals sign."""
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"invalid value {text}", hint="write NAME=VALUE, several with commas")
    return key, value


def cache_flag(values: Iterable[str]) -> tuple[CacheEntry, ...]:
    """Read `--cache-from` or `--cache-to`: CSV, or references to images separated by commas."""
    entries: list[CacheEntry] = []
    for value in filter(None, values):
        texts = [value] if "=" in value else csv_fields(value)
        entries.extend(map(_cache_entry, texts))
    return tuple(entries)


def _cache_entry(text: str) -> CacheEntry:
    fields = csv_fields(text)
    if len(fields) == 1 and "=" not in fields[0]:
        return CacheEntry(type="registry", attributes={"ref": fields[0]})
    attributes = {key.lower(): value for key, value in map(_pair, fields)}
    kind = attributes.pop("type", "")
    if not kind:
        raise InputError(
            f"type required for {quote(text)}", hint="for instance type=registry,ref=NAME"
        )
    return CacheEntry(type=kind, attributes=attributes)


def budget_flag(value: str) -> float | None:
    """Read `--cache-budget`: seconds, or a duration as Go writes it."""
    if not value:
        return None
    try:
        seconds = float(value) if not value[-1:].isalpha() else parse_duration(value) / 1e9
    except (ValueError, InputError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise InputError(
            f"--cache-budget={value} is no number of seconds", hint="write 30, 1m30s, or 0 for none"
        )
    return seconds


def secret_flag(values: Iterable[str]) -> tuple[SecretSpec, ...]:
    """Read `--secret`: CSV with id, src or source, env and type."""
    return tuple(_secret(value) for value in values if value)


def _secret(value: str) -> SecretSpec:
    try:
        fields = csv_fields(value)
    except InputError as error:
        raise InputError(f"failed to parse csv secret: {error}") from error
    found = dict.fromkeys(("type", "id", "src", "env"), "")
    for text in fields:
        key, equals, setting = text.partition("=")
        key = key.lower()
        if not equals:
            raise InputError(f"invalid field '{text}' must be a key=value pair")
        if key == "type" and setting not in {"file", "env"}:
            hint = hint_for(setting, ("file", "env"))
            raise InputError(f"unsupported secret type {quote(setting)}", hint=hint)
        name = "src" if key == "source" else key
        if name not in found:
            hint = hint_for(key, (*found, "source"))
            raise InputError(f"unexpected key '{key}' in '{text}'", hint=hint)
        found[name] = setting
    if found["type"] == "env" and not found["env"]:
        return SecretSpec(id=found["id"], env=found["src"])
    return SecretSpec(id=found["id"], file=found["src"], env=found["env"])


def ssh_flag(values: Iterable[str]) -> tuple[SshSpec, ...]:
    """Read `--ssh`: `id[=path[,path]]`; no CSV, so quotes are part of a path."""
    return tuple(_ssh(value) for value in values if value)


def _ssh(value: str) -> SshSpec:
    name, equals, paths = value.partition("=")
    return SshSpec(id=name, paths=tuple(paths.split(",")) if equals else ())


def attest_flag(values: Iterable[str]) -> tuple[Attestation, ...]:
    """Read `--attest`: CSV with type, disabled and the attestation's own attributes."""
    return tuple(map(_attestation, values))


def _attestation(value: str) -> Attestation:
    kind, disabled, attributes = "", False, {}
    for text in csv_fields(value):
        key, setting = _pair(text)
        match key.lower().strip():
            case "type":
                kind = setting
            case "disabled":
                disabled = _bool(setting, f"invalid value {text}")
            case _:
                attributes[key] = setting
    if not kind:
        raise InputError(
            "attestation type not specified", hint="write --attest type=provenance, or type=sbom"
        )
    return Attestation(type=kind, disabled=disabled, attributes=attributes)


def _bool(text: str, complaint: str) -> bool:
    try:
        return parse_bool(text)
    except InputError as error:
        raise InputError(f"{complaint}: {error}") from error


def attest_shorthand(kind: str, text: str) -> str:
    """Turn the value of `--sbom` or `--provenance` into one for `--attest`; "" stays ""."""
    if not text:
        return ""
    wanted = find_bool(text)
    if wanted is None:
        return f"type={kind},{text}"
    return f"type={kind},disabled={'false' if wanted else 'true'}"


_ANNOTATION_TYPE = pattern(r"([a-z-]+)(?:\[([A-Za-z0-9_/-]+)\])?\Z")
_ANNOTATION_TYPES = frozenset({"index", "index-descriptor", "manifest", "manifest-descriptor"})


def annotation_flag(values: Iterable[str]) -> tuple[Annotation, ...]:
    """Read `--annotation`: `[type[platform],...:]key=value`.

    Later values win over those for the same place without a platform.
    """
    found: dict[tuple[str, str, int], Annotation] = {}
    for value in filter(None, values):
        name, equals, setting = value.partition("=")
        if not equals:
            raise InputError(f"invalid annotation {quote(value)}, expected key=value")
        types, colon, key = name.partition(":")
        if not colon:
            places: list[tuple[str, Platform | None]] = [("", None)]
            key = name
        else:
            places = [_annotation_place(text) for text in types.split(",")]
        for kind, platform in places:
            # As in buildx, two places with a platform never meet: both are handed on.
            identity = (kind, key, -1 if platform is None else len(found))
            found[identity] = Annotation(level=kind, platform=platform, key=key, value=setting)
    return tuple(found.values())


def _annotation_place(text: str) -> tuple[str, Platform | None]:
    match = _ANNOTATION_TYPE.match(text)
    if match is None:
        raise InputError(
            f"invalid annotation type {quote(text)}, expected type and optional platform in"
            " square brackets"
        )
    kind, platform = match.groups()
    if kind not in _ANNOTATION_TYPES:
        hint = hint_for(kind, _ANNOTATION_TYPES)
        raise InputError(f"unknown annotation type {quote(kind)}", hint=hint)
    if platform is None:
        return kind, None
    try:
        return kind, parse_platform(platform)
    except InputError as error:
        raise InputError(f"invalid platform {quote(platform)}: {error}") from error


def build_context_flag(values: Iterable[str], *, familiar: Callable[[str], str]) -> dict[str, str]:
    """Read `--build-context`: `name=value` each; later values win.

    `familiar` writes a reference as users do (`alpine:3` for `docker.io/library/alpine:3`), raising
    InputError where the name is none; a `:latest` at the end is dropped. A name may end in `::` and the
    platform that it is for.
    """
    found = {}
    for value in values:
        name, equals, setting = value.partition("=")
        if not equals:
            raise InputError(f"invalid context value: {value}, expected key=value")
        image, mark, platform = name.partition("::")
        try:
            suffix = mark + format_all(read_platform(platform)) if mark else ""
            found[familiar(image).removesuffix(":latest") + suffix] = setting
        except InputError as error:
            raise InvalidReference(f"invalid context name {name}: {error}") from error
    return found


_HOST = "write --add-host NAME=ADDRESS, for instance db=10.0.0.5 or db=host-gateway"
_LOCAL_DELETE = "buildx.local.delete"


def allow_flag(values: Iterable[str]) -> Allowed:
    """Read `--allow`: entitlements, as typed, and `buildx.local.delete`."""
    entitlements = []
    local_delete = False
    for value in filter(None, values):
        key, equals, setting = value.partition("=")
        if key == _LOCAL_DELETE:
            if equals:
                raise InputError(f"{_LOCAL_DELETE} does not accept a value")
            local_delete = True
            continue
        if key == "device":
            _check_device(setting)
        elif value not in {"network.host", "security.insecure"}:
            hint = hint_for(value, ("network.host", "security.insecure", "device"))
            raise InputError(f"unknown entitlement {value}", hint=hint)
        entitlements.append(value)
    return Allowed(entitlements=tuple(entitlements), local_delete=local_delete)


def _check_device(text: str) -> None:
    for option in csv_fields(text)[1:] if text else ():
        key, equals, _ = option.partition("=")
        if not equals:
            raise InputError(f"invalid device config {quote(option)}")
        if key != "alias":
            raise InputError(f"unknown device config key {quote(key)}")


def add_host_flag(values: Iterable[str]) -> tuple[str, ...]:
    """Read `--add-host`: `host=address` or `host:address`, several addresses with commas.

    Returns `host=address` each, without the brackets that IPv6 may have; `host-gateway` stays.
    """
    hosts = []
    for value in values:
        host, separator, addresses = value.partition("=")
        if not separator:
            host, separator, addresses = value.partition(":")
        if not host or not addresses:
            raise InputError(f"invalid host {value}", hint=_HOST)
        if addresses == "host-gateway":
            hosts.append(f"{host}={addresses}")
            continue
        for text in addresses.split(","):
            address = text[1:-1] if len(text) > 2 and text[0] + text[-1] == "[]" else text
            if not _is_address(address):
                raise InputError(f"invalid host {value}", hint=_HOST)
            hosts.append(f"{host}={address}")
    return tuple(hosts)


def _is_address(text: str) -> bool:
    # 8 ms that a build without --add-host doesn't pay.
    import socket  # noqa: PLC0415

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def call_flag(text: str) -> Call | None:
    """Read `--call`: None for a plain build, else what to ask of the Dockerfile."""
    if not text:
        return None
    name, form, ignore_status = "", "", False
    for option in csv_fields(text):
        key, equals, setting = option.partition("=")
        if not equals and name:
            raise InputError(
                f"invalid print value: {text}", hint="for instance --call=outline,format=json"
            )
        if not equals:
            name = option
        elif key == "format":
            form = setting
        elif key == "ignorestatus":
            ignore_status = _bool(setting, f"invalid ignorestatus print value: {setting}")
        else:
            raise InputError(f"invalid print field: {option}")
    if name == "build":
        return None
    name = "lint" if name == "check" else name
    return Call(name=name, format=form, ignore_status=ignore_status)
