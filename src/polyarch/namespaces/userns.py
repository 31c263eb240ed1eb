"""Entering the namespaces that the engine lives in, without starting Python a second time.

    outer process          waits, passes signals on, exits with the engine's status
      └── init             PID 1 of a new PID namespace; reaps orphans
            └── engine     where `enter_engine` returns

An ordinary user gets a user namespace first, in which they are root and in which the subordinate ids
of /etc/subuid and /etc/subgid are mapped, too. Everyone gets a mount namespace, so that mounts vanish
with the engine, and a PID namespace, so that everything dies at once when any of the three is killed:
init dies with the outer process (PDEATHSIG) or with the engine, and the kernel ends what is in the
namespace with init. Where no /proc can be mounted for a PID namespace, the outer process is a subreaper
instead and kills what the engine leaves behind.

All three stay in the process group of the terminal. A Ctrl-C is thus seen by the engine already; only
signals that another process sent to the outer one are passed on. The second interrupt kills.

Source: user_namespaces(7), pid_namespaces(7), newuidmap(1).
"""

from __future__ import annotations

import os
import pwd
import signal
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

from polyarch import syscalls
from polyarch.errors import InternalError, NamespaceForbidden
from polyarch.namespaces.causes import forbidden
from polyarch.namespaces.waiting import WAITED_FOR, end_orphans, mind
from polyarch.record import frozen

__all__ = [
    "EngineNamespaces",
    "IdRange",
    "count_ids",
    "enter_engine",
    "needs_user_namespace",
    "parse_subids",
    "subid_names",
]

_CAP_SYS_ADMIN = 21
_EMPTY_DIRECTORIES_OF_PROC = ("/proc/sys/fs/binfmt_misc", "/proc/fs/nfsd", "/proc/fs/nfs")


@frozen
class IdRange:
    """`count` ids from `start` on, as the outer namespace counts."""

    start: int
    count: int


@frozen
class EngineNamespaces:
    """What the engine lives in."""

    rootless: bool
    """Whether there is a user namespace, in which the user is root."""
    pid_namespace: bool
    mapped_ids: int
    """How many user ids exist here: 1 if an ordinary user has no subordinate ones."""
    outer_binfmt: int | None
    """A descriptor of the outer binfmt_misc, if one is mounted: the outer /proc is hidden now."""
    refused: NamespaceForbidden | None = None
    """Why there are no namespaces at all: the engine is where it was called, as who called it."""


def needs_user_namespace() -> bool:
    """Tell whether the caller is no root of the whole machine, with CAP_SYS_ADMIN.

    The root of another user namespace (a container's) can't make devices, and whatever handlers there
    are in it belong to all that runs there.
    """
    effective, _, _ = syscalls.capget()
    is_root = os.geteuid() == 0 and effective >> _CAP_SYS_ADMIN & 1
    return not (is_root and syscalls.in_initial_user_namespace())


def enter_engine(*, rootless: bool | None = None) -> EngineNamespaces:
    """Go on as the engine in a child; the calling process only waits, and never returns.

    To be called before any thread starts. `rootless` None means: if it is needed, and without any namespace where the kernel
    refuses one, as in most containers. Raises NamespaceForbidden, in the calling process, with what forbids it and
    the command that fixes it, if one was made and is of no use, or was asked for.
    """
    may_do_without = rootless is None
    rootless = needs_user_namespace() if rootless is None else rootless
    # The kernel refuses a user namespace to a process with threads, and a fork would take only one of them along.
    if len(os.listdir("/proc/self/task")) > 1:
        raise InternalError("namespaces can't be entered once there are threads")
    try:
        mapped = _enter_user_namespace() if rootless else count_ids()
    except OSError as error:
        if not may_do_without:
            raise forbidden(error) from error
        return _enter_nothing(forbidden(error))
    try:
        with_pids = _proc_is_mountable()
        if with_pids:
            syscalls.unshare(syscalls.CLONE_NEWPID)
    except OSError as error:
        raise forbidden(error) from error
    outer_binfmt = _go_on(_fork_init if with_pids else _fork_engine)
    return EngineNamespaces(
        rootless=rootless,
        pid_namespace=with_pids,
        mapped_ids=mapped,
        outer_binfmt=outer_binfmt,
    )


def _enter_nothing(reason: NamespaceForbidden) -> EngineNamespaces:
    """Go on as the engine in a child that has no namespaces of its own."""
    _go_on(lambda: _fork_engine(with_mounts=False))
    return EngineNamespaces(
        rootless=True,
        pid_namespace=False,
        mapped_ids=count_ids(),
        outer_binfmt=None,
        refused=reason,
    )


def _go_on(fork: Callable[[], int | None]) -> int | None:
    """Have the engine forked, with what was printed written and signals left to who waits for it."""
    # What is in these buffers would be written twice, by parent and child.
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    # A signal that comes between the fork and the waiting for it would be lost, and the engine never hear of it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    outer_binfmt = fork()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return outer_binfmt


# --- the user namespace ---


def parse_subids(text: str, names: Iterable[str]) -> tuple[IdRange, ...]:
    """Return the ranges that /etc/subuid or /etc/subgid gives to a user (a name and a number)."""
    wanted = set(names)
    ranges = []
    for line in text.splitlines():
        fields = line.split(":")
        if (
            len(fields) == 3
            and fields[0] in wanted
            and fields[1].isdecimal()
            and fields[2].isdecimal()
        ):
            ranges.append(IdRange(start=int(fields[1]), count=int(fields[2])))
    return tuple(each for each in ranges if each.count > 0)


def _enter_user_namespace() -> int:
    """Become root of a new user namespace; return how many user ids are mapped."""
    uid, gid = os.geteuid(), os.getegid()
    # Whoever maps has to be outside, so it is forked before; it waits for a byte, as there is nothing to map yet.
    helper, go = _start_mapping_helper(uid, gid)
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
    finally:
        os.write(go, b"+")
        os.close(go)
        if helper:
            os.waitpid(helper, 0)
    if not _read("/proc/self/uid_map").strip():
        _write("/proc/self/uid_map", f"0 {uid} 1\n")
    if not _read("/proc/self/gid_map").strip():
        # Else a member of a group that files deny access to could leave it.
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/gid_map", f"0 {gid} 1\n")
    return count_ids()


def _start_mapping_helper(uid: int, gid: int) -> tuple[int, int]:
    """Fork what maps ids from outside, once a byte is written to the pipe.

    For root those are all that there are, if it has the capabilities, for others the subordinate ones.
    Returns its process id and the pipe; 0 and something that takes any byte if there are no such
    ids, or no tools.
    """
    if uid == 0:
        reader, writer = os.pipe()
        helper = os.fork()
        if helper == 0:
            _map_everyone(reader, writer)
        os.close(reader)
        return helper, writer
    names = subid_names(uid)
    users = parse_subids(_read("/etc/subuid"), names)
    groups = parse_subids(_read("/etc/subgid"), names)
    tools = tuple(_which(name) for name in ("newuidmap", "newgidmap"))
    if not (users and groups and all(tools)):
        return 0, os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    reader, writer = os.pipe()
    helper = os.fork()
    if helper == 0:
        mappings = (_mapping(uid, users), _mapping(gid, groups))
        _map_from_outside(reader, writer, tools, mappings)
    os.close(reader)
    return helper, writer


def subid_names(uid: int) -> tuple[str, ...]:
    """Return what a user may be called in /etc/subuid."""
    try:
        return str(uid), pwd.getpwuid(uid).pw_name
    except KeyError:
        return (str(uid),)


def _mapping(own: int, ranges: Iterable[IdRange]) -> tuple[str, ...]:
    """Return the arguments that make `own` root and number the ranges from 1 on."""
    words = ["0", str(own), "1"]
    inside = 1
    for each in ranges:
        words += [str(inside), str(each.start), str(each.count)]
        inside += each.count
    return tuple(words)


def _map_from_outside(
    reader: int, writer: int, tools: tuple[str, ...], mappings: tuple[tuple[str, ...], ...]
) -> NoReturn:
    """Be the helper: wait for the word, run the tools; what they say would only confuse."""
    status = 1
    try:
        os.close(writer)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 2)
        if os.read(reader, 1):
            target = str(os.getppid())
            status = 0
            for tool, mapping in zip(tools, mappings, strict=True):
                argv = (tool, target, *mapping)
                status |= os.spawnv(os.P_WAIT, tool, argv)  # noqa: S606 no shell is what we want
    finally:
        os._exit(status)


def _map_everyone(reader: int, writer: int) -> NoReturn:
    """Be root's helper: give everyone the number that they have here."""
    try:
        os.close(writer)
        if os.read(reader, 1):
            for name in ("uid_map", "gid_map"):
                # Each part for itself: the kernel refuses one that spans two of ours.
                parts = [line.split() for line in _read(f"/proc/self/{name}").splitlines()]
                lines = "".join(f"{start} {start} {count}\n" for start, _, count in parts)
                _write(f"/proc/{os.getppid()}/{name}", lines)
    except OSError:
        pass  # without the capabilities for it only root itself gets mapped
    finally:
        os._exit(0)


def _which(name: str) -> str:
    for directory in os.environ.get("PATH", os.defpath).split(":"):
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK):
            return path
    return ""


def count_ids() -> int:
    """Return how many user ids exist in the caller's user namespace."""
    return sum(int(line.split()[2]) for line in _read("/proc/self/uid_map").splitlines())


# --- the processes ---


def _proc_is_mountable() -> bool:
    """Tell whether the kernel will let us mount a /proc: none of the present one may be covered.

    Only asked for inside of a user namespace, see mount_too_revealing in fs/namespace.c of Linux.
    """
    mounts = [line.split(" ")[4] for line in _read("/proc/self/mountinfo").splitlines()]
    covered = [
        path
        for path in mounts
        if path.startswith("/proc/") and path not in _EMPTY_DIRECTORIES_OF_PROC
    ]
    return "/proc" in mounts and not covered


def _fork_init() -> int | None:
    """Fork init, and from it the engine; returns in the engine only."""
    alive, hold = os.pipe()
    report, reporter = os.pipe()
    init = os.fork()
    if init:
        os.close(alive)
        os.close(reporter)
        # At its end without a word once init has closed its side: the mounts are made.
        complaint = os.read(report, 4096)
        if complaint:
            os.waitpid(init, 0)
            number, _, text = complaint.decode(errors="replace").partition(" ")
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WAITED_FOR)
            raise forbidden(OSError(int(number), text))
        os._exit(mind(init))
    os.close(hold)
    os.close(report)
    try:
        _die_with(alive)
        outer_binfmt = _enter_mounts(with_proc=True)
    except OSError as error:
        os.write(reporter, f"{error.errno} {error.strerror}".encode())
        os._exit(1)
    os.close(reporter)
    os.close(alive)
    engine = os.fork()
    if engine == 0:
        return outer_binfmt
    os._exit(mind(engine, is_init=True))


def _fork_engine(*, with_mounts: bool = True) -> int | None:
    """Fork the engine without a PID namespace; returns in the engine only."""
    # What an engine leaves behind is found among our children, where no PID namespace ends it.
    syscalls.set_child_subreaper()
    alive, hold = os.pipe()
    engine = os.fork()
    if engine:
        os.close(alive)
        status = mind(engine)
        end_orphans()
        os._exit(status)
    os.close(hold)
    _die_with(alive)
    os.close(alive)
    try:
        return _enter_mounts(with_proc=False) if with_mounts else None
    except OSError as error:
        raise forbidden(error) from error


def _die_with(alive: int) -> None:
    """Have the caller killed with its parent, which holds the other end of the pipe `alive`."""
    syscalls.set_parent_death_signal(signal.SIGKILL)
    # The parent may have ended before the signal was asked for: then the pipe is at its end, else it has nothing.
    os.set_blocking(alive, False)
    try:
        os.read(alive, 1)
    except BlockingIOError:
        return
    os._exit(128 + signal.SIGKILL)


def _enter_mounts(*, with_proc: bool) -> int | None:
    """Get a mount namespace of one's own; mounts made outside still show up, ours stay inside."""
    outer_binfmt = None
    if os.path.exists("/proc/sys/fs/binfmt_misc/status"):
        outer_binfmt = os.open("/proc/sys/fs/binfmt_misc", os.O_PATH | os.O_CLOEXEC)
    syscalls.unshare(syscalls.CLONE_NEWNS)
    # Not private: a stick that is mounted while we build has to show up, and can be unmounted outside.
    syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
    if with_proc:
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("proc", "/proc", "proc", flags)
    return outer_binfmt


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
