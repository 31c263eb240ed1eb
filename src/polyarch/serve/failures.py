"""What debuggers start from where a step has failed: its op, and refs to what it had and what it has left.

Source: BuildKit's `solver/errdefs`, `solver/llbsolver/ops/exec.go`, `solver/pb/ops.proto`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from polyarch.buildkit.llb.numbers import (
    BIND,
    CACHE,
    NETWORKS,
    SECRET,
    SECURITIES,
    SHARINGS,
    SSH,
    TMPFS,
)
from polyarch.golang.json import compact
from polyarch.graph.op import (
    BindMount,
    CacheMount,
    ExecMount,
    ExecOp,
    SecretMount,
    SshMount,
    TmpfsMount,
)
from polyarch.graph.vertex import Vertex
from polyarch.record import mutable
from polyarch.snapshot.stack import LayerStack
from polyarch.wire import field
from polyarch.worker.work import ROOT

__all__ = ["Failures"]

_TYPES = "github.com/moby/buildkit/errdefs"

Keep = Callable[[LayerStack], str]
"""From a tree to a ref that the client may mount it by."""


@mutable
class Failures:
    """What the first step to fail in a build has left; `note` may be called from any thread."""

    vertex: Vertex | None = None
    trees: Mapping[int, LayerStack] = {}

    def note(self, vertex: Vertex, trees: Mapping[int, LayerStack]) -> None:
        """See `polyarch.worker.exec.Left`."""
        if self.vertex is None:
            self.vertex, self.trees = vertex, trees

    def details(self, keep: Keep) -> bytes:
        """Return the details of the error: which step it was, and what clients can mount of it; b"" if none is known."""
        if self.vertex is None or not isinstance(self.vertex.op, ExecOp):
            return b""
        op = self.vertex.op
        numbers = [ROOT, *(number for number, each in enumerate(op.mounts) if _is_mounted(each))]
        left = [keep(self.trees[each]) if each in self.trees else "" for each in numbers]
        given = [ref if each in self.trees else "" for each, ref in zip(numbers, left, strict=True)]
        told = {
            "inputIDs": given,
            "mountIDs": left,
            "op": {"exec": _exec(op), "platform": _platform(op)},
            "description": {"llb.customname": self.vertex.name},
        }
        return _detail("Vertex", {"digest": self.vertex.digest}) + _detail("Solve", told)


def _detail(kind: str, told: Mapping[str, object]) -> bytes:
    return field(3, field(1, f"{_TYPES}.{kind}+json") + field(2, compact(told)))


def _is_mounted(mount: ExecMount) -> bool:
    return not (isinstance(mount, SecretMount) and mount.env)


def _platform(op: ExecOp) -> dict[str, str]:
    platform = op.platform
    return {"Architecture": platform.architecture, "OS": platform.os, "Variant": platform.variant}


def _exec(op: ExecOp) -> dict[str, Any]:
    """Return an exec as an ExecOp in JSON."""
    return {
        "meta": {
            "args": list(op.argv),
            "env": list(op.env),
            "cwd": op.cwd,
            "user": op.user,
            "hostname": op.hostname,
            "extraHosts": [{"Host": host, "IP": address} for host, address in op.extra_hosts],
        },
        "mounts": [
            {"dest": "/", "mountType": BIND},
            *(_mount(each) for each in op.mounts if _is_mounted(each)),
        ],
        "network": NETWORKS.index(op.network),
        "security": SECURITIES.index(op.security),
        "secretenv": [
            {"ID": each.id, "name": each.env, "optional": not each.required}
            for each in op.mounts
            if isinstance(each, SecretMount) and each.env
        ],
    }


def _mount(mount: ExecMount) -> dict[str, Any]:
    match mount:
        case BindMount():
            told: dict[str, Any] = {"mountType": BIND, "readonly": mount.read_only}
            if mount.source != "/":
                told["selector"] = mount.source
        case CacheMount():
            options = {"ID": mount.id, "sharing": SHARINGS.index(mount.sharing)}
            told = {"mountType": CACHE, "readonly": mount.read_only, "cacheOpt": options}
        case TmpfsMount():
            told = {"mountType": TMPFS, "TmpfsOpt": {"size": mount.size}}
        case SecretMount():
            told = {"mountType": SECRET, "secretOpt": _lent(mount)}
        case SshMount():
            told = {"mountType": SSH, "SSHOpt": _lent(mount)}
    return {"dest": mount.target, **told}


def _lent(mount: SecretMount | SshMount) -> dict[str, Any]:
    return {
        "ID": mount.id,
        "uid": mount.uid,
        "gid": mount.gid,
        "mode": mount.mode,
        "optional": not mount.required,
    }
