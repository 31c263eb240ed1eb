"""Exec ops of LLB: a process with its mounts. Its results are its root and those mounts that others use."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence

from polyarch.buildkit.llb.numbers import (
    BIND,
    CACHE,
    NETWORKS,
    PROXIES,
    SECRET,
    SECURITIES,
    SHARINGS,
    SSH,
    TMPFS,
)
from polyarch.errors import InputError
from polyarch.graph.op import (
    BindMount,
    CacheMount,
    ExecMount,
    ExecOp,
    SecretMount,
    Sharing,
    SshMount,
    TmpfsMount,
)
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import DEFAULT_PATH
from polyarch.record import frozen, replace
from polyarch.request.limits import Resources, Ulimit
from polyarch.serve.llb.definition import Op
from polyarch.wire import Message

__all__ = ["ExecReader", "TakeInput"]


TakeInput = Callable[[int], Vertex]
"""From the number of an op's input, -1 for an empty tree, to its vertex."""


@frozen
class ExecReader:
    """Reads exec ops; `allow` are the entitlements that the request has.

    `grant` gives the devices that are asked for by name, each required or not, and refuses those that aren't allowed.
    """

    allow: frozenset[str]
    grant: Callable[[Sequence[tuple[str, bool]]], tuple[str, ...]] = lambda _wishes: ()

    def read(
        self, op: Op, used: Collection[int], take: TakeInput, layers: TakeInput
    ) -> tuple[ExecOp, tuple[Vertex, ...], dict[int, int]]:
        """Return the op, its inputs, the root first, and what its outputs are called here, by their numbers: 0 is the root.

        `used` are the outputs that somebody uses. `layers` is as `take`, but what it gives may be written to. Raises
        InputError for what can't be done.
        """
        mounts = list(op.message.messages(2))
        roots = [each for each in mounts if each.text(3) == "/"]
        if not roots:
            raise InputError("an exec op has no root mount")
        root = roots[-1]
        if root.integer(6) != BIND:
            raise InputError("the root of an exec op is no bind mount")
        numbers = {root.integer(4): 0}
        inputs = [layers(root.integer(1))]
        cwd = Message(op.message.bytes(1)).text(3) or "/"
        found = []
        for each in mounts:
            if each is root:
                continue
            is_output = each.integer(6) == BIND and each.integer(4) in used
            number = len(numbers) if is_output else 0
            if is_output:
                numbers[each.integer(4)] = number
            mount = _mount(each, inputs, (take, layers), number)
            # Targets may be relative to the working directory.
            found.append(replace(mount, target=os.path.join(cwd, mount.target)))
        return self._op(op, (*found, *_variables(op.message))), tuple(inputs), numbers

    def _op(self, op: Op, mounts: tuple[ExecMount, ...]) -> ExecOp:
        meta = Message(op.message.bytes(1))
        network = _named(NETWORKS, op.message.integer(3), "network")
        security = _named(SECURITIES, op.message.integer(4), "security")
        for wanted in (f"network.{network}", f"security.{security}"):
            if wanted in {"network.host", "security.insecure"} and wanted not in self.allow:
                raise InputError(f"{wanted} is not allowed", hint=f"allow it: --allow {wanted}")
        return ExecOp(
            argv=meta.texts(1),
            env=_with_path(meta.texts(2)),
            cwd=meta.text(3) or "/",
            user=meta.text(4),
            platform=op.platform,
            network=network,  # type: ignore[arg-type]
            security=security,  # type: ignore[arg-type]
            hostname=meta.text(7),
            mounts=mounts,
            extra_hosts=tuple((each.text(1), each.text(2)) for each in meta.messages(6)),
            ulimits=tuple(
                Ulimit(name=each.text(1), soft=each.integer(2), hard=each.integer(3))
                for each in meta.messages(9)
            ),
            cgroup_parent=meta.text(10),
            proxy_env=tuple(_proxies(Message(meta.bytes(5)))),
            resources=_resources(Message(op.metadata.bytes(7))),
            devices=self.grant(
                [(each.text(1), not each.integer(2)) for each in op.message.messages(6)]
            ),
            exit_codes=meta.integers(12),
        )


def _named(names: Sequence[str], number: int, what: str) -> str:
    if not 0 <= number < len(names):
        raise InputError(f"invalid {what} mode: {number}")
    return names[number]


def _with_path(env: tuple[str, ...]) -> tuple[str, ...]:
    """Return variables with the place of programs, which clients leave to us."""
    has_path = any(each.startswith("PATH=") for each in env)
    return env if has_path else (f"PATH={DEFAULT_PATH}", *env)


def _mount(
    message: Message, inputs: list[Vertex], take: tuple[TakeInput, TakeInput], output: int
) -> ExecMount:
    """Return a mount, the output of that number if there is one; what it mounts becomes one of the `inputs`."""
    as_it_is, layers = take
    target, kind = message.text(3), message.integer(6)
    if kind == SECRET:
        return _secret(target, Message(message.bytes(21)))
    if kind == SSH:
        return _ssh(target, Message(message.bytes(22)))
    if kind == TMPFS:
        return TmpfsMount(target=target, size=Message(message.bytes(19)).integer(1))
    if kind == CACHE:
        return _cache(message, inputs, layers)
    is_read_only = bool(message.integer(5))
    inputs.append((as_it_is if is_read_only else layers)(message.integer(1)))
    return BindMount(
        target=target,
        input=len(inputs) - 1,
        source=message.text(2) or "/",
        read_only=is_read_only,
        output=0 if is_read_only else output,
    )


def _ssh(target: str, told: Message) -> SshMount:
    return SshMount(
        id=told.text(1) or "default",
        target=target,
        required=not told.integer(5),
        mode=told.integer(4),
        uid=told.integer(2),
        gid=told.integer(3),
    )


def _cache(message: Message, inputs: list[Vertex], layers: TakeInput) -> CacheMount:
    target, told = message.text(3), Message(message.bytes(20))
    has_source = message.integer(1) >= 0
    if has_source:
        inputs.append(layers(message.integer(1)))
    return CacheMount(
        target=target,
        id=told.text(1) or target,
        sharing=_shared(told.integer(2)),
        read_only=bool(message.integer(5)),
        input=len(inputs) - 1 if has_source else None,
        source=message.text(2) or "/",
    )


def _shared(number: int) -> Sharing:
    if not 0 <= number < len(SHARINGS):
        raise InputError(f"invalid cache sharing mode: {number}")
    return SHARINGS[number]


def _secret(target: str, told: Message) -> SecretMount:
    return SecretMount(
        id=told.text(1),
        target=target,
        required=not told.integer(5),
        mode=told.integer(4),
        uid=told.integer(2),
        gid=told.integer(3),
    )


def _variables(message: Message) -> Iterator[SecretMount]:
    for each in message.messages(5):
        yield SecretMount(id=each.text(1), env=each.text(2), required=not each.integer(3))


def _proxies(message: Message) -> Iterator[str]:
    for number, name in enumerate(PROXIES, 1):
        if value := message.text(number):
            yield f"{name}={value}"
            yield f"{name.lower()}={value}"


def _resources(message: Message) -> Resources:
    return Resources(
        memory=message.integer(1),
        memory_swap=message.integer(2),
        cpu_shares=message.integer(3),
        cpu_period=message.integer(4),
        cpu_quota=message.integer(5),
        cpuset_cpus=message.text(6),
        cpuset_mems=message.text(7),
    )
