"""What a client's frontend says of its result beside the graphs: platforms, configs, names and annotations of images.

Source: BuildKit's `exporter/containerimage/exptypes`, `exporter/verifier`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polyarch.buildkit.messages import read_pairs
from polyarch.errors import InputError, PolyarchError
from polyarch.golang.json import read_json
from polyarch.golang.strconv import quote
from polyarch.platforms import Platform, host, normalize, parse
from polyarch.record import replace
from polyarch.serve.messages import CONFIG, EPOCH, Exported, SolveRequest
from polyarch.wire import Message

__all__ = [
    "attesting_of",
    "check_result",
    "names_of",
    "platform_json",
    "platforms_of",
    "refs_of",
    "remark_on",
    "response_of",
    "with_metadata",
]

_PLATFORMS = "refs.platforms"
_PARTS = ("os", "architecture", "variant")
_NAME = "image.name"
_ANY_NAME = "*"
_ANNOTATION = "annotation"
_HINT = "that is for the frontend that made the result"


def check_result(metadata: Mapping[str, bytes]) -> None:
    """Raise InputError for what no result can be, in BuildKit's words."""
    if _PLATFORMS in metadata:
        _check_platforms(_json(metadata[_PLATFORMS]))
    for name, data in metadata.items():
        if name.partition("/")[0] != CONFIG:
            continue
        config = _json(data)
        if config is None:
            raise InputError("invalid null image config for export", hint=_HINT)
        if isinstance(config, dict) and bool(config.get("os")) != bool(config.get("architecture")):
            raise InputError(
                "invalid image config: os and architecture must be specified together", hint=_HINT
            )
    for name, data in metadata.items():
        if name.partition("/")[0] == EPOCH and not data.isdigit():
            text = data.decode("utf-8", "replace")
            raise InputError(f"invalid SOURCE_DATE_EPOCH from frontend: {text!r}", hint=_HINT)


def _check_platforms(told: Any) -> None:
    found = told.get("Platforms") if isinstance(told, dict) else None
    if not isinstance(found, list) or not found:
        raise InputError("invalid empty platforms index for exporter", hint=_HINT)
    for each in found:
        if not isinstance(each, dict) or not each.get("ID"):
            raise InputError("invalid empty platform key for exporter", hint=_HINT)
        platform = each.get("Platform")
        if not (isinstance(platform, dict) and platform.get("os") and platform.get("architecture")):
            raise InputError(f"invalid platform value {platform} for exporter", hint=_HINT)


def _json(data: bytes) -> Any:
    try:
        return read_json(data) if data else None
    except ValueError as error:
        raise InputError(f"a frontend's result can't be read: {error}", hint=_HINT) from error


def remark_on(asked: str, refs: Sequence[str], metadata: Mapping[str, bytes]) -> str:
    """Return what is odd about a result for those who asked for platforms, "" for nothing; `refs` are its platforms."""
    try:
        wanted = {str(normalize(parse(each))) for each in asked.split(",") if each} or {str(host())}
        found = {str(normalize(parse(each))) for each in refs if each}
    except PolyarchError:
        return ""
    if not found and len(wanted) > 1:
        return "Multiple platforms requested but result is not multi-platform"
    found = found or {_configured(metadata)}
    if wanted == found:
        return ""
    if len(wanted) == len(found) == 1:
        pair = (quote(next(iter(each))) for each in (wanted, found))
        return "Requested platform {} does not match result platform {}".format(*pair)
    told = (",".join(sorted(each)) for each in (wanted, found))
    return "Requested platforms {} do not match result platforms {}".format(*told)


def _configured(metadata: Mapping[str, bytes]) -> str:
    """Return the platform of the only result: as its config has it, else this machine's."""
    told = _json(metadata.get(CONFIG, b""))
    if not isinstance(told, dict) or not told.get("os"):
        return str(host())
    system, machine, variant = (str(told.get(each) or "") for each in _PARTS)
    return str(normalize(Platform(os=system, architecture=machine, variant=variant)))


def names_of(refs: Mapping[str, str], metadata: Mapping[str, bytes]) -> list[str]:
    """Return what the results of a frontend are called, in the order in which they are exported; [""] for the only one."""
    told = _json(metadata.get(_PLATFORMS, b""))
    listed = [str(each["ID"]) for each in told["Platforms"]] if told else []
    if not listed or refs.get(""):
        return list(refs) or [""]
    return [*listed, *(each for each in refs if each and each not in listed)]


def with_metadata(
    exporters: Sequence[Exported], metadata: Mapping[str, bytes]
) -> tuple[Exported, ...]:
    """Return exporters with what a frontend says of images; what the client itself says counts more."""
    texts = {name: data.decode("utf-8", "replace") for name, data in metadata.items()}
    annotations = {name: text for name, text in texts.items() if name.startswith(_ANNOTATION)}

    def told(each: Exported) -> Exported:
        attributes = {**annotations, **each.attributes}
        if attributes.get("name") == _ANY_NAME and _NAME in texts:
            attributes["name"] = texts[_NAME]
        return replace(each, attributes=attributes)

    return tuple(map(told, exporters))


def response_of(metadata: Mapping[str, bytes]) -> dict[str, str]:
    """Return what of a result's metadata the client is told."""
    return {
        name: data.decode("utf-8", "replace")
        for name, data in metadata.items()
        if name.startswith("frontend.")
    }


def refs_of(result: Message) -> dict[str, str]:
    """Return the refs of a Result by platform, "" for the only one; in any of the forms that there were."""
    if result.all(4):
        entries = Message(result.bytes(4)).messages(1)
        return {each.text(1): Message(each.bytes(2)).text(1) for each in entries}
    if result.all(2):
        return read_pairs(Message(result.bytes(2)), 1)
    return {"": Message(result.bytes(3)).text(1) if result.all(3) else result.text(1)}


def attesting_of(request: SolveRequest) -> dict[str, str]:
    """Return the attributes of a request that say what is attested."""
    return {k: v for k, v in request.attributes.items() if k.startswith("attest:")}


def platforms_of(request: SolveRequest) -> dict[str, Platform]:
    """Return the platforms that a result has a ref for each of, by name; none if there is one ref."""
    names = [each for each in request.attributes.get("platform", "").split(",") if each]
    wanted = request.attributes.get("multi-platform", "")
    if not request.frontend or (len(names) < 2 and wanted not in {"1", "true"}):
        return {}
    found = [normalize(parse(each)) for each in names] or [host()]
    return {str(each): each for each in found}


def platform_json(platform: Platform) -> dict[str, str]:
    """Return a platform as JSON of Go's writes it."""
    told = {"os": platform.os, "architecture": platform.architecture, "variant": platform.variant}
    return {name: value for name, value in told.items() if value}
