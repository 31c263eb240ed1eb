"""The values of `RUN --mount` and `RUN --device`.

A mount's values may hold variables, so an instruction keeps the text, and `parse_mount` is asked once the
variables are known. Its `from` may not, so that the stages a stage needs are known before.
"""

from __future__ import annotations

from collections.abc import Callable

from polyarch.errors import DockerfileError, InputError
from polyarch.golang.csv import csv_fields
from polyarch.golang.strconv import parse_bool, parse_uint, quote
from polyarch.golang.units import ram_in_bytes
from polyarch.graph.op import Sharing
from polyarch.pattern import pattern
from polyarch.record import frozen
from polyarch.text.nearest import suggestion

__all__ = ["Device", "Mount", "mount_from", "parse_device", "parse_mount"]

_TYPES = ("bind", "cache", "secret", "ssh", "tmpfs")
_SHARINGS = tuple(Sharing)
_ALIASES = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
_KEYS = (
    *("type", "from", "source", "target", "readonly", "id", "sharing", "required", "size", "mode"),
    *("uid", "gid", "src", "dst", "destination", "ro", "rw", "readwrite", "env"),
)
_VARIABLE = pattern(r"\$.")


@frozen
class Mount:
    """A mount of one RUN. Texts that weren't given are ""; paths are as written.

    `type` is bind, cache, tmpfs, secret or ssh; `size` is in bytes, 0 for no limit;
    `sharing`, `mode`, `uid`, `gid` and `env` are None if they weren't given.
    """

    type: str = "bind"
    from_name: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = True
    size: int = 0
    id: str = ""
    sharing: Sharing | None = None
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@frozen
class Device:
    """A device of one RUN, by its CDI name, its class or an alias."""

    name: str
    required: bool = False


def mount_from(text: str) -> str:
    """Return the `from` of a mount, "" if it has none.

    Raises DockerfileError, without a place, if the text is no CSV, or if `from` holds a variable.
    """
    found = ""
    for field in _fields(text, "mounts"):
        key, _equals, value = field.partition("=")
        if key.lower() == "from":
            if _VARIABLE.search(value):
                raise DockerfileError(
                    f"'{key.lower()}' doesn't support variable expansion,"
                    " define alias stage instead"
                )
            found = value
    return found


def parse_mount(text: str, expand: Callable[[str], str] | None = None) -> Mount:
    """Read a mount; `expand` is asked for each value.

    Raises DockerfileError, without a place. The order of the fields counts: what a field may be is
    decided by the type so far.
    """
    draft = _Draft()
    for field in _fields(text, "mounts"):
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals:
            draft.set_switch(key, field)
            continue
        draft.set_value(key, expand(value) if expand is not None else value, field)
    return draft.finish()


def parse_device(text: str) -> Device:
    """Read a device, `[name=]NAME[,required[=bool]]`. Raises DockerfileError without a place."""
    name = ""
    required = False
    for field in _fields(text, "devices"):
        key, equals, value = field.partition("=")
        key = key.lower()
        if key == "required":
            required = _parse_bool(key, value) if equals else True
        elif key == "name" and equals:
            if name:
                raise DockerfileError(f"device name already set to {name}")
            name = value
        elif not name:
            name = field  # qualified names of CDI have an equals sign of their own
        elif not equals:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
        else:
            hint = suggestion(key, ("name", "required"))
            raise DockerfileError(f"unexpected key '{key}' in '{field}'{hint}")
    return Device(name=name, required=required)


def _fields(text: str, what: str) -> list[str]:
    try:
        return csv_fields(text)
    except InputError as error:
        raise DockerfileError(f"failed to parse csv {what}: {error}") from None


def _parse_bool(key: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except InputError:
        raise DockerfileError(f"invalid value for {key}: {value}") from None


def _parse_size(text: str) -> int:
    size = ram_in_bytes(text)
    if size < 0:
        # BuildKit takes more than 63 bits for no limit, which nobody means who writes one.
        raise InputError(f"{text} bytes are more than 63 bits hold")
    return size


def _parse_mode(text: str) -> int:
    # Other bits mean nothing to chmod(2).
    return parse_uint(text, base=8, bits=32) & 0o7777


def _parse_id(text: str) -> int:
    return parse_uint(text, bits=32)


_NUMBERS = {"size": _parse_size, "mode": _parse_mode, "uid": _parse_id, "gid": _parse_id}


class _Draft:
    """A mount while its fields come in."""

    def __init__(self) -> None:
        self.type = "bind"
        self.texts: dict[str, str] = {}
        self.numbers: dict[str, int] = {}
        self.read_only: bool | None = None
        self.required = False

    def set_switch(self, key: str, field: str) -> None:
        """Take a key without a value."""
        name = _ALIASES.get(key, key)
        if name in {"readonly", "readwrite"}:
            self.read_only = name == "readonly"
        elif name == "required":
            self.expect_type(key, "secret", "ssh")
            self.required = True
        else:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")

    def set_value(self, key: str, value: str, field: str) -> None:
        """Take a key with its value."""
        name = _ALIASES.get(key, key)
        match name:
            case "type" | "sharing":
                self.set_choice(name, value)
            case "from" | "source" | "target" | "id":
                self.texts[name] = value
            case "env":
                self.expect_type(key, "secret")
                self.texts[name] = value
            case "readonly" | "readwrite":
                self.read_only = _parse_bool(key, value) == (name == "readonly")
            case "required":
                self.expect_type(key, "secret", "ssh")
                self.required = _parse_bool(key, value)
            case "size" | "mode" | "uid" | "gid":
                self.set_number(name, value)
            case _:
                hint = suggestion(key, _KEYS)
                raise DockerfileError(f"unexpected key '{key}' in '{field}'{hint}")

    def set_choice(self, name: str, value: str) -> None:
        choices, what = (_TYPES, "mount type") if name == "type" else (_SHARINGS, "sharing value")
        choice = value.lower()
        if choice not in choices:
            raise DockerfileError(f"unsupported {what} {quote(value)}{suggestion(value, choices)}")
        if name == "type":
            self.type = choice
        else:
            self.texts[name] = choice

    def set_number(self, name: str, value: str) -> None:
        if name == "size":
            self.expect_type(name, "tmpfs")
        try:
            self.numbers[name] = _NUMBERS[name](value)
        except InputError:
            place = f"for size: {value}" if name == "size" else f"{value} for {name}"
            raise DockerfileError(f"invalid value {place}") from None

    def expect_type(self, key: str, *types: str) -> None:
        if self.type not in types:
            raise DockerfileError(f"unexpected key '{key}' for mount type '{self.type}'")

    def finish(self) -> Mount:
        """Check what can be said of the whole only."""
        if self.type not in {"cache", "secret", "ssh"}:
            for name in ("mode", "uid", "gid"):
                if name in self.numbers:
                    raise DockerfileError(f"{name} not allowed for {quote(self.type)} type mounts")
        if self.type == "secret":
            self.check_secret()
        if self.texts.get("sharing") and self.type != "cache":
            raise DockerfileError(f"invalid cache sharing set for {self.type} mount")
        is_private = self.type in {"cache", "tmpfs"}
        return Mount(
            type=self.type,
            from_name=self.texts.get("from", ""),
            source=self.texts.get("source", ""),
            target=self.texts.get("target", ""),
            read_only=not is_private if self.read_only is None else self.read_only,
            size=self.numbers.get("size", 0),
            id=self.texts.get("id", ""),
            sharing=Sharing(self.texts["sharing"]) if self.texts.get("sharing") else None,
            required=self.required,
            env=self.texts.get("env"),
            mode=self.numbers.get("mode"),
            uid=self.numbers.get("uid"),
            gid=self.numbers.get("gid"),
        )

    def check_secret(self) -> None:
        texts = self.texts
        if texts.get("from"):
            raise DockerfileError("secret mount should not have a from")
        if texts.get("sharing"):
            raise DockerfileError("secret mount should not define sharing")
        if not (texts.get("source") or texts.get("target") or texts.get("id")):
            raise DockerfileError("invalid secret mount. one of source, target required")
        if texts.get("source") and texts.get("id"):
            raise DockerfileError("both source and id can't be set")
