"""A graph -> the steps of a build as provenance has them: ops in the JSON of BuildKit's LLB, by numbers.

What isn't the same as BuildKit's: the digests of `digestMapping`, which are of other bytes, and here-documents,
which are one step here and two there. Source: BuildKit's `solver/pb/json.go`, `provenance/buildconfig.go`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence

from polyarch.attest.parameters import masked
from polyarch.attest.sources import Remote
from polyarch.digest import Digest, sha256
from polyarch.golang.json import compact
from polyarch.graph.graph import walk
from polyarch.graph.op import (
    BindMount,
    CacheMount,
    CopyAction,
    ExecMount,
    ExecOp,
    FileAction,
    FileOp,
    HttpOp,
    ImageOp,
    JSONObject,
    LocalOp,
    MergeOp,
    MkdirAction,
    MkfileAction,
    ScratchOp,
    SecretMount,
    Sharing,
    SshMount,
    TmpfsMount,
)
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.oci.descriptor import Descriptor
from polyarch.platforms import Platform
from polyarch.record import frozen
from polyarch.request.limits import Ulimit
from polyarch.text.secretname import looks_secret, without_login

__all__ = ["Definition", "Hiding"]

_NONE = -1
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
_CONTEXT_HINTS = "local.sharedkeyhint"


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


def _full(fields: Mapping[str, object]) -> JSONObject:
    """Return the fields that Go's `omitempty` leaves."""
    return {
        name: value for name, value in fields.items() if value not in ("", 0, None, False, [], {})
    }


@frozen
class Definition:
    """The steps for one platform, in an order in which they can be done, and how they are numbered.

    `remote` says of build contexts by name what they were fetched from.
    """

    vertices: tuple[Vertex, ...]
    target: Vertex
    hiding: Hiding
    remote: Mapping[str, Remote]

    @staticmethod
    def of(target: Vertex, hiding: Hiding, remote: Mapping[str, Remote]) -> Definition:
        """Number the steps that a target needs; nothing, as scratch is, is none."""
        vertices = tuple(each for each in walk((target,)) if not isinstance(each.op, ScratchOp))
        return Definition(vertices=vertices, target=target, hiding=hiding, remote=remote)

    @property
    def numbers(self) -> dict[Digest, int]:
        """The number of each step by its digest."""
        return {vertex.digest: number for number, vertex in enumerate(self.vertices)}

    def build_config(self) -> JSONObject:
        """Return `buildConfig`: all steps, the last of which stands for the result."""
        numbers = self.numbers
        steps = [self._step(vertex, numbers) for vertex in self.vertices]
        last: JSONObject = {"id": f"step{len(steps)}", "op": {"Op": {}}}
        if self.target.digest in numbers:
            last["inputs"] = [f"step{numbers[self.target.digest]}:0"]
        mapping = {digest: f"step{number}" for digest, number in numbers.items()}
        end = sha256(compact({"result": self.target.digest}))
        return {
            "llbDefinition": [*steps, last],
            "digestMapping": dict(sorted({**mapping, end: f"step{len(steps)}"}.items())),
        }

    def _step(self, vertex: Vertex, numbers: Mapping[Digest, int]) -> JSONObject:
        inputs = _Inputs(vertex.inputs)
        op: JSONObject = {"Op": self._op(vertex, inputs)}
        if isinstance(vertex.op, ImageOp | ExecOp):
            op["platform"] = _platform(vertex.op.platform)
        op["constraints"] = {}
        step: JSONObject = {"id": f"step{numbers[vertex.digest]}", "op": op}
        if inputs.kept:
            step["inputs"] = [f"step{numbers[each.digest]}:0" for each in inputs.kept]
        return step

    def _op(self, vertex: Vertex, inputs: _Inputs) -> JSONObject:
        match vertex.op:
            case ExecOp() as op:
                return {"exec": self._exec(op, inputs)}
            case FileOp() as op:
                return {"file": {"actions": self._actions(op, inputs)}}
            case MergeOp():
                each = [_full({"input": inputs.index(i)}) for i in range(len(vertex.inputs))]
                return {"merge": {"inputs": each}}
            case LocalOp() as op if op.name not in self.remote:
                return {"source": _local(op, self._followed(vertex))}
            case ScratchOp():
                return {}
            case found:
                source = self.remote[found.name] if isinstance(found, LocalOp) else found
                return {"source": self._source(source)}

    def _followed(self, context: Vertex) -> list[str]:
        """Return what steps take from a build context, nothing if one takes all of it."""
        paths: set[str] = set()
        for vertex in self.vertices:
            for number, source in enumerate(vertex.inputs):
                if source.digest == context.digest:
                    paths.update(_taken(vertex, number))
        return [] if "" in paths else sorted(paths)

    def _source(self, op: ImageOp | Remote) -> JSONObject:
        if isinstance(op, ImageOp):
            digest = op.root or op.digest
            scheme = "" if op.reference.startswith(LAYOUT_SCHEME) else "docker-image://"
            pin = "" if op.reference.endswith(digest) else f"@{digest}"
            return {"identifier": f"{scheme}{op.reference}{pin}"}
        if isinstance(op, HttpOp):
            attributes = _full({"http.checksum": op.checksum, "http.filename": op.filename})
            return {"identifier": self.hiding.text(op.url), "attrs": attributes}
        place = op.remote.partition("://")[2] or op.remote
        place = place.rpartition("@")[2].replace(":", "/", 1) if "://" not in op.remote else place
        fragment = f"#{op.ref}{f':{op.subdir}' if op.subdir else ''}"
        is_web = op.remote.startswith(("http://", "https://"))
        attributes = {
            "git.authheadersecret": "GIT_AUTH_HEADER" if is_web else "",
            "git.authtokensecret": "GIT_AUTH_TOKEN" if is_web else "",
            "git.checksum": op.checksum,
            "git.fullurl": self.hiding.text(op.remote),
            "git.keepgitdir": "true" if op.keep_git_dir else "",
            "git.skipsubmodules": "" if op.submodules else "true",
        }
        identifier = f"git://{place.rpartition('@')[2]}{fragment if fragment != '#' else ''}"
        return {"identifier": identifier, "attrs": _full(attributes)}

    # --- steps ---

    def _exec(self, op: ExecOp, inputs: _Inputs) -> JSONObject:
        meta = {
            "args": [self.hiding.text(each) for each in op.argv],
            "env": [self.hiding.variable(each) for each in op.env],
            "cwd": op.cwd,
            "user": op.user,
            "proxy_env": _proxies(op.proxy_env),
            "extraHosts": [{"Host": name, "IP": ip} for name, ip in op.extra_hosts],
            "hostname": "" if op.hostname == _HOSTNAME else op.hostname,
            "ulimit": [_ulimit(each) for each in op.ulimits],
            "cgroupParent": op.cgroup_parent,
            "removeMountStubsRecursive": True,
        }
        mounts = [_full({"input": inputs.index(0), "dest": "/"})]
        variables = []
        for mount in sorted(op.mounts, key=_mount_order):
            if isinstance(mount, SecretMount) and mount.env:
                fields = {"ID": mount.id, "name": mount.env, "optional": not mount.required}
                variables.append(_full(fields))
            if not isinstance(mount, SecretMount) or mount.target:
                mounts.append(_mount(mount, inputs))
        return _full(
            {
                "meta": _full(meta),
                "mounts": mounts,
                "network": _NETWORKS[op.network],
                "security": int(op.security == "insecure"),
                "secretenv": variables,
                "cdiDevices": [{"name": each} for each in op.devices],
            }
        )

    def _actions(self, op: FileOp, inputs: _Inputs) -> list[JSONObject]:
        # Each source of a copy is an action in LLB; the output of each is the input of the next.
        root = inputs.index(0)
        parts: list[tuple[int, JSONObject]] = []
        for action in op.actions:
            parts += self._parts(action, inputs, root)
        first = len(inputs.kept)
        return [
            {
                "input": root if number == 0 else first + number - 1,
                "secondaryInput": secondary,
                "output": 0 if number == len(parts) - 1 else _NONE,
                "Action": self.hiding.everywhere(form),
            }
            for number, (secondary, form) in enumerate(parts)
        ]

    @staticmethod
    def _parts(action: FileAction, inputs: _Inputs, root: int) -> list[tuple[int, JSONObject]]:
        owner = _owner(action.owner, root)
        common = {"owner": owner, "timestamp": _time(action.created)}
        if isinstance(action, MkdirAction):
            made = {"path": action.path, "mode": action.mode, "makeParents": True, **common}
            return [(_NONE, {"mkdir": _full(made)})]
        if isinstance(action, MkfileAction):
            path = action.path + action.name if action.path.endswith("/") else action.path
            data = base64.b64encode(action.data.encode("utf-8", "surrogateescape")).decode()
            mode = _octal(action.mode, 0o644)
            return [
                (_NONE, {"mkfile": _full({"path": path, "mode": mode, "data": data, **common})})
            ]
        secondary = inputs.index(action.input)
        return [(secondary, {"copy": _full({**form, **common})}) for form in _copies(action)]

    # --- what lies beside the steps ---

    def locations(self) -> JSONObject:
        """Return where each step stands in the Dockerfile."""
        return {f"step{number}": _place(vertex) for number, vertex in enumerate(self.vertices)}

    def layers(self, layers: Sequence[Descriptor]) -> JSONObject:
        """Return the layers of the result after each step on the way to it; nothing where that can't be told."""
        counts: dict[Digest, int] = {}
        for vertex in walk((self.target,)):
            counts[vertex.digest] = _count(vertex, counts)
        if counts[self.target.digest] != len(layers):
            return {}
        told: JSONObject = {}
        numbers = self.numbers
        way = [self.target]
        while way[-1].inputs:
            way.append(way[-1].inputs[0])
        for vertex in way:
            chain = [each.to_json() for each in layers[: counts[vertex.digest]]]
            if chain and vertex.digest in numbers:
                told[f"step{numbers[vertex.digest]}:0"] = [chain]
        return dict(sorted(told.items()))


class _Inputs:
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


def _count(vertex: Vertex, counts: Mapping[Digest, int]) -> int:
    if isinstance(vertex.op, ImageOp):
        return len(vertex.op.diff_ids)
    if isinstance(vertex.op, MergeOp):
        return sum(counts[each.digest] for each in vertex.inputs)
    is_step = isinstance(vertex.op, ExecOp | FileOp)
    return counts[vertex.inputs[0].digest] + 1 if is_step else 0


def _platform(platform: Platform) -> JSONObject:
    return _full(
        {
            "Architecture": platform.architecture,
            "OS": platform.os,
            "Variant": platform.variant,
            "OSVersion": platform.os_version,
            "OSFeatures": list(platform.os_features),
        }
    )


def _place(vertex: Vertex) -> JSONObject:
    if vertex.location is None or isinstance(vertex.op, LocalOp):
        return {}
    place = {"start": {"line": vertex.location.start}, "end": {"line": vertex.location.end}}
    return {"locations": [{"ranges": [place]}]}


def _local(op: LocalOp, followed: list[str]) -> JSONObject:
    attributes = {_CONTEXT_HINTS: op.name}
    if followed:
        attributes["local.followpaths"] = compact(followed).decode()
    return {"identifier": f"local://{op.name}", "attrs": dict(sorted(attributes.items()))}


def _taken(vertex: Vertex, number: int) -> list[str]:
    """Return what a step takes from its input of that number, "" for all."""
    if isinstance(vertex.op, FileOp):
        return [
            source.strip("/")
            for action in vertex.op.actions
            if isinstance(action, CopyAction) and action.input == number
            for source in action.sources
        ]
    if isinstance(vertex.op, ExecOp):
        return [
            mount.source.strip("/")
            for mount in vertex.op.mounts
            if isinstance(mount, BindMount) and mount.input == number
        ]
    return [""]


def _proxies(entries: Sequence[str]) -> JSONObject:
    found = dict(each.partition("=")[::2] for each in entries)
    return {
        field: without_login(found[name]) for name, field in _PROXIES.items() if found.get(name)
    }


def _ulimit(limit: Ulimit) -> JSONObject:
    return _full({"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard})


def _mount_order(mount: ExecMount) -> tuple[int, str]:
    """Return what mounts are sorted by in LLB: by their targets, then secrets and agents as they are given."""
    if isinstance(mount, SecretMount | SshMount):
        return 1 + isinstance(mount, SshMount), ""
    return 0, mount.target


def _mount(mount: ExecMount, inputs: _Inputs) -> JSONObject:
    maker = _MOUNTS[type(mount)]
    return _full(maker(mount, inputs))


def _bind(mount: BindMount, inputs: _Inputs) -> JSONObject:
    return {
        "input": inputs.index(mount.input),
        "selector": mount.source if mount.source != "/" else "",
        "dest": mount.target,
        "output": _NONE,
        "readonly": mount.read_only,
    }


def _cache(mount: CacheMount, inputs: _Inputs) -> JSONObject:
    return {
        "input": _NONE if mount.input is None else inputs.index(mount.input),
        "selector": mount.source if mount.source != "/" else "",
        "dest": mount.target,
        "output": _NONE,
        "readonly": mount.read_only,
        "mountType": 3,
        "cacheOpt": _full({"ID": mount.id, "sharing": _SHARING[mount.sharing]}),
    }


def _tmpfs(mount: TmpfsMount, _inputs: _Inputs) -> JSONObject:
    return {
        "input": _NONE,
        "dest": mount.target,
        "output": _NONE,
        "readonly": mount.read_only,
        "mountType": 4,
        "TmpfsOpt": _full({"size": mount.size}),
    }


def _secret(mount: SecretMount, _inputs: _Inputs) -> JSONObject:
    return {
        "input": _NONE,
        "dest": mount.target,
        "mountType": 1,
        "secretOpt": _access(mount),
    }


def _ssh(mount: SshMount, _inputs: _Inputs) -> JSONObject:
    return {"input": _NONE, "dest": mount.target, "mountType": 2, "SSHOpt": _access(mount)}


def _access(mount: SecretMount | SshMount) -> JSONObject:
    identifier = "" if isinstance(mount, SshMount) and mount.id == "default" else mount.id
    return _full(
        {
            "ID": identifier,
            "uid": mount.uid,
            "gid": mount.gid,
            "mode": mount.mode,
            "optional": not mount.required,
        }
    )


_MOUNTS: Mapping[type, Callable[..., JSONObject]] = {
    BindMount: _bind,
    CacheMount: _cache,
    TmpfsMount: _tmpfs,
    SecretMount: _secret,
    SshMount: _ssh,
}


def _copies(action: CopyAction) -> list[JSONObject]:
    """Return a copy for each source."""
    mode = _octal(action.mode, _NONE)
    common: JSONObject = {
        "dest": action.destination,
        "mode": mode,
        "modeStr": action.mode if action.mode and mode == _NONE else "",
        "attemptUnpackDockerCompatibility": action.unpack,
        "createDestPath": True,
        "exclude_patterns": list(action.exclude),
    }
    if not action.is_literal:
        flags = ("followSymlink", "dirCopyContents", "allowWildcard", "allowEmptyWildcard")
        common |= dict.fromkeys(flags, True)
    if action.parents:
        patterns = [source.lstrip("/") for source in action.sources]
        return [{"src": "/", **common, "include_patterns": patterns}]
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
        return {"User": _full({"byId": int(name)})}
    return {"User": {"byName": _full({"name": name, "input": root})}}
