"""What stands in lists of a target: caches, outputs, attestations, secrets, agents of ssh.

Each is written as a line of comma separated values or as an object. Source: behaviour of buildx's `buildflags`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from polyarch.errors import InputError
from polyarch.golang.csv import csv_fields
from polyarch.golang.strconv import parse_bool, quote
from polyarch.record import frozen

__all__ = [
    "Attest",
    "CacheEntry",
    "Export",
    "Secret",
    "Ssh",
    "attest_shorthand",
    "by_key",
    "parse_attest",
    "parse_caches",
    "parse_export",
    "parse_secret",
    "parse_ssh",
    "unique",
]

T = TypeVar("T")


@frozen
class CacheEntry:
    """A cache to read or to write."""

    type: str
    attributes: Mapping[str, str]

    def plain(self) -> dict[str, object]:
        """Return what `--print` shows."""
        return dict(sorted({**self.attributes, "type": self.type}.items()))


@frozen
class Export:
    """An output; `destination` is a path, "" if there is none."""

    type: str
    attributes: Mapping[str, str]
    destination: str = ""

    def plain(self) -> dict[str, object]:
        """Return what `--print` shows."""
        whole = {**self.attributes, "type": self.type}
        if self.destination:
            whole["dest"] = self.destination
        return dict(sorted(whole.items()))


@frozen
class Attest:
    """An attestation."""

    type: str
    disabled: bool
    attributes: Mapping[str, str]

    def plain(self) -> dict[str, object]:
        """Return what `--print` shows."""
        whole: dict[str, object] = {**self.attributes, "type": self.type}
        if self.disabled:
            whole["disabled"] = True
        return dict(sorted(whole.items()))


@frozen
class Secret:
    """A secret: a file or a variable of the environment."""

    id: str = ""
    path: str = ""
    env: str = ""

    def plain(self) -> dict[str, object]:
        """Return what `--print` shows."""
        whole = {"id": self.id, "src": self.path, "env": self.env}
        return {name: value for name, value in whole.items() if value}


@frozen
class Ssh:
    """An agent of ssh, or keys."""

    id: str = ""
    paths: tuple[str, ...] = ()

    def plain(self) -> dict[str, object]:
        """Return what `--print` shows."""
        whole: dict[str, object] = {"id": self.id} if self.id else {}
        if self.paths:
            whole["paths"] = list(self.paths)
        return whole


def _pairs(text: str, *, lower: bool = True) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for each in csv_fields(text):
        name, equals, value = each.partition("=")
        if not equals:
            raise InputError(f"invalid value {each}")
        found.append((name.lower() if lower else name, value))
    return found


def parse_caches(text: str) -> tuple[CacheEntry, ...]:
    """Read a cache, or the references of several. Raises InputError."""
    if not text:
        return ()
    if "=" not in text:
        return tuple(
            CacheEntry(type="registry", attributes={"ref": each}) for each in csv_fields(text)
        )
    attributes = dict(_pairs(text))
    kind = attributes.pop("type", "")
    if not kind:
        raise InputError(f"type required for {quote(text)}")
    return (CacheEntry(type=kind, attributes=attributes),)


def parse_export(text: str) -> Export:
    """Read an output. Raises InputError."""
    fields = csv_fields(text)
    if fields == [text] and not text.startswith("type="):
        kind = "tar" if text == "-" else "local"
        return Export(type=kind, attributes={}, destination=text)
    attributes = {name.strip(): value for name, value in _pairs(text)}
    kind = attributes.pop("type", "")
    destination = attributes.pop("dest", "")
    if not kind:
        raise InputError("type is required for output")
    return Export(type=kind, attributes=attributes, destination=destination)


def parse_attest(text: str) -> Attest:
    """Read an attestation. Raises InputError."""
    attributes: dict[str, str] = {}
    kind, disabled = "", False
    for name, value in _pairs(text, lower=False):
        folded = name.strip().lower()
        if folded == "type":
            kind = value
        elif folded == "disabled":
            try:
                disabled = parse_bool(value)
            except InputError as error:
                raise InputError(f"invalid value {name}={value}: {error}") from None
        else:
            attributes[name] = value
    if not kind:
        raise InputError("attestation type not specified")
    return Attest(type=kind, disabled=disabled, attributes=attributes)


def attest_shorthand(kind: str, text: str) -> str:
    """Return the long form of what `--provenance` and `--sbom` take."""
    try:
        return f"type={kind},disabled={'false' if parse_bool(text) else 'true'}"
    except InputError:
        return f"type={kind},{text}"


def parse_secret(text: str) -> Secret:
    """Read a secret. Raises InputError."""
    found = {"id": "", "src": "", "env": "", "type": ""}
    try:
        fields = csv_fields(text)
    except InputError as error:
        raise InputError(f"failed to parse csv secret: {error}") from None
    for each in fields:
        name, equals, value = each.partition("=")
        name = name.lower()
        if not equals:
            raise InputError(f"invalid field '{each}' must be a key=value pair")
        name = "src" if name == "source" else name
        if name == "type" and value not in {"file", "env"}:
            raise InputError(f"unsupported secret type {quote(value)}")
        if name not in found:
            raise InputError(f"unexpected key '{name}' in '{each}'")
        found[name] = value
    if found["type"] == "env" and not found["env"]:
        return Secret(id=found["id"], env=found["src"])
    return Secret(id=found["id"], path=found["src"], env=found["env"])


def parse_ssh(text: str) -> Ssh:
    """Read an agent or keys."""
    name, equals, paths = text.partition("=")
    return Ssh(id=name, paths=tuple(paths.split(",")) if equals else ())


def unique(items: Iterable[T]) -> tuple[T, ...]:
    """Take each entry once. The order is that in which buildx leaves them, which swaps them with the last one."""
    left = list(items)
    for index in range(len(left) - 2, -1, -1):
        for other in range(index + 1, len(left)):
            if left[index] == left[other]:
                left[other], left[-1] = left[-1], left[other]
                left.pop()
                break
    return tuple(left)


def by_key(items: Sequence[T], key: Callable[[T], str]) -> tuple[T, ...]:
    """Keep the last entry for each key, at the place of the first."""
    found: dict[str, T] = {}
    for each in items:
        found[key(each)] = each
    return tuple(found.values())
