"""How the op of a step differs from that of its trace, part by part, in the order in which people look."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from polyarch.request.explanation import Cause, CauseKind
from polyarch.why.trace import Trace

__all__ = ["op_differences"]

_Object = Mapping[str, object]
"""An object of JSON, as forms of ops are kept."""

# The parts of an exec that are neither its words, its environment nor its mounts.
_OPTIONS: Mapping[str, str] = {
    "user": "user",
    "cwd": "working directory",
    "network": "network",
    "security": "security mode",
    "hostname": "host name",
    "scripts": "here-document",
    "extra_hosts": "extra hosts",
    "ulimits": "limits",
    "shm_size": "size of shared memory",
    "cgroup_parent": "parent of the control group",
}
_ACTIONS: Mapping[str, str] = {
    "created": "date of new directories (SOURCE_DATE_EPOCH)",
    "data": "here-document",
    "destination": "destination",
    "mode": "mode",
    "owner": "owner",
    "path": "path",
    "sources": "sources",
}


def op_differences(old: Trace, new: Trace) -> Iterator[Cause]:
    """Yield how `new` differs from `old`, inputs aside; nothing if their ops are equal."""
    if old.slot.platform != new.slot.platform:
        yield Cause(kind=CauseKind.PLATFORM, old=old.slot.platform, new=new.slot.platform)
    if old.op == new.op:
        return
    found = list(_differences(old, new))
    yield from found
    if not found and old.form.get("platform") == new.form.get("platform"):
        yield Cause(kind=CauseKind.CONTENT, what="its definition", old="in a part that isn't kept")


def _differences(old: Trace, new: Trace) -> Iterator[Cause]:
    instruction = Cause(kind=CauseKind.INSTRUCTION, old=old.text, new=new.text)
    if old.form.get("type") != new.form.get("type"):
        yield instruction
    elif new.form.get("type") == "exec":
        yield from _exec_differences(old, new, instruction)
    else:
        yield from _file_differences(old, new, instruction)


def _exec_differences(old: Trace, new: Trace, instruction: Cause) -> Iterator[Cause]:
    before, now = old.form, new.form
    is_other_text = old.text != new.text
    argv = _texts(before, "argv"), _texts(now, "argv")
    if argv[0] != argv[1]:
        if is_other_text:
            yield instruction
        else:
            yield Cause(
                kind=CauseKind.OPTION,
                what="command",
                old=" ".join(argv[0]),
                new=" ".join(argv[1]),
            )
    env = _texts(before, "env"), _texts(now, "env")
    yield from _env_differences(*env, {*old.arguments, *new.arguments})
    for key, name in _OPTIONS.items():
        if before.get(key) != now.get(key):
            yield Cause(
                kind=CauseKind.OPTION,
                what=name,
                old=_value(before.get(key)),
                new=_value(now.get(key)),
            )
    yield from _mount_differences(_objects(before, "mounts"), _objects(now, "mounts"))


def _env_differences(
    old: Sequence[str], new: Sequence[str], arguments: set[str]
) -> Iterator[Cause]:
    before, now = (dict(each.partition("=")[::2] for each in entries) for entries in (old, new))
    for name in dict.fromkeys([*now, *before]):
        if before.get(name) != now.get(name):
            kind = CauseKind.ARGUMENT if name in arguments else CauseKind.VARIABLE
            values = (_set(before.get(name)), _set(now.get(name)))
            yield Cause(kind=kind, what=name, old=values[0], new=values[1])


def _set(value: str | None) -> str:
    """Write a value such that an empty one isn't taken for none."""
    return "" if value is None else value or '""'


def _mount_differences(old: Sequence[_Object], new: Sequence[_Object]) -> Iterator[Cause]:
    before, now = ({_place(each): each for each in mounts} for mounts in (old, new))
    for place in dict.fromkeys([*now, *before]):
        if before.get(place) != now.get(place):
            yield Cause(
                kind=CauseKind.MOUNT,
                what=place,
                old=_mount(before.get(place)),
                new=_mount(now.get(place)),
            )


def _place(mount: _Object) -> str:
    return str(mount.get("target") or mount.get("env") or mount.get("id"))


def _mount(mount: _Object | None) -> str:
    if mount is None:
        return ""
    kind = str(mount["do"]).removesuffix("Mount").lower()
    shown = (
        f"{key}={_value(value)}"
        for key, value in mount.items()
        if key not in {"do", "target", "input"} and value not in ("", None)
    )
    return ",".join([f"type={kind}", *shown])


def _file_differences(old: Trace, new: Trace, instruction: Cause) -> Iterator[Cause]:
    if old.text != new.text:
        yield instruction
    before, now = _objects(old.form, "actions"), _objects(new.form, "actions")
    if len(before) != len(now):
        return
    for was, is_ in zip(before, now, strict=True):
        for key in was.keys() & is_.keys() & _ACTIONS.keys():
            if was[key] != is_[key] and (old.text == new.text or key in {"data", "created"}):
                write = _mode if key == "mode" else _value
                values = write(was[key]), write(is_[key])
                yield Cause(kind=CauseKind.OPTION, what=_ACTIONS[key], old=values[0], new=values[1])


def _texts(form: _Object, key: str) -> list[str]:
    found = form.get(key)
    return list(map(str, found)) if isinstance(found, list) else []


def _objects(form: _Object, key: str) -> list[_Object]:
    found = form.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _mode(value: object) -> str:
    return f"{value:04o}" if isinstance(value, int) else _value(value)


def _value(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or value in ([], 0) else json.dumps(value)
