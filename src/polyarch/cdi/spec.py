"""One CDI specification file -> its devices as values.

A file describes devices of one kind, `vendor/class`, and for each what a container needs to use it: device
nodes, mounts, variables, groups. What we don't carry out (hooks, network devices, Intel's RDT) is kept by its
name, so that a step that asks for such a device is refused rather than run without.

Source: CNCF tags, container-device-interface, SPEC.md, version 1.0.0 and before.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping

from polyarch.errors import IntegrityError
from polyarch.oci.fields import Fields
from polyarch.pattern import pattern
from polyarch.record import field, frozen

__all__ = ["Device", "Edits", "Mount", "Node", "is_kind", "read_spec"]

_NAME = r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?"
_KIND = pattern(rf"{_NAME}/{_NAME}")
_DEVICE = pattern(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?")
_VERSION = pattern(r"v?[01]\.[0-9]+\.[0-9]+")
_UNKNOWN = ("hooks", "intelRdt", "netDevices")
_TYPES = ("", "b", "c", "u", "p")


@frozen
class Node:
    """A device node: `path` is where the step sees it, `source` where it is on this machine.

    `kind` is b, c, u or p, "" for what it is here; `mode`, `uid` and `gid` are None for what they are here.
    """

    path: str
    source: str
    kind: str = ""
    major: int = 0
    minor: int = 0
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@frozen
class Mount:
    """A file or directory of this machine that the step sees at `target`; `options` are those of mount(8)."""

    source: str
    target: str
    type: str = ""
    options: tuple[str, ...] = ()


@frozen
class Edits:
    """What a step needs for a device; `unknown` are the names of what we don't carry out."""

    env: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    mounts: tuple[Mount, ...] = ()
    groups: tuple[int, ...] = ()
    unknown: tuple[str, ...] = ()

    def __add__(self, other: Edits) -> Edits:
        """Return both, `other` behind."""
        return Edits(
            env=self.env + other.env,
            nodes=self.nodes + other.nodes,
            mounts=self.mounts + other.mounts,
            groups=self.groups + other.groups,
            unknown=self.unknown + other.unknown,
        )


@frozen
class Device:
    """A device by its full name, `vendor/class=device`.

    `common` is what all devices of its file need besides; once, however many of them a step has. The file
    is `origin`.
    """

    name: str
    edits: Edits
    common: Edits = field(default_factory=Edits)
    origin: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The vendor and the class."""
        return self.name.partition("=")[0]


def is_kind(text: str) -> bool:
    """Tell whether `text` is of the form `vendor/class`."""
    return _KIND.fullmatch(text) is not None


def read_spec(name: str, data: bytes) -> tuple[Device, ...]:
    """Return the devices of the file `name`, whose ending tells its format.

    Raises IntegrityError for what is none, or needs something that isn't here.
    """
    fields = _document(name, data)
    version = fields.text("cdiVersion", required=True)
    if not _VERSION.fullmatch(version):
        raise IntegrityError(f"cdiVersion {version!r} isn't known")
    kind = fields.text("kind", required=True)
    if not is_kind(kind):
        raise IntegrityError(f"kind {kind!r} is not of the form vendor/class")
    annotations = fields.text_map("annotations")
    common = _edits(fields.object("containerEdits")) if "containerEdits" in fields else Edits()
    return tuple(
        Device(
            name=f"{kind}={_device_name(each)}",
            edits=_edits(each.object("containerEdits")),
            common=common,
            origin=name,
            annotations={**annotations, **each.text_map("annotations")},
        )
        for each in fields.objects("devices")
    )


def _with_texts(told: object) -> object:
    """Return what YAML says with annotations as texts: `true` without quotes is one there, as for CDI's own reader."""
    if not isinstance(told, dict):
        return told
    found = dict(told)
    if isinstance(annotations := found.get("annotations"), dict):
        found["annotations"] = {name: _as_text(each) for name, each in annotations.items()}
    if isinstance(devices := found.get("devices"), list):
        found["devices"] = [_with_texts(each) for each in devices]
    return found


def _as_text(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


def _document(name: str, data: bytes) -> Fields:
    if name.endswith(".json"):
        try:
            return Fields(json.loads(data))
        except (ValueError, RecursionError) as error:
            raise IntegrityError(f"it is no JSON: {error}") from error
    try:
        # Whoever has devices described in YAML has the library mostly; nobody else needs it.
        yaml = importlib.import_module("yaml")
    except ImportError as error:
        raise IntegrityError(
            "it is YAML, which needs Python's yaml (PyYAML); write it as JSON, or install that"
        ) from error
    try:
        return Fields(_with_texts(yaml.safe_load(data)))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise IntegrityError(f"it is no YAML: {' '.join(str(error).split())}") from error


def _device_name(fields: Fields) -> str:
    name = fields.text("name", required=True)
    if not _DEVICE.fullmatch(name):
        raise IntegrityError(f"{fields.place('name')} {name!r} is no name of a device")
    return name


def _edits(fields: Fields) -> Edits:
    env = fields.texts("env")
    for entry in env:
        if entry.partition("=")[0] in {"", entry}:
            raise IntegrityError(f"{fields.place('env')} {entry!r} is not of the form NAME=value")
    return Edits(
        env=env,
        nodes=tuple(map(_node, fields.objects("deviceNodes"))),
        mounts=tuple(map(_mount, fields.objects("mounts"))),
        groups=fields.numbers("additionalGids"),
        unknown=tuple(name for name in _UNKNOWN if name in fields),
    )


def _node(fields: Fields) -> Node:
    path = _absolute(fields, "path")
    kind = fields.text("type")
    if kind not in _TYPES:
        raise IntegrityError(f"{fields.place('type')} {kind!r} is none of b, c, u and p")
    return Node(
        path=path,
        source=fields.text("hostPath") or path,
        kind=kind,
        major=fields.number("major"),
        minor=fields.number("minor"),
        mode=_optional(fields, "fileMode"),
        uid=_optional(fields, "uid"),
        gid=_optional(fields, "gid"),
    )


def _mount(fields: Fields) -> Mount:
    return Mount(
        source=_absolute(fields, "hostPath"),
        target=_absolute(fields, "containerPath"),
        type=fields.text("type"),
        options=fields.texts("options"),
    )


def _absolute(fields: Fields, key: str) -> str:
    path = fields.text(key, required=True)
    if not path.startswith("/"):
        raise IntegrityError(f"{fields.place(key)} {path!r} is no absolute path")
    return path


def _optional(fields: Fields, key: str) -> int | None:
    return fields.number(key) if key in fields else None
