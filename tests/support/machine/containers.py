"""What containers allow by default, made by hand: Docker's set of capabilities, and its filter of system calls.

Docker's profile lets nobody make namespaces or mounts who hasn't CAP_SYS_ADMIN; ours is the same one.
"""

from __future__ import annotations

import sys

from tests.support.machine.programs import Person

__all__ = ["contained"]

_ENTER = """
import os, sys
from polyarch import syscalls
from polyarch.runtime.capability import CAPABILITIES, DEFAULT_CAPABILITIES
from polyarch.runtime.seccomp import compile_filter
for number in range(len(CAPABILITIES)):
    if not DEFAULT_CAPABILITIES >> number & 1:
        try:
            syscalls.capability_bounding_drop(number)
        except OSError:
            pass
syscalls.seccomp_filter(compile_filter())
syscalls.capset(DEFAULT_CAPABILITIES, DEFAULT_CAPABILITIES, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def contained(person: Person) -> Person:
    """Return the same person in such a container, which is root's until it becomes them."""
    return Person(
        user=person.user,
        home=person.home,
        environ=person.environ,
        prefix=(sys.executable, "-c", _ENTER),
    )
