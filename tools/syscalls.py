"""Make the table of system call numbers: `python -m tools.syscalls`.

The names are those that the profile mentions, the numbers those of libseccomp (Debian: libseccomp2, on every
machine that has apt), whose tables come from the kernel's. They know the calls up to some version of Linux, and
have two gaps, so this module states the rest: what is newer, which all architectures number alike, and what
i386 has under numbers of its own besides `socketcall` and `ipc`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polyarch.runtime.syscall_numbers as committed
from polyarch.syscalls import libseccomp_number

__all__ = ["LATER", "numbers_of", "table"]

_TOKENS = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
"""The architectures as seccomp names them. Source: linux/audit.h."""
LATER = {
    "cachestat": 451, "fchmodat2": 452, "map_shadow_stack": 453, "futex_wake": 454, "futex_wait": 455,
    "futex_requeue": 456, "statmount": 457, "listmount": 458, "mseal": 462, "setxattrat": 463,
    "getxattrat": 464, "listxattrat": 465, "removexattrat": 466,
}  # fmt: skip
"""Calls of Linux 6.5 to 6.13. Source: scripts/syscall.tbl of Linux."""
_I386 = {
    "recvmmsg": 337, "sendmmsg": 345, "socket": 359, "socketpair": 360, "bind": 361, "connect": 362,
    "listen": 363, "accept4": 364, "getsockopt": 365, "setsockopt": 366, "getsockname": 367,
    "getpeername": 368, "sendto": 369, "sendmsg": 370, "recvfrom": 371, "recvmsg": 372, "shutdown": 373,
    "semget": 393, "semctl": 394, "shmget": 395, "shmctl": 396, "shmat": 397, "shmdt": 398,
    "msgget": 399, "msgsnd": 400, "msgrcv": 401, "msgctl": 402,
}  # fmt: skip
"""libseccomp takes these for parts of `socketcall` and `ipc`. Source: syscall_32.tbl of Linux."""
_OF_ONE = {
    **{(name, "i386"): number for name, number in _I386.items()},
    # Of Linux 6.11: syscall_64.tbl.
    ("uretprobe", "x86_64"): 335,
    # Another name of arm_sync_file_range there: arch/arm/include/uapi/asm/unistd.h.
    ("sync_file_range2", "arm"): 341,
}


def numbers_of(name: str) -> tuple[int | None, ...]:
    """Return the numbers of a call, in the order of NUMBERS_OF; None where it doesn't exist."""
    return tuple(_number(name, machine) for machine in committed.NUMBERS_OF)


def _number(name: str, machine: str) -> int | None:
    if name in LATER:
        return LATER[name]
    found = libseccomp_number(_TOKENS[machine], name)
    # What an architecture lacks has a number below zero there, by which libseccomp knows it.
    return found if found >= 0 else _OF_ONE.get((name, machine))


def table(names: list[str]) -> str:
    """Return the table of `names`, a line each, as it stands in the module."""
    rows = (
        [name, *("-" if number is None else str(number) for number in numbers_of(name))]
        for name in sorted(names)
    )
    return "".join(f"{' '.join(row)}\n" for row in rows)


def main() -> int:
    """Write the module anew, with the names that it has and those that are given."""
    path = Path(committed.__file__)
    text = path.read_text(encoding="utf-8")
    names = {line.split()[0] for line in committed.NUMBERS.strip().splitlines()}
    path.write_text(
        text.replace(committed.NUMBERS, f"\n{table([*names | {*sys.argv[1:]}])}"), encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
