"""Single steps as provenance has them: processes and changes of files in the JSON of BuildKit's LLB.

Source: BuildKit's `solver/pb/ops.proto` and `json.go`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence

from polyarch.attest.parameters import masked
from polyarch.graph.actions import Manner
from polyarch.graph.op import (
    BindMount,
    CacheMount,
    CopyAction,
    ExecMount,
    ExecOp,
    FileAction,
    FileOp,
    JSONObject,
    MkdirAction,
    MkfileAction,
    RmAction,
    ScratchOp,
    SecretMount,
    Sharing,
    SshMount,
    SymlinkAction,
    TmpfsMount,
)
from polyarch.graph.vertex import Vertex
from polyarch.platforms import Platform
from polyarch.record import frozen
from polyarch.request.limits import Ulimit
from polyarch.text.secretname import looks_secret, without_login

__all__ = ["Hiding", "Inputs", "actions_form", "exec_form", "full", "platform_form"]

_NONE = -1
_WILDCARDS = frozenset("*?[")
_USUAL = Manner(follows_links=True, takes_contents=True, has_patterns=True)
_HOSTNAME = "buildkitsandbox"
"""What a step's machine is called that nobody gave a name."""
_NANOSECONDS = 1_000_000_000
_SHARING = {Sharing.SHARED: 0, Sharing.PRIVATE: 1, Sharing.LOCKED: 2}
_NETWORKS = {"default": 0, "host": 1, "none": 2}
_PROXIES = {
    "HTTP_PROXY": "http_proxy",
    "HTTPS_PROXY": "https_proxy",
    "FTP_PROXY": "ftp_proxy",
    "NO_PROXY": "no_proxy",
    "ALL_PROXY": "all_proxy",
}


def full(fields: Mapping[str, object]) -> JSONObject:
    """Return the fields that Go's `omitempty` leaves."""
    return {
        name: value for name, value in fields.items() if value not in ("", 0, None, False, [], {})
    }


class Inputs:
    """The inputs of a step as LLB has them: each once, and none for nothing."""

    def __init__(self, inputs: Sequence[Vertex]) -> None:
        self.kept: list[Vertex] = []
        self._indexes: list[int] = []
        for vertex in inputs:
            if isinstance(vertex.op, ScratchOp):
                self._indexes.append(_NONE)
                continue
            if vertex not in self.kept:
                self.kept.append(vertex)
            self._indexes.append(self.kept.index(vertex))

    def index(self, number: int) -> int:
        """Return the index there of input `number` here."""
        return self._indexes[number]


@frozen
class Hiding:
    """Build arguments that provenance doesn't tell: their names, and the values that must stand nowhere."""

    names: frozenset[str] = frozenset()
    values: tuple[str, ...] = ()

    def text(self, text: str) -> str:
        """Return a text without the values, and without logins in addresses."""
        return masked(without_login(text), self.values)

    def variable(self, entry: str) -> str:
        """Return a `NAME=value` without the value of one that is hidden."""
        name, equals, value = entry.partition("=")
        if name in self.names and looks_secret(name, value):
            return f"{name}{equals}xxxxx"
        return self.text(entry)

    def everywhere(self, value: object) -> object:
        """Return plain values of JSON with `text` done to all texts."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.everywhere(each) for each in value]
        if isinstance(value, dict):
            return {key: self.everywhere(each) for key, each in value.items()}
        return value


def exec_form(op: ExecOp, inputs: Inputs, hiding: Hiding) -> JSONObject:
    """Return a process as LLB has it."""
    meta = {
        "args": [hiding.text(each) for each in op.argv],
        "env": [hiding.variable(each) for each in (*op.env, *_agent(op))],
        "cwd": op.cwd,
        "user": op.user,
        "proxy_env": _proxies(op.proxy_env),
        "extraHosts": [{"Host": name, "IP": ip} for name, ip in op.extra_hosts],
        "hostname": "" if op.hostname == _HOSTNAME else op.hostname,
        "ulimit": [_ulimit(each) for each in op.ulimits],
        "cgroupParent": op.cgroup_parent,
        "removeMountStubsRecursive": True,
        "validExitCodes": list(op.exit_codes),
    }
    mounts = [full({"input": inputs.index(0), "dest": "/"})]
    variables = []
    for mount in sorted((*op.mounts, *_memory(op)), key=_mount_order):
        if isinstance(mount, SecretMount) and mount.env:
            fields = {"ID": mount.id, "name": mount.env, "optional": not mount.required}
            variables.append(full(fields))
        if not isinstance(mount, SecretMount) or mount.target:
            mounts.append(_mount(mount, inputs))
    return full(
        {
            "meta": full(meta),
            "mounts": mounts,
            "network": _NETWORKS[op.network],
            "security": int(op.security == "insecure"),
            "secretenv": variables,
            "cdiDevices": [{"name": each} for each in op.devices],
        }
    )


def actions_form(op: FileOp, inputs: Inputs, hiding: Hiding) -> list[JSONObject]:
    """Return changes to a tree as LLB has them."""
    # Each source of a copy is an action in LLB; the output of each is the input of the next.
    root = inputs.index(0)
    parts: list[tuple[int, JSONObject]] = []
    for action in op.actions:
        parts += _parts(action, inputs, root)
    first = len(inputs.kept)
    return [
        {
            "input": root if number == 0 else first + number - 1,
            "secondaryInput": secondary,
            "output": 0 if number == len(parts) - 1 else _NONE,
            "Action": hiding.everywhere(form),
        }
        for number, (secondary, form) in enumerate(parts)
    ]


def _parts(action: FileAction, inputs: Inputs, root: int) -> list[tuple[int, JSONObject]]:
    if isinstance(action, RmAction):
        removed = {"path": action.path, "allowNotFound": action.may_be_missing}
        return [(_NONE, {"rm": full({**removed, "allowWildcard": action.has_patterns})})]
    owner = _owner(action.owner, root)
    common: JSONObject = {"owner": owner, "timestamp": _time(action.created)}
    if isinstance(action, MkdirAction):
        made = {"path": action.path, "mode": action.mode, "makeParents": action.makes_parents}
        return [(_NONE, {"mkdir": full({**made, **common})})]
    if isinstance(action, MkfileAction):
        path = action.path + action.name if action.path.endswith("/") else action.path
        data = base64.b64encode(action.data.encode("utf-8", "surrogateescape")).decode()
        mode = _octal(action.mode, 0o644)
        return [(_NONE, {"mkfile": full({"path": path, "mode": mode, "data": data, **common})})]
    if isinstance(action, SymlinkAction):
        link = {"oldpath": action.target, "newpath": action.path, **common}
        return [(_NONE, {"symlink": full(link)})]
    secondary = inputs.index(action.input)
    # A copy has no time there; only the build's own directories get that of the build.
    common["timestamp"] = _NONE
    return [(secondary, {"copy": full({**form, **common})}) for form in _copies(action)]


def platform_form(platform: Platform) -> JSONObject:
    """Return a platform as LLB has it."""
    return full(
        {
            "Architecture": platform.architecture,
            "OS": platform.os,
            "Variant": platform.variant,
            "OSVersion": platform.os_version,
            "OSFeatures": list(platform.os_features),
        }
    )


def _proxies(entries: Sequence[str]) -> JSONObject:
    found = dict(each.partition("=")[::2] for each in entries)
    return {
        field: without_login(found[name]) for name, field in _PROXIES.items() if found.get(name)
    }


def _ulimit(limit: Ulimit) -> JSONObject:
    return full({"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard})


def _agent(op: ExecOp) -> list[str]:
    """Return the variable by which a step finds its ssh agent."""
    sockets = [mount.target for mount in op.mounts if isinstance(mount, SshMount)]
    return [f"SSH_AUTH_SOCK={sockets[0]}"] if sockets else []


def _memory(op: ExecOp) -> list[ExecMount]:
    """Return the mount of shared memory, if a step has another size of that than usual."""
    return [TmpfsMount(target="/dev/shm", size=op.shm_size)] if op.shm_size else []  # noqa: S108 the step's


def _mount_order(mount: ExecMount) -> tuple[int, str]:
    """Return what mounts are sorted by in LLB: by their targets, then secrets and agents as they are given."""
    if isinstance(mount, SecretMount | SshMount):
        return 1 + isinstance(mount, SshMount), ""
    return 0, mount.target


def _bind(mount: BindMount, inputs: Inputs) -> JSONObject:
    return {
        "input": inputs.index(mount.input),
        "selector": mount.source if mount.source != "/" else "",
        "dest": mount.target,
        "output": mount.output or _NONE,
        "readonly": mount.read_only,
    }


def _cache(mount: CacheMount, inputs: Inputs) -> JSONObject:
    return {
        "input": _NONE if mount.input is None else inputs.index(mount.input),
        "selector": mount.source if mount.source != "/" else "",
        "dest": mount.target,
        "output": _NONE,
        "readonly": mount.read_only,
        "mountType": 3,
        "cacheOpt": full({"ID": mount.id, "sharing": _SHARING[mount.sharing]}),
    }


def _tmpfs(mount: TmpfsMount, _inputs: Inputs) -> JSONObject:
    return {
        "input": _NONE,
        "dest": mount.target,
        "output": _NONE,
        "readonly": mount.read_only,
        "mountType": 4,
        "TmpfsOpt": full({"size": mount.size}),
    }


def _secret(mount: SecretMount, _inputs: Inputs) -> JSONObject:
    return {
        "input": _NONE,
        "dest": mount.target,
        "mountType": 1,
        "secretOpt": _access(mount),
    }


def _ssh(mount: SshMount, _inputs: Inputs) -> JSONObject:
    return {"input": _NONE, "dest": mount.target, "mountType": 2, "SSHOpt": _access(mount)}


def _access(mount: SecretMount | SshMount) -> JSONObject:
    identifier = "" if isinstance(mount, SshMount) and mount.id == "default" else mount.id
    return full(
        {
            "ID": identifier,
            "uid": mount.uid,
            "gid": mount.gid,
            "mode": mount.mode,
            "optional": not mount.required,
        }
    )


def _copies(action: CopyAction) -> list[JSONObject]:
    """Return a copy for each source."""
    mode = _octal(action.mode, _NONE)
    is_symbolic = bool(action.mode) and mode == _NONE
    manner = action.manner or (Manner() if action.is_literal else _USUAL)
    common: JSONObject = {
        "dest": action.destination,
        "mode": 0 if is_symbolic else mode,
        "modeStr": action.mode if is_symbolic else "",
        "attemptUnpackDockerCompatibility": action.unpack,
        "createDestPath": action.makes_parents,
        "include_patterns": list(action.include),
        "exclude_patterns": list(action.exclude),
        "required_paths": list(action.required),
        "alwaysReplaceExistingDestPaths": action.replaces,
        "followSymlink": manner.follows_links,
        "dirCopyContents": manner.takes_contents,
        "allowWildcard": manner.has_patterns,
        "allowEmptyWildcard": manner.has_patterns and action.may_be_empty,
    }
    if action.parents:
        patterns = [source.lstrip("/") for source in action.sources]
        required = [f"/{each}" for each in patterns if not _WILDCARDS & set(each)]
        return [{"src": "/", **common, "include_patterns": patterns, "required_paths": required}]
    return [{"src": f"/{source.strip('/')}", **common} for source in action.sources]


def _octal(text: str, default: int) -> int:
    try:
        return int(text, 8) if text else default
    except ValueError:
        return _NONE


def _time(created: int | None) -> int:
    return _NONE if created is None else created * _NANOSECONDS


def _owner(owner: str, root: int) -> JSONObject:
    if not owner:
        return {}
    user, _, group = owner.partition(":")
    named = {"user": _who(user, root), "group": _who(group, root) if group else {}}
    return {key: value for key, value in named.items() if value}


def _who(name: str, root: int) -> JSONObject:
    if name.isdecimal():
        return {"User": full({"byId": int(name)})}
    return {"User": {"byName": full({"name": name, "input": root})}}


_MOUNTS: Mapping[type, Callable[..., JSONObject]] = {
    BindMount: _bind,
    CacheMount: _cache,
    TmpfsMount: _tmpfs,
    SecretMount: _secret,
    SshMount: _ssh,
}


def _mount(mount: ExecMount, inputs: Inputs) -> JSONObject:
    maker = _MOUNTS[type(mount)]
    return full(maker(mount, inputs))
