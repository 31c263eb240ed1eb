"""Values of the build flags that limit steps: texts as typed -> records. See `values` for the rules.

Source: docker's `opts/ulimit.go`, and docker buildx's `--resource`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from polyarch.cli.frame.hints import hint_for
from polyarch.errors import InputError
from polyarch.golang.strconv import parse_int, quote
from polyarch.golang.units import ram_in_bytes
from polyarch.request.limits import Resources, Ulimit

__all__ = ["resource_flag", "size_flag", "ulimit_flag"]

# fmt: off
_ULIMITS = frozenset({
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
    "rtprio", "rttime", "sigpending", "stack",
})
# fmt: on


def ulimit_flag(values: Iterable[str]) -> tuple[Ulimit, ...]:
    """Read `--ulimit`: `name=soft[:hard]`, -1 for no limit; sorted by name, later values win."""
    found = {limit.name: limit for limit in map(_ulimit, values)}
    return tuple(found[name] for name in sorted(found))


def _ulimit(value: str) -> Ulimit:
    name, equals, text = value.partition("=")
    if not equals:
        raise InputError(f"invalid ulimit argument: {value}")
    if name not in _ULIMITS:
        raise InputError(f"invalid ulimit type: {name}", hint=hint_for(name, _ULIMITS))
    limits = text.split(":")
    if len(limits) > 2:
        raise InputError(
            f"too many limit value arguments - {text}, can only have up to two, `soft[:hard]`"
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


def size_flag(text: str) -> int:
    """Read `--shm-size`: a number of bytes, or one with a unit that is a power of 1024."""
    return ram_in_bytes(text)


def _swap_size(text: str) -> int:
    return -1 if text == "-1" else ram_in_bytes(text)


_RESOURCE_NUMBERS: Mapping[str, Callable[[str], int]] = {
    "memory": ram_in_bytes,
    "memory-swap": _swap_size,
    "cpu-shares": parse_int,
    "cpu-period": parse_int,
    "cpu-quota": parse_int,
}


def resource_flag(values: Iterable[str]) -> Resources:
    """Read `--resource`: `key=value` each, blanks around both forgiven."""
    numbers: dict[str, int] = {}
    texts: dict[str, str] = {}
    for entry in values:
        key, equals, value = entry.partition("=")
        if not equals:
            raise InputError(f"invalid resource {quote(entry)}, expected key=value")
        key, value = key.strip(), value.strip()
        if key in _RESOURCE_NUMBERS:
            numbers[key] = _resource_number(key, value)
        elif key in {"cpuset-cpus", "cpuset-mems"}:
            texts[key] = value
        else:
            known = (*_RESOURCE_NUMBERS, "cpuset-cpus", "cpuset-mems")
            raise InputError(f"unknown resource {quote(key)}", hint=hint_for(key, known))
    return Resources(
        memory=numbers.get("memory", 0),
        memory_swap=numbers.get("memory-swap", 0),
        cpu_shares=numbers.get("cpu-shares", 0),
        cpu_period=numbers.get("cpu-period", 0),
        cpu_quota=numbers.get("cpu-quota", 0),
        cpuset_cpus=texts.get("cpuset-cpus", ""),
        cpuset_mems=texts.get("cpuset-mems", ""),
    )


def _resource_number(key: str, value: str) -> int:
    try:
        return _RESOURCE_NUMBERS[key](value)
    except InputError as error:
        raise InputError(f"invalid value {quote(value)} for resource {key}: {error}") from error
