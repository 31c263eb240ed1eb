"""Values of the build flags that limit steps: texts as typed -> records. See `values` for the rules.

Source: docker's `opts/ulimit.go`, and docker buildx's `--resource`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from polyarch.errors import InputError
from polyarch.golang.strconv import parse_int, quote
from polyarch.golang.units import ram_in_bytes
from polyarch.request.limits import Resources, Ulimit, parse_ulimit
from polyarch.text.nearest import hint_for

__all__ = ["resource_flag", "size_flag", "ulimit_flag"]


def ulimit_flag(values: Iterable[str]) -> tuple[Ulimit, ...]:
    """Read `--ulimit`: `name=soft[:hard]`, -1 for no limit; sorted by name, later values win."""
    found = {limit.name: limit for limit in map(parse_ulimit, values)}
    return tuple(found[name] for name in sorted(found))


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
