"""The devices of this machine: found in CDI's directories, asked for by a step, allowed by the command line.

A step asks for `vendor/class=device`, for a class in place of the device, for `vendor/class` (the first of
the kind) or `vendor/class=*` (all of it). `--allow device` allows all of them, `--allow
device=NAME[,alias=OTHER]` one; others must say by an annotation that anyone may have them.

Source: BuildKit's solver/llbsolver/cdidevices, and SPEC.md of CDI on directories and precedence.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from polyarch.cdi.spec import Device, is_kind, read_spec
from polyarch.errors import InputError, IntegrityError, NotFound
from polyarch.golang.csv import csv_fields
from polyarch.golang.strconv import find_bool, quote
from polyarch.record import frozen

__all__ = ["Devices", "Grants", "Wish", "find_devices", "parse_grants", "spec_directories"]

_DIRECTORIES = ("/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi")
_CLASS = "org.mobyproject.buildkit.device.class"
_AUTO_ALLOW = "org.mobyproject.buildkit.device.autoallow"
_ENTITLEMENT = "device"
_LARGEST = 8 << 20


@frozen
class Wish:
    """A device that a step asks for, by any of the forms of its name."""

    name: str
    required: bool = False


@frozen
class Grants:
    """What `--allow` says of devices: all of them, some by name, and what other names stand for."""

    everything: bool = False
    names: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()


def parse_grants(entitlements: Iterable[str]) -> Grants:
    """Read those of `--allow` that are about devices. Raises InputError."""
    everything = False
    names: list[str] = []
    aliases: dict[str, str] = {}
    for entitlement in entitlements:
        key, _, value = entitlement.partition("=")
        if key != _ENTITLEMENT:
            continue
        if not value:
            everything = True
            continue
        name, *options = csv_fields(value)
        alias = next((each[6:] for each in options if each.startswith("alias=")), "")
        if alias:
            aliases[alias] = name
        else:
            names.append(name)
    return Grants(everything=everything, names=tuple(names), aliases=tuple(aliases.items()))


@frozen
class Devices:
    """The devices that there are, by name and in that order; `troubles` are of files that can't be used."""

    known: Mapping[str, Device]
    troubles: tuple[str, ...] = ()

    def is_free(self, name: str) -> bool:
        """Tell whether a device says itself that every build may have it."""
        return bool(find_bool(self.known[name].annotations.get(_AUTO_ALLOW, "")))

    def find(self, wishes: Iterable[Wish]) -> tuple[str, ...]:
        """Return the names of the devices that are asked for, each once.

        Raises InputError for what is no name, NotFound for a required device that isn't there.
        """
        return tuple(dict.fromkeys(name for wish in wishes for name in self._find(wish)))

    def _find(self, wish: Wish) -> list[str]:
        kind, _, name = wish.name.partition("=")
        if not is_kind(kind):
            if found := self._of_class(wish.name, self.known):
                return found
            raise InputError(
                f"invalid device {quote(wish.name)}",
                hint="write vendor/class=device, vendor/class, "
                "or the name that --allow device=...,alias=NAME gives to a device",
            )
        found = [wish.name] if wish.name in self.known else self._of_kind(kind, name)
        if not found and wish.required:
            raise NotFound(
                f"required device {quote(wish.name)} is not registered", hint=self._advice()
            )
        return found

    def _advice(self) -> str:
        there = ", ".join(self.known) or "none at all"
        return "; ".join((f"the devices of this machine are: {there}", *self.troubles))

    def _of_kind(self, kind: str, name: str) -> list[str]:
        """Return the devices of a kind: the first for no name, all for `*`, else those of a class."""
        found = [each for each in self.known if self.known[each].kind == kind]
        if name in {"", "*"}:
            return found if name else found[:1]
        return self._of_class(name, found)

    def _of_class(self, name: str, among: Iterable[str]) -> list[str]:
        return [each for each in among if self.known[each].annotations.get(_CLASS) == name]

    def grant(self, wishes: Sequence[Wish], grants: Grants) -> tuple[str, ...]:
        """Return the names of the devices that a step gets of those it asks for.

        Raises InputError for one that isn't allowed, and what `find` raises.
        """
        if grants.everything:
            return self.find(wishes)
        aliases = dict(grants.aliases)
        given = self.find(
            Wish(name=aliases[each.name], required=each.required)
            for each in wishes
            if each.name in aliases
        )
        asked = self.find(each for each in wishes if each.name not in aliases)
        named = self.find(Wish(name=name) for name in grants.names)
        allowed = {*named, *filter(self.is_free, asked)}
        forbidden = [name for name in asked if name not in allowed]
        if forbidden:
            what = "device {} is" if len(forbidden) == 1 else "devices {} are"
            raise InputError(
                f"{what.format(', '.join(forbidden))} requested by the build but not allowed",
                hint=f"add --allow device, or --allow device={forbidden[0]}, to the command",
            )
        return tuple(dict.fromkeys((*given, *asked)))

    def get(self, names: Iterable[str]) -> tuple[Device, ...]:
        """Return devices by their full names. Raises NotFound for one that isn't there any more."""
        missing = [name for name in names if name not in self.known]
        if missing:
            raise NotFound(f"the device {missing[0]} is not registered", hint=self._advice())
        return tuple(self.known[name] for name in names)


def spec_directories(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return where specifications are looked for; what is in a later directory wins."""
    given = environ.get("POLYARCH_CDI_DIRS")
    return tuple(filter(None, given.split(":"))) if given is not None else _DIRECTORIES


def find_devices(directories: Iterable[str]) -> Devices:
    """Read all specifications in `directories`. What can't be read is told in `troubles`, and left out."""
    known: dict[str, Device] = {}
    troubles: list[str] = []
    for directory in directories:
        here: dict[str, Device] = {}
        doubled: set[str] = set()
        for path in _files(Path(directory)):
            try:
                devices = read_spec(str(path), _content(path))
            except (IntegrityError, OSError) as error:
                troubles.append(f"{path} can't be used: {error}")
                continue
            doubled |= here.keys() & {each.name for each in devices}
            here |= {each.name: each for each in devices}
        # Of two devices of one name neither can be meant.
        troubles += [f"{name} is twice in {directory}" for name in sorted(doubled)]
        known = {name: each for name, each in {**known, **here}.items() if name not in doubled}
    return Devices(known=dict(sorted(known.items())), troubles=tuple(troubles))


def _files(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.suffix in {".json", ".yaml"})
    except OSError:
        return []


def _content(path: Path) -> bytes:
    with path.open("rb") as stream:
        data = stream.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise IntegrityError(f"it is larger than {_LARGEST >> 20} MiB")
    return data
