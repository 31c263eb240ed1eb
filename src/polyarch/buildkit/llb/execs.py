"""Execs as LLB: a process with its mounts. Source: BuildKit's `client/llb/exec.go`, `dockerfile2llb/convert_runmount.go`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from polyarch.buildkit.llb.numbers import (
    CACHE,
    EXEC,
    NETWORKS,
    PROXIES,
    SECRET,
    SECURITIES,
    SHARINGS,
    SSH,
    TMPFS,
)
from polyarch.buildkit.llb.writing import NOTHING, Made, Output, Written
from polyarch.graph.op import (
    SCRIPT_DIRECTORY,
    BindMount,
    CacheMount,
    ExecMount,
    ExecOp,
    SecretMount,
    SshMount,
    TmpfsMount,
)
from polyarch.record import frozen
from polyarch.request.limits import Resources
from polyarch.wire import field

__all__ = ["SCRIPT_MODE", "exec_op", "resources_bytes"]

_AGENT = "SSH_AUTH_SOCK="
_OWN_HOSTNAME = "buildkitsandbox"
"""What daemons call a step's machine by themselves."""
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a mount's target, not a place for files of ours
SCRIPT_MODE = 0o755
"""That of files with scripts."""


def exec_op(op: ExecOp, inputs: Sequence[Made], scripts: Sequence[Output]) -> Written:
    """Return the op of an exec; `inputs` are what the vertex's have become, `scripts` the trees of its scripts."""
    used = tuple(dict.fromkeys(each for each in (*inputs, *scripts) if each is not None))
    numbers = [NOTHING if each is None else used.index(each) for each in inputs]
    mounts = _Mounts(numbers=numbers)
    message = b"".join(
        (
            field(1, _meta(op)),
            field(2, field(1, numbers[0]) + field(3, "/")),
            *(field(2, mounts.whole(used.index(each), f"{SCRIPT_DIRECTORY}/")) for each in scripts),
            *(field(2, told) for each in _all_mounts(op) if (told := mounts.told(each))),
            field(3, NETWORKS.index(op.network)),
            field(4, SECURITIES.index(op.security)),
            *(field(5, told) for each in op.mounts if (told := _variable(each))),
            *(field(6, field(1, each)) for each in op.devices),
        )
    )
    return Written(kind=EXEC, message=message, inputs=used, needs=frozenset(_needs(op)))


def _all_mounts(op: ExecOp) -> tuple[ExecMount, ...]:
    if not op.shm_size:
        return op.mounts
    return (TmpfsMount(target=_SHARED_MEMORY, size=op.shm_size), *op.mounts)


def _meta(op: ExecOp) -> bytes:
    return b"".join(
        (
            *(field(1, each) for each in op.argv),
            *(field(2, each) for each in _environment(op)),
            field(3, op.cwd),
            field(4, op.user),
            field(5, _proxies(op.proxy_env)),
            *(field(6, field(1, name) + field(2, address)) for name, address in op.extra_hosts),
            field(7, op.hostname if op.hostname != _OWN_HOSTNAME else ""),
            *(
                field(9, field(1, each.name) + field(2, each.soft) + field(3, each.hard))
                for each in op.ulimits
            ),
            field(10, op.cgroup_parent),
            # Directories that were made for mounts are removed behind the step, as ours are.
            field(11, True),
            *(field(12, each) for each in op.exit_codes),
        )
    )


def _environment(op: ExecOp) -> Iterator[str]:
    """Give the variables of a step: where its agent listens is for whoever writes the graph to say."""
    yield from op.env
    sockets = [each.target for each in op.mounts if isinstance(each, SshMount)]
    if sockets and not any(each.startswith(_AGENT) for each in op.env):
        yield f"{_AGENT}{sockets[0]}"


def _proxies(values: Sequence[str]) -> bytes:
    given: Mapping[str, str] = dict(each.split("=", 1) for each in values)
    return b"".join(field(number, given.get(name, "")) for number, name in enumerate(PROXIES, 1))


@frozen
class _Mounts:
    """Writes mounts; `numbers` are those of the vertex's inputs among the op's."""

    numbers: list[int]

    def told(self, mount: ExecMount) -> bytes:
        """Return the message of a mount; nothing for a secret that is a variable only."""
        if isinstance(mount, BindMount):
            is_output = mount.output > 0
            return self._bind(mount, mount.output if is_output else NOTHING)
        if isinstance(mount, CacheMount):
            return self._cache(mount)
        if isinstance(mount, TmpfsMount):
            return _plain(mount.target, TMPFS) + field(19, field(1, mount.size))
        if isinstance(mount, SshMount):
            return _plain(mount.target, SSH) + field(22, _lent(mount))
        return _plain(mount.target, SECRET) + field(21, _lent(mount)) if mount.target else b""

    @staticmethod
    def whole(number: int, target: str) -> bytes:
        """Return a mount of all of an input, which is only read."""
        return field(1, number) + field(3, target) + field(4, NOTHING) + field(5, 1)

    def _bind(self, mount: BindMount, output: int) -> bytes:
        return (
            field(1, self.numbers[mount.input])
            + field(2, _selector(mount.source))
            + field(3, mount.target)
            + field(4, output)
            + field(5, mount.read_only)
        )

    def _cache(self, mount: CacheMount) -> bytes:
        number = NOTHING if mount.input is None else self.numbers[mount.input]
        return (
            field(1, number)
            + field(2, _selector(mount.source))
            + field(3, mount.target)
            + field(4, NOTHING)
            + field(5, mount.read_only)
            + field(6, CACHE)
            + field(20, field(1, mount.id) + field(2, SHARINGS.index(mount.sharing)))
        )


def _selector(path: str) -> str:
    return "" if path == "/" else path


def _plain(target: str, kind: int) -> bytes:
    return field(1, NOTHING) + field(3, target) + field(4, NOTHING) + field(6, kind)


def _lent(mount: SecretMount | SshMount) -> bytes:
    return (
        field(1, mount.id)
        + field(2, mount.uid)
        + field(3, mount.gid)
        + field(4, mount.mode)
        + field(5, not mount.required)
    )


def _variable(mount: ExecMount) -> bytes:
    """Return the message of a secret that is a variable, nothing for anything else."""
    if not isinstance(mount, SecretMount) or not mount.env:
        return b""
    return field(1, mount.id) + field(2, mount.env) + field(3, not mount.required)


def resources_bytes(resources: Resources) -> bytes:
    """Return the limits of a step, which are no part of the op itself."""
    return (
        field(1, resources.memory)
        + field(2, resources.memory_swap)
        + field(3, resources.cpu_shares)
        + field(4, resources.cpu_period)
        + field(5, resources.cpu_quota)
        + field(6, resources.cpuset_cpus)
        + field(7, resources.cpuset_mems)
    )


def _needs(op: ExecOp) -> Iterator[str]:
    """Give what a daemon must know of, which the first ones didn't."""
    found = {
        "exec.meta.cgroup.parent": op.cgroup_parent,
        "exec.meta.ulimit": op.ulimits,
        "exec.meta.cdi": op.devices,
        "exec.meta.linux.resources": op.resources != Resources(),
        "exec.mount.tmpfs.size": any(
            isinstance(each, TmpfsMount) and each.size for each in _all_mounts(op)
        ),
        "exec.secretenv": any(map(_variable, op.mounts)),
        "exec.validexitcode": op.exit_codes,
    }
    yield from (name for name, is_needed in found.items() if is_needed)
