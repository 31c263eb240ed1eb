"""Limits of steps, as they are asked for and as a runtime sets them."""

from __future__ import annotations

from polyarch.errors import InputError
from polyarch.golang.strconv import parse_int
from polyarch.record import frozen
from polyarch.text.nearest import hint_for

__all__ = ["Resources", "Ulimit", "parse_ulimit"]

_ULIMITS = frozenset(
    {
        "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
        "rtprio", "rttime", "sigpending", "stack",
    }
)  # fmt: skip


@frozen
class Ulimit:
    """A limit of a process (setrlimit): `name` as in `nofile`; -1 is unlimited."""

    name: str
    soft: int
    hard: int


def parse_ulimit(text: str) -> Ulimit:
    """Read `name=soft[:hard]`, -1 for no limit. Raises InputError."""
    name, equals, numbers = text.partition("=")
    if not equals:
        raise InputError(
            f"invalid ulimit argument: {text}",
            hint="write --ulimit NAME=SOFT[:HARD], for instance nofile=1024:2048",
        )
    if name not in _ULIMITS:
        raise InputError(f"invalid ulimit type: {name}", hint=hint_for(name, _ULIMITS))
    limits = numbers.split(":")
    if len(limits) > 2:
        raise InputError(
            f"too many limit value arguments - {numbers}, can only have up to two, `soft[:hard]`"
        )
    # The hard limit is read first: of two bad numbers it is the one complained of.
    hard = parse_int(limits[-1])
    soft = parse_int(limits[0])
    complaint = "ulimit soft limit must be less than or equal to hard limit"
    if hard != -1 and soft == -1:
        raise InputError(f"{complaint}: soft: -1 (unlimited), hard: {hard}")
    if hard != -1 and soft > hard:
        raise InputError(f"{complaint}: {soft} > {hard}")
    return Ulimit(name=name, soft=soft, hard=hard)


@frozen
class Resources:
    """Limits of a step's cgroup, as Docker has them; 0 or "" for no limit.

    `memory` is in bytes, as is `memory_swap`, which counts memory and swap together (-1: no limit of
    those). `cpu_period` and `cpu_quota` are in microseconds.
    """

    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
