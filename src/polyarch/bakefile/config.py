"""All that files define, and what of it is asked for: patterns, groups, inheritance, targets that others build on.

Source: behaviour of buildx's package `bake`.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from polyarch.bakefile.addresses import is_local_path, is_remote, joined, unpacked
from polyarch.bakefile.entries import Export
from polyarch.bakefile.names import matches, sanitized
from polyarch.bakefile.overrides import Override, apply, read_overrides
from polyarch.bakefile.target import Bases, Group, Target
from polyarch.bakefile.variables import Shown
from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.graph.location import Location
from polyarch.record import frozen, replace
from polyarch.text.nearest import suggestion

if TYPE_CHECKING:
    from polyarch.bakefile.access import Tree

__all__ = ["Config", "Plan", "located", "rebased_path", "with_located_contexts"]

_MOST_SHOWN = 20


@frozen
class Plan:
    """What is to be built: targets and groups by name. `requested` are the targets that were asked for."""

    targets: Mapping[str, Target]
    groups: Mapping[str, Group]

    def plain(self) -> dict[str, object]:
        """Return what `--print` shows."""
        groups = {name: self.groups[name].plain() for name in sorted(self.groups)}
        targets = {name: self.targets[name].plain() for name in sorted(self.targets)}
        whole: dict[str, object] = {"group": groups} if groups else {}
        return {**whole, "target": targets}


@frozen
class Config:
    """Targets and groups in the order of their definition. `warnings` are of what probably isn't as it was meant."""

    targets: tuple[Target, ...]
    groups: tuple[Group, ...]
    variables: tuple[Shown, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of targets and groups."""
        return (*(each.name for each in self.targets), *(each.name for each in self.groups))

    def plan(
        self, names: Sequence[str], overrides: Sequence[str], environ: Mapping[str, str]
    ) -> Plan:
        """Return what `names` ask for, with the changes of `--set`. Raises InputError."""
        wanted = [match for name in names for match in self._matching(sanitized(name))]
        wanted = list(dict.fromkeys(wanted))
        changes = read_overrides(overrides, self._expand, environ)
        planner = _Planner(self, changes)
        targets: dict[str, Target] = {}
        groups: dict[str, Group] = {}
        for name in wanted:
            members, inner = self.resolve_group(name)
            for each in members:
                targets[each] = planner.resolve(each, self._named_at(each, inner))
            for each in inner:
                groups.setdefault(each, self._group(each) or Group(name=each))
        groups = _with_default(groups, wanted)
        for name in list(targets):
            planner.link(name, targets, ())
        return Plan(targets=targets, groups=groups)

    def _group(self, name: str) -> Group | None:
        return next((each for each in self.groups if each.name == name), None)

    def _named_at(self, name: str, groups: Sequence[str]) -> Location | None:
        """Return where one of the groups names a target, None if none does."""
        for group in map(self._group, groups):
            if group is not None and group.at is not None and name in (group.targets or ()):
                return group.at.location
        return None

    def find(self, name: str, place: Location | None = None) -> Target:
        """Return a target that is named at `place`, None for the command line. Raises InputError."""
        for each in self.targets:
            if each.name == name:
                return each
        near = suggestion(name, self.names)
        shown = [each for each in self.names if not each.startswith("_")][:_MOST_SHOWN]
        hint = "" if near or not shown else f"there are {', '.join(shown)}"
        raise InputError(f"failed to find target {name}{near}", hint=hint, place=place)

    def _matching(self, pattern: str) -> list[str]:
        if not any(char in pattern for char in "*?[]"):
            return [pattern]
        names = [*(each.name for each in self.groups), *(each.name for each in self.targets)]
        found = [name for name in names if _fits(pattern, name)]
        if not found:
            raise InputError(f"could not find any target matching {quote(pattern)}")
        return found

    def _expand(self, pattern: str) -> list[str]:
        if any(each.name == pattern for each in self.targets):
            return [pattern]
        try:
            found = [each.name for each in self.targets if matches(pattern, each.name)]
        except ValueError:
            message = f"could not match targets with '{pattern}': syntax error in pattern"
            raise InputError(message) from None
        if not found:
            near = suggestion(pattern, [each.name for each in self.targets])
            raise InputError(f"could not find any target matching '{pattern}'{near}")
        return found

    def resolve_group(self, name: str) -> tuple[list[str], list[str]]:
        """Return the targets of a group or of a target, and the groups on the way, each once."""
        targets, groups = self._resolve(name, {})
        return list(dict.fromkeys(targets)), list(dict.fromkeys(groups))

    def _resolve(
        self, name: str, seen: dict[str, tuple[list[str], list[str]]]
    ) -> tuple[list[str], list[str]]:
        if name in seen:
            return seen[name]
        group = self._group(name)
        if group is None:
            return [name], []
        seen[name] = ([], [])
        targets: list[str] = []
        groups = [name]
        for each in group.targets or ():
            members, inner = self._resolve(each, seen)
            targets += members or [each]
            groups += inner
        seen[name] = (targets, groups)
        return targets, groups

    def based_on_files(self) -> Config:
        """Return the definition with paths relative to the files that they stand in."""
        by_name = {each.name: each for each in self.targets}
        return replace(self, targets=tuple(_rebased(each, by_name) for each in self.targets))


def _fits(pattern: str, name: str) -> bool:
    try:
        return matches(pattern, name)
    except ValueError:
        return False


def _with_default(groups: Mapping[str, Group], wanted: Sequence[str]) -> dict[str, Group]:
    """Return the groups with the one that holds what was asked for."""
    found = dict(groups)
    for name in wanted:
        if name == "default" and "default" in found:
            continue
        default = found.get("default", Group(name="default"))
        found["default"] = replace(default, targets=(*(default.targets or ()), name))
    if "default" in found:
        default = found["default"]
        found["default"] = replace(
            default,
            targets=None if default.targets is None else tuple(sorted(set(default.targets))),
        )
    return found


class _Planner:
    """Resolves targets of one plan."""

    def __init__(self, config: Config, changes: Mapping[str, Mapping[str, Override]]) -> None:
        self._config = config
        self._changes = changes

    def resolve(self, name: str, place: Location | None = None) -> Target:
        """Return a target that is named at `place`, with what it inherits and its changes. Raises InputError."""
        target = self._inherited(name, {}, place)
        assert target is not None
        context = target.context
        if context is None:
            base = target.bases.default if target.bases.default is not None else None
            context = rebased_path(base, ".") if base and self._is_based(name) else "."
        return replace(
            target,
            name=name,
            inherits=None,
            context=context,
            dockerfile=target.dockerfile or "Dockerfile",
        )

    def _is_based(self, name: str) -> bool:
        return self._config.find(name).bases.reference == _BASED

    def _inherited(
        self, name: str, seen: dict[str, Target | None], place: Location | None
    ) -> Target | None:
        if name in seen:
            return seen[name]
        seen[name] = None
        own = self._config.find(name, place)
        target = Target()
        for each in own.inherits or ():
            parent = self._inherited(each, seen, own.place("inherits"))
            if parent is not None:
                target = target.merged(parent)
        target = Target().merged(target).merged(own)
        target = apply(target, self._changes.get(name, {})).normalized()
        seen[name] = target
        return target

    def link(self, name: str, targets: dict[str, Target], visited: tuple[str, ...]) -> None:
        """Add the targets that contexts name. Raises InputError for circles."""
        visited = (*visited, name)
        place = targets[name].place("contexts")
        for value in (targets[name].contexts or {}).values():
            if not value.startswith("target:"):
                continue
            other = value.removeprefix("target:")
            if other == name:
                raise InputError(f"target {other} cannot link to itself", place=place)
            if other in visited:
                raise InputError(f"infinite loop from {name} to {other}", place=place)
            if other not in targets:
                linked = self.resolve(other, place)
                outputs = (Export(type="cacheonly", attributes={}),)
                targets[other] = replace(linked, output=outputs, linked=True)
            self.link(other, targets, visited)
            self._take_over(name, other, targets)

    @staticmethod
    def _take_over(name: str, other: str, targets: dict[str, Target]) -> None:
        target, linked = targets[name], targets[other]
        if linked.entitlements:
            joined = dict.fromkeys((*(target.entitlements or ()), *linked.entitlements))
            targets[name] = target = replace(target, entitlements=tuple(joined))
        mine, theirs = target.platforms or (), linked.platforms or ()
        if len(mine) > 1 and len(theirs) > 1 and not set(mine) <= set(theirs):
            shown = [f"[{' '.join(each)}]" for each in (mine, theirs)]
            raise InputError(
                f"target {other} can't be used by {name} because its platforms {shown[0]} are not a subset of {shown[1]}",
                place=target.place("contexts"),
            )


# --- paths relative to files ---

_BASED = "\0based"
"""Marks a target whose default context is the directory of its file."""


def rebased_path(base: str | None, path: str) -> str:
    """Return a path that is relative to `base` as one relative to the current directory.

    `base` may be the address of a directory, too, out of which no path leads.
    """
    if not base or not path or not is_local_path(path):
        return path
    return path if path.startswith("/") and not is_remote(base) else joined(base, path)


def _rebased_context(base: str | None, path: str) -> str:
    found = rebased_path(base, path)
    return found if found == path else unpacked(found)


def _rebased(target: Target, by_name: Mapping[str, Target]) -> Target:
    bases = target.bases
    base = bases.context
    other = by_name.get(bases.reference) if bases.reference else None
    if other is not None:
        base = other.bases.context if other.bases.context is not None else other.bases.default
    contexts = target.contexts
    if contexts:
        contexts = {
            name: _rebased_context(bases.contexts.get(name), at) for name, at in contexts.items()
        }
    context = target.context
    if context is not None:
        context = rebased_path(base, context)
    # What is rebased isn't so again, by a file that includes this one.
    is_based = bases.default is not None and context is None
    done = Bases(default=bases.default, reference=_BASED if is_based else "")
    return replace(target, context=context, contexts=contexts, bases=done)


def located(target: Target, tree: Tree) -> Target:
    """Return a target of a definition from elsewhere whose context is elsewhere, too.

    As buildx has it: what is a path is one of what the definition came with; `cwd://` is of this machine.
    Raises InputError for a Dockerfile of which it isn't clear where it is.
    """
    context = target.context or "."
    if is_local_path(context):
        context = tree.inside(context)
    elif context.startswith("cwd://") and not (target.dockerfile or "").startswith("cwd://"):
        _check_dockerfile(context, target.dockerfile or "Dockerfile")
    return replace(target, context=context)


def with_located_contexts(target: Target, tree: Tree) -> Target:
    """Return a target whose named contexts are elsewhere, too; what is printed has them as they are written."""
    contexts = target.contexts and {
        name: unpacked(tree.inside(at)) if is_local_path(at) else at
        for name, at in target.contexts.items()
    }
    return replace(target, contexts=contexts)


def _check_dockerfile(context: str, dockerfile: str) -> None:
    """Raise InputError where a Dockerfile of this machine would be taken for one of the definition's."""
    path = posixpath.join(posixpath.normpath(context.removeprefix("cwd://")), dockerfile)
    if not is_remote(dockerfile) and os.path.exists(path):
        raise InputError(
            "reading a dockerfile for a remote build invocation is currently not supported",
            hint=f'dockerfile = "cwd://{posixpath.normpath(path)}" is the one of this machine',
        )
