"""Bake files as values: read from HCL, JSON or Compose, looked at, changed into others, and written.

    file = BakeFile.load("docker-bake.hcl", variables={"TAG": "v2"})
    file = file.change("app", platforms=["linux/amd64", "linux/arm64"])
    file.write("docker-bake.json")

What is read is what the files mean: variables have their values and functions were called, so that a file that is
written needs neither.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from polyarch.bakefile.access import Access
from polyarch.bakefile.allowed import read_allowed
from polyarch.bakefile.config import Config, Plan
from polyarch.bakefile.definition import Surroundings, parse_files
from polyarch.bakefile.files import File, read_local
from polyarch.bakefile.hclwriter import hcl_text
from polyarch.bakefile.target import Group, Target
from polyarch.errors import InputError, MachineError
from polyarch.golang.json import indented
from polyarch.paths import replacing
from polyarch.platforms import host
from polyarch.record import field, frozen, replace
from polyarch.text.nearest import suggestion

__all__ = ["BakeFile"]

_ESCAPED = frozenset({"annotations", "args", "dockerfile-inline", "extra-hosts", "labels"})
"""What `Target.plain` has escaped already."""
_ATTRIBUTES = tuple(
    name.replace("_", "-")
    for name in Target.__annotations__
    if name not in {"name", "linked", "bases"}
)
_TEMPLATE = re.compile(r"([$%])(?=\{)")


@frozen
class BakeFile:
    """The targets and groups of a definition by name, in its order."""

    targets: Mapping[str, Target] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)

    @staticmethod
    def load(
        *names: str | os.PathLike[str],
        variables: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        allow: Sequence[str] = (),
    ) -> BakeFile:
        """Read files, of which later ones win; without names those that are usual, in the current directory.

        `variables` are set as by `--var`. Of the environment a definition only sees `environ`; `allow` says, as
        `--allow` does, which files outside of the current directory it may name. Raises InputError.
        """
        files = read_local([os.fspath(each) for each in names])
        if not files:
            raise InputError("couldn't find a bake definition", hint="name a bake file")
        return _read(files, variables, environ, allow)

    @staticmethod
    def loads(
        text: str,
        name: str = "docker-bake.hcl",
        *,
        variables: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> BakeFile:
        """Read a text; `name` says what it is: HCL, `.json`, or `.yaml` for Compose. Raises InputError as `load`."""
        return _read([File(name=name, text=text)], variables, environ)

    def change(self, target: str, **attributes: object) -> BakeFile:
        """Return a file in which a target has these attributes, or is there with them if it wasn't.

        They are named as in a bake file, with `_` for `-`: `platforms=[...]`, `cache_from=[{"type": ...}]`. Texts are taken as
        they are. None takes an attribute away. Raises InputError for what a bake file can't say.
        """
        before = self.targets.get(target, Target(name=target))
        plain = _written(before)
        for key, value in attributes.items():
            name = key.replace("_", "-")
            if name not in _ATTRIBUTES:
                raise InputError(f"a target has no attribute {name}{suggestion(name, _ATTRIBUTES)}")
            plain[name] = _escaped(value)
        said = {key: value for key, value in plain.items() if value is not None}
        text = indented({"target": {target: said}}).decode("utf-8", "surrogateescape")
        (made,) = _read([File(name=f"{target}.json", text=text)], None, None).targets.values()
        return replace(self, targets={**self.targets, target: replace(made, bases=before.bases)})

    def group(self, name: str, targets: Sequence[str]) -> BakeFile:
        """Return a file in which a group has these targets or groups."""
        before = self.groups.get(name, Group(name=name))
        return replace(self, groups={**self.groups, name: replace(before, targets=tuple(targets))})

    def without(self, *names: str) -> BakeFile:
        """Return a file without these targets and groups, which groups don't have, either. Raises InputError."""
        for name in names:
            if name not in self.targets and name not in self.groups:
                near = suggestion(name, [*self.targets, *self.groups])
                raise InputError(f"there is no target or group {name}{near}")
        groups = {
            name: replace(each, targets=tuple(t for t in each.targets or () if t not in names))
            for name, each in self.groups.items()
            if name not in names
        }
        targets = {name: each for name, each in self.targets.items() if name not in names}
        return replace(self, targets=targets, groups=groups)

    def plan(
        self,
        *names: str,
        overrides: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> Plan:
        """Return what is built for targets and groups, "default" without names, as `--set` changes it.

        Inheritance is resolved in it, and targets that others are built on are there. Raises InputError.
        """
        config = Config(targets=tuple(self.targets.values()), groups=tuple(self.groups.values()))
        return config.plan(names or ("default",), overrides, environ or {})

    def plain(self) -> dict[str, object]:
        """Return the file as JSON has it."""
        groups = {name: each.plain() for name, each in self.groups.items()}
        targets = {name: _written(each) for name, each in self.targets.items()}
        return {**({"group": groups} if groups else {}), "target": targets}

    def to_json(self) -> str:
        """Return the file as JSON."""
        return indented(self.plain()).decode("utf-8", "surrogateescape") + "\n"

    def to_hcl(self) -> str:
        """Return the file as HCL."""
        return hcl_text(self.plain())

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file, as HCL or as JSON, which its name says, in the place of what is there. Raises MachineError."""
        name = os.fspath(path)
        if not name.endswith((".hcl", ".json")):
            raise InputError(
                f"a bake file can't be called {name}", hint="its name ends in .hcl or in .json"
            )
        text = self.to_json() if name.endswith(".json") else self.to_hcl()
        try:
            with replacing(Path(name)) as aside:
                aside.write_bytes(text.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise MachineError(f"can't write {name}: {error.strerror}") from error


def _read(
    files: Sequence[File],
    variables: Mapping[str, str] | None,
    environ: Mapping[str, str] | None,
    allow: Sequence[str] = (),
) -> BakeFile:
    around = Surroundings(
        environ=environ or {},
        variables=variables or {},
        builtins={"BAKE_CMD_CONTEXT": "cwd://", "BAKE_LOCAL_PLATFORM": str(host())},
        directory=os.getcwd(),
        access=Access(allowed=read_allowed(allow), environ=environ or {}),
    )
    config = parse_files(files, around)
    return BakeFile(
        targets={each.name: each for each in config.targets},
        groups={each.name: each for each in config.groups},
    )


def _written(target: Target) -> dict[str, object]:
    """Return a target as it is written, with all that would be an expression escaped."""
    plain = target.plain()
    return {name: each if name in _ESCAPED else _escaped(each) for name, each in plain.items()}


def _escaped(value: object) -> object:
    """Return a value with its texts as they are written where `${` begins an expression."""
    if isinstance(value, str):
        return _TEMPLATE.sub(r"\1\1", value)
    if isinstance(value, Mapping):
        return {str(key): _escaped(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(each) for each in value]
    return value
