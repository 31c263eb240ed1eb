"""How the outer process and init wait for the engine: signals go on to it, orphans are reaped.

Source: sigwaitinfo(2), credentials(7), pid_namespaces(7).
"""

from __future__ import annotations

import os
import signal
import time

__all__ = ["WAITED_FOR", "end_orphans", "mind"]

_PASSED_ON = frozenset(
    {
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
        signal.SIGTSTP,
        signal.SIGCONT,
    }
)
_SAME = 0.5
"""Seconds within which two interrupts are the same one."""
WAITED_FOR = _PASSED_ON | {signal.SIGCHLD}
"""The signals that are blocked before the fork: `mind` takes them."""


def mind(child: int, *, is_init: bool = False) -> int:
    """Wait for `child` while passing signals on and reaping others; return its exit status."""
    interrupted = 0.0
    while True:
        info = signal.sigwaitinfo(WAITED_FOR)
        if info.si_signo == signal.SIGCHLD:
            status = _reap(child)
            if status is not None:
                return status
            continue
        # Positive means the kernel: the terminal has sent it to the whole group.
        sent_to_us_only = info.si_code <= 0
        again, now = False, time.monotonic()
        if info.si_signo == signal.SIGINT:
            # What is sent to a process and to its group comes twice, and is one wish.
            again = interrupted > 0 and now - interrupted > _SAME
            interrupted = interrupted or now
        # A second Ctrl-C is meant: who ignores the first is ended. Init leaves that to the process outside.
        if again and not is_init:
            os.kill(child, signal.SIGKILL)
        elif sent_to_us_only:
            os.kill(child, info.si_signo)
        if info.si_signo == signal.SIGTSTP and not is_init:
            os.kill(os.getpid(), signal.SIGSTOP)


def _reap(child: int) -> int | None:
    """Reap all children that have ended; return the exit status of `child` if it is among them."""
    ended = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            ended = code if code >= 0 else 128 - code


def end_orphans() -> None:
    """Kill all children, and those that they leave behind to us, until there are none."""
    while True:
        # What a child that is killed leaves behind becomes ours, so it takes several rounds.
        for child in _children():
            os.kill(int(child), signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _children() -> list[str]:
    """Return the ids of our children, none where /proc doesn't tell."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []
