"""Which devices a step of root's engine may open: a cgroup's rules, in place of a root that is `nodev`.

The rules are those of runc and BuildKit: any node may be made, a few may be opened, besides those that are
given to the step. Nodes that a step makes are then of use in it (debootstrap tries one), and stay in the
layer, while the machine's disks stay closed.

All plain steps share one cgroup per engine, below that of the engine, and are forked into it: moving a
process makes the whole machine wait (some 20 ms). The unified hierarchy takes the rules as a BPF program,
the older devices hierarchy as lines of text. Where neither is to be had, steps do without, and are told so.

Source: Documentation/admin-guide/cgroup-v1/devices.rst, cgroup-v2.rst ("Device controller"), bpf(2).
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence

from polyarch import rawcalls
from polyarch.record import frozen
from polyarch.runtime.cgroup import hierarchies, hold_cgroup, remove_cgroup, remove_stale
from polyarch.runtime.seccomp import call_number
from polyarch.runtime.step import Step

__all__ = ["DEFAULT_RULES", "DeviceGroup", "DeviceGroups", "DeviceRule", "compile_rules", "confine"]

_ANY = -1
_MAKE, _READ, _WRITE = 1, 2, 4
_ALL = _MAKE | _READ | _WRITE
_KINDS = {"b": 1, "c": 2}
_NONE = "there is no hierarchy of cgroups that has rules for devices"
_LETTERS = ((_READ, "r"), (_WRITE, "w"), (_MAKE, "m"))

# Instructions of BPF: class, operation and source in one byte (linux/bpf_common.h, linux/bpf.h).
_LOAD_WORD, _AND, _SHIFT_RIGHT, _COPY, _SET = 0x61, 0x54, 0x74, 0xBC, 0xB4
_JUMP_UNLESS, _JUMP_IF_ANY, _EXIT = 0x56, 0x46, 0x95


@frozen
class DeviceRule:
    """Devices of a kind (b or c) and what may be done with them; a number of -1 means any."""

    kind: str
    major: int = _ANY
    minor: int = _ANY
    access: int = _ALL

    def __str__(self) -> str:
        numbers = ("*" if number == _ANY else str(number) for number in (self.major, self.minor))
        letters = "".join(letter for bit, letter in _LETTERS if self.access & bit)
        return f"{self.kind} {':'.join(numbers)} {letters}"


DEFAULT_RULES = (
    DeviceRule(kind="b", access=_MAKE),
    DeviceRule(kind="c", access=_MAKE),
    *(DeviceRule(kind="c", major=1, minor=minor) for minor in (3, 5, 7, 8, 9)),
    *(DeviceRule(kind="c", major=5, minor=minor) for minor in (0, 1, 2)),
    DeviceRule(kind="c", major=136),
)
"""Null, zero, full, random, urandom; tty, console, ptmx; terminals. Any may be made."""


def compile_rules(rules: Iterable[DeviceRule]) -> bytes:
    """Return a BPF program that allows what any of `rules` does (struct bpf_cgroup_dev_ctx comes in)."""
    # Registers 2 to 5: kind, access, major, minor.
    program = [
        _instruction(_LOAD_WORD, 2, 1, 0),
        _instruction(_COPY, 3, 2),
        _instruction(_AND, 2, value=0xFFFF),
        _instruction(_SHIFT_RIGHT, 3, value=16),
        _instruction(_LOAD_WORD, 4, 1, 4),
        _instruction(_LOAD_WORD, 5, 1, 8),
    ]
    for rule in rules:
        tests = [(_JUMP_UNLESS, 2, _KINDS[rule.kind])]
        if rule.access != _ALL:
            tests.append((_JUMP_IF_ANY, 3, _ALL & ~rule.access))
        if rule.major != _ANY:
            tests.append((_JUMP_UNLESS, 4, rule.major))
        if rule.minor != _ANY:
            tests.append((_JUMP_UNLESS, 5, rule.minor))
        for place, (operation, register, value) in enumerate(tests):
            over = len(tests) - place + 1
            program.append(_instruction(operation, register, offset=over, value=value))
        program += [_instruction(_SET, 0, value=1), _instruction(_EXIT)]
    program += [_instruction(_SET, 0, value=0), _instruction(_EXIT)]
    return b"".join(program)


def _instruction(
    code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0
) -> bytes:
    return struct.pack("=BBhI", code, source << 4 | target, offset, value & 0xFFFFFFFF)


def confine(directory: str, rules: Sequence[DeviceRule], *, unified: bool) -> None:
    """Have the processes in a cgroup open nothing but what `rules` allow. Raises OSError."""
    if not unified:
        _write(f"{directory}/devices.deny", "a")
        for rule in rules:
            _write(f"{directory}/devices.allow", str(rule))
        return
    number = call_number("bpf")
    program = rawcalls.bpf_load(number, rawcalls.BPF_PROG_TYPE_CGROUP_DEVICE, compile_rules(rules))
    try:
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            rawcalls.bpf_attach(number, opened, program, rawcalls.BPF_CGROUP_DEVICE)
        finally:
            os.close(opened)
    finally:
        os.close(program)


@frozen
class DeviceGroup:
    """A cgroup with rules for devices, or none: then `trouble` says why.

    A process gets into it by being forked there, if `opened` is a descriptor of its directory, else by being
    moved into `directories`; neither if it gets there anyway.
    """

    opened: int | None = None
    directories: tuple[str, ...] = ()
    trouble: str = ""


class DeviceGroups:
    """The cgroups of one engine's steps; thread-safe. What they share ends with `resources`."""

    def __init__(self, resources: contextlib.ExitStack) -> None:
        self._resources = resources
        self._lock = threading.Lock()
        self._shared: DeviceGroup | None = None

    @contextlib.contextmanager
    def of(self, step: Step, directories: Sequence[str]) -> Iterator[DeviceGroup]:
        """Give the group of `step` for the time of the block; `directories` are its own cgroup's, if it has one."""
        given = tuple(
            DeviceRule(kind=node.kind, major=node.major, minor=node.minor) for node in step.devices
        )
        with contextlib.ExitStack() as own:
            if directories:
                yield _confined(directories, (*DEFAULT_RULES, *given))
            elif given:
                yield _new_group((*DEFAULT_RULES, *given), own)
            else:
                yield self._get_shared()

    def _get_shared(self) -> DeviceGroup:
        with self._lock:
            if self._shared is None:
                self._shared = _new_group(DEFAULT_RULES, self._resources)
            return self._shared


def _confined(directories: Sequence[str], rules: Sequence[DeviceRule]) -> DeviceGroup:
    """Give rules to a cgroup that a step has anyway."""
    unified = [each for each in directories if os.path.exists(f"{each}/cgroup.controllers")]
    older = [each for each in directories if os.path.exists(f"{each}/devices.deny")]
    trouble = _NONE
    for directory in (*unified, *older):
        try:
            confine(directory, rules, unified=directory in unified)
        except OSError as error:
            trouble = _tell(error)
        else:
            return DeviceGroup()
    return DeviceGroup(trouble=trouble)


def _new_group(rules: Sequence[DeviceRule], resources: contextlib.ExitStack) -> DeviceGroup:
    """Make a cgroup with rules below the engine's, until `resources` are closed."""
    trouble = _NONE
    for parent, unified in _candidates():
        directory = f"{parent}/polyarch-{os.urandom(8).hex()}"
        with contextlib.ExitStack() as on_failure:
            try:
                remove_stale(parent)
                os.mkdir(directory)
                on_failure.callback(remove_cgroup, directory)
                opened = hold_cgroup(directory)
                on_failure.callback(os.close, opened)
                confine(directory, rules, unified=unified)
            except OSError as error:
                trouble = _tell(error)
                continue
            resources.push(on_failure.pop_all())
            if unified:
                return DeviceGroup(opened=opened)
            return DeviceGroup(directories=(directory,))
    return DeviceGroup(trouble=trouble)


def _tell(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def _candidates() -> Iterator[tuple[str, bool]]:
    """Give the engine's cgroups that can have rules, and whether each is of the unified hierarchy."""
    places = _own_places()
    for controllers, unified in ((None, True), ({"devices"}, False)):
        for hierarchy in hierarchies(controllers):
            is_unified = os.path.exists(f"{hierarchy}/cgroup.controllers")
            place = places.get("" if unified else "devices")
            if is_unified == unified and place is not None:
                yield f"{hierarchy}{place}".rstrip("/"), unified


def _own_places() -> dict[str, str]:
    """Return where the engine is in the hierarchies: by controller, the unified one's being empty."""
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    return {name: path for _, names, path in lines for name in names.split(",")}


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
