"""A step that hangs, told from one that is slow: nothing in it moves, and nothing is coming that would move it.

Looked at are all threads of the step's processes: those whose root is the step's, and all that they
have started. A step hangs if for a stated time no thread used the CPU or was even switched to, none came
or went, and all of them wait for something inside the step: a lock, a pipe, a child. Who waits for a time to
pass, or for the network, isn't hung.

Source: proc_pid_stat(5), proc_pid_status(5) (context switches), proc_pid_syscall(5).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polyarch.emulation.probe import native_architecture
from polyarch.progress import CancelToken
from polyarch.record import mutable

__all__ = ["HangWatch", "watching"]

_LOOKS = 4
"""In the stated time."""
_PAUSE = 0.25
_CRASHED_SECONDS = 1.0
"""For so long nothing may move in a step whose emulator has said that it crashed: QEMU ends itself by a signal then,
which the first process of a PID namespace doesn't get from its like, and waits for that for ever."""
_FUTEX, _POLL, _WAIT_FOR_CHILD, _PIPE, _SIGNALS = "futex", "poll", "wait", "pipe", "signals"

_CALLS = {
    # by number: what is waited for, and which argument is a time limit (-1: none can be given)
    "amd64": {
        202: (_FUTEX, 3),
        61: (_WAIT_FOR_CHILD, -1),
        247: (_WAIT_FOR_CHILD, -1),
        0: (_PIPE, -1),
        1: (_PIPE, -1),
        19: (_PIPE, -1),
        20: (_PIPE, -1),
        34: (_SIGNALS, -1),
        130: (_SIGNALS, -1),
        128: (_SIGNALS, 2),
    },
    "arm64": {
        98: (_FUTEX, 3),
        260: (_WAIT_FOR_CHILD, -1),
        95: (_WAIT_FOR_CHILD, -1),
        63: (_PIPE, -1),
        64: (_PIPE, -1),
        65: (_PIPE, -1),
        66: (_PIPE, -1),
        133: (_SIGNALS, -1),
        137: (_SIGNALS, 2),
    },
}
"""Calls in which a thread may wait for ever for something of its own step; all others are none of these."""


@mutable
class HangWatch:
    """What became of the watching: `token` ends the step, `hung` is whether it was ended for hanging."""

    token: CancelToken
    hung: bool = False


@contextmanager
def watching(
    root: Path, seconds: float, cancel: CancelToken, has_crashed: Callable[[], bool]
) -> Iterator[HangWatch]:
    """Watch the step whose root is `root` for as long as the block lasts, and end it once it hangs.

    It is to be run with the token that is given, which also ends when `cancel` does. With 0 seconds it hangs only
    after its emulator `has_crashed`.
    """
    watch = HangWatch(token=CancelToken())
    unlink = cancel.on_cancel(watch.token.cancel)
    over = threading.Event()
    thread = threading.Thread(
        target=_watch, args=(root, seconds, watch, over, has_crashed), name="hang-watch"
    )
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
        unlink()


def _watch(
    root: Path,
    seconds: float,
    watch: HangWatch,
    over: threading.Event,
    has_crashed: Callable[[], bool],
) -> None:
    before: frozenset[str] = frozenset()
    looked = since = time.monotonic()
    while not over.wait(_PAUSE):
        limit = _CRASHED_SECONDS if has_crashed() else seconds
        now = time.monotonic()
        # A look reads several files for each process of the machine.
        if not limit or now - looked < limit / _LOOKS:
            continue
        looked = now
        found = frozenset(_threads(root))
        if not found or found != before:
            before, since = found, now
        elif now - since >= limit and _all_wait_inside(found):
            watch.hung = True
            watch.token.cancel()
            return


def _threads(root: Path) -> Iterator[str]:
    """Give for each thread of the step how far it has come: its place in /proc, CPU time and switches."""
    for process in _processes(root):
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{process}/task"):
                place = f"/proc/{process}/task/{thread}"
                fields = Path(f"{place}/stat").read_text().rpartition(")")[2].split()
                status = Path(f"{place}/status").read_text().splitlines()
                switches = [line.split()[1] for line in status if "ctxt_switches" in line]
                yield " ".join((place, *fields[11:13], *switches))


def _processes(root: Path) -> list[str]:
    """Return the ids of the step's processes, as this process knows them."""
    try:
        wanted = os.stat(root)
        running = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    # What keeps the step has its root, too, and isn't in its PID namespace.
    own = os.readlink("/proc/self/ns/pid")
    children: dict[str, list[str]] = {}
    found = []
    for process in running:
        with suppress(OSError):
            stat = Path(f"/proc/{process}/stat").read_text()
            children.setdefault(stat.rpartition(")")[2].split()[1], []).append(process)
            if os.readlink(f"/proc/{process}/ns/pid") != own and os.path.samestat(
                os.stat(f"/proc/{process}/root"), wanted
            ):
                found.append(process)
    for process in found:  # grows
        found += [each for each in children.get(process, ()) if each not in found]
    return found


def _all_wait_inside(threads: frozenset[str]) -> bool:
    return all(_waits_inside(each.partition(" ")[0]) for each in threads)


def _waits_inside(place: str) -> bool:
    """Tell whether a thread waits, without a limit, for what only its own step can do."""
    try:
        words = Path(f"{place}/syscall").read_text().split()
    except OSError:
        return False
    calls = _CALLS.get(native_architecture(), {})
    if len(words) < 7 or not words[0].isdigit() or int(words[0]) not in calls:
        return False
    kind, limit = calls[int(words[0])]
    if kind == _PIPE:
        return _is_pipe(place, int(words[1], 16))
    return limit < 0 or int(words[1 + limit], 16) == 0


def _is_pipe(place: str, descriptor: int) -> bool:
    try:
        return os.readlink(f"{place}/fd/{descriptor}").startswith("pipe:")
    except OSError:
        return False
