"""Limits of steps, as they are asked for and as a runtime sets them."""

from __future__ import annotations

from polyarch.record import frozen

__all__ = ["Resources", "Ulimit"]


@frozen
class Ulimit:
    """A limit of a process (setrlimit): `name` as in `nofile`; -1 is unlimited."""

    name: str
    soft: int
    hard: int


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
