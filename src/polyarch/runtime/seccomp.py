"""Which system calls a step may make: Docker's default profile, as names and as a BPF program.

A call that isn't named is refused with EPERM, one that is younger than all that are named with ENOSYS,
so that programs fall back to older ones, as they do under runc. The numbers come from a table for the
most common machines, and from libseccomp for the others.

Source: the default profile of Docker (moby/profiles); seccomp(2); linux/{filter,seccomp,audit}.h.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

from polyarch.errors import NoRuntime
from polyarch.runtime.configuration import Argument, CallRule, Seccomp
from polyarch.runtime.syscall_numbers import NUMBERS, NUMBERS_OF
from polyarch.syscalls import libseccomp_number

__all__ = ["Handed", "call_number", "compile_filter", "handed_calls", "oci_profile"]

_ALWAYS = """
accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32
clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2
dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64
fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat
fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64
fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64
futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32
geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp
getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit
get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid
getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set
io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self
lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek
lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create
memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect
mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall
munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open
pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl
pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev
pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg
remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe
rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr
sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler
sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64
send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid
setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid
setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt
set_thread_area set_tid_address setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget
shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat
stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee
tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat
utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
"""
ALWAYS = _ALWAYS.split()

_WITH_PTRACE = ("process_vm_readv", "process_vm_writev", "ptrace")
_OF_MACHINE = {
    "x86_64": ("arch_prctl", "modify_ldt"),
    "i386": ("arch_prctl", "modify_ldt"),
    "aarch64": (
        "arm_fadvise64_64",
        "arm_sync_file_range",
        "sync_file_range2",
        "breakpoint",
        "cacheflush",
        "set_tls",
    ),
    "ppc64le": ("sync_file_range2", "swapcontext"),
    "s390x": ("s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr"),
    "riscv64": ("riscv_flush_icache",),
}
_OF_MACHINE["arm"] = _OF_MACHINE["aarch64"]

_AF_ALG, _AF_VSOCK = 38, 40
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_NODE_CALLS = {"mknod": 1, "mknodat": 2}
"""Which calls make nodes, and which of their arguments is the mode."""
_OPEN_CALLS = {"open": 1, "openat": 2}
"""Which calls may make a file, and which of their arguments has the flags."""
_LIMIT_CALLS = {"getrlimit": 0, "ugetrlimit": 0, "setrlimit": 0, "prlimit64": 1}
"""Which calls are about limits, and which of their arguments says which."""
_OWNERS = """
chown chown32 lchown lchown32 fchown fchown32 fchownat
setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32
setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32
getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32
getresgid getresgid32 getgroups getgroups32
stat lstat fstat newfstatat statx stat64 lstat64 fstat64 fstatat64
creat mkdir mkdirat symlink symlinkat execve execveat
setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat
"""
_OWNER_CALLS = _OWNERS.split()
"""What has to do with owners, beside those."""
_KIND = 0o170000
_O_CREAT = 0o100
_RLIMIT_LOCKS = 10
_NEW_NAMESPACES = 0x7E020000
"""The flags of clone that make namespaces: mount, cgroup, UTS, IPC, user, PID, network."""

_ARM_PRIVATE = 0x0F0000
"""From here on 32-bit ARM numbers the calls that it has for itself; none of them is a young one."""

_SIBLINGS = {
    "x86_64": ("x86_64", "i386"),
    "aarch64": ("aarch64", "arm"),
    "s390x": ("s390x", "s390"),
}
_OCI_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    "s390x": ["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
    "mips64": ["SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64N32"],
}
_AUDIT = {
    "x86_64": 0xC000003E,
    "i386": 0x40000003,
    "aarch64": 0xC00000B7,
    "arm": 0x40000028,
    "riscv64": 0xC00000F3,
    "s390x": 0x80000016,
    "s390": 0x00000016,
    "ppc64le": 0xC0000015,
    "loongarch64": 0xC0000102,
}

_LOAD, _JUMP, _EQUAL, _GREATER, _AT_LEAST, _AND, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x54, 0x06
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_LISTENER = 0x7FC00000
_EPERM = 0x00050000 | errno.EPERM
_ENOSYS = 0x00050000 | errno.ENOSYS

Instruction = tuple[int, int, int, int]
"""The operation, how far to jump if true and if false, and the operand."""


class Handed(StrEnum):
    """What a filter hands over to a listener: calls that make nodes of devices, or all that owners are about."""

    NODES = "nodes"
    OWNERS = "owners"


def _machine() -> str:
    return os.uname().machine


def _allowed(machine: str) -> list[str]:
    return [*ALWAYS, *_WITH_PTRACE, *_OF_MACHINE.get(machine, ()), "chroot"]


def oci_profile(machine: str = "") -> Seccomp:
    """Return the profile as the `linux.seccomp` of an OCI configuration."""
    machine = machine or _machine()

    def allowed(name: str, *arguments: Argument) -> CallRule:
        return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": list(arguments)}

    def argument(index: int, value: int, operator: str) -> Argument:
        return {"index": index, "value": value, "op": f"SCMP_CMP_{operator}"}

    flags = 1 if machine == "s390x" else 0
    clone: Argument = {**argument(flags, _NEW_NAMESPACES, "MASKED_EQ"), "valueTwo": 0}
    not_these = [argument(0, family, "NE") for family in (_AF_ALG, _AF_VSOCK)]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.EPERM,
        "architectures": _OCI_ARCHITECTURES.get(machine, []),
        "syscalls": [
            {"names": _allowed(machine), "action": "SCMP_ACT_ALLOW"},
            allowed("socket", *not_these),
            *(allowed("personality", argument(0, each, "EQ")) for each in _PERSONALITIES),
            allowed("clone", clone),
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
        ],
    }


@functools.cache
def compile_filter(
    machine: str = "", *, handed: Handed | None = None, is_open: bool = False
) -> bytes:
    """Return the profile as a BPF program for the kernel.

    `handed` is what a listener decides on (see `nodes` and `owners`); with `is_open` all else is allowed. Raises
    NoRuntime if the numbers of the machine's system calls aren't known here.
    """
    machine = machine or _machine()
    program: list[Instruction] = [(_LOAD, 0, 0, 4)]
    for each in _SIBLINGS.get(machine, (machine,)):
        if each not in _AUDIT:
            raise NoRuntime(f"the system calls of {machine} are not known")
        number = _numbers(each)
        special = _handed(handed, number)
        block = _open_block(special) if is_open else _block(each, number, special)
        program += [(_EQUAL, 1, 0, _AUDIT[each]), (_JUMP, 0, 0, len(block)), *block]
    program.append((_RETURN, 0, 0, _KILL))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def _handed(handed: Handed | None, number: Callable[[str], int]) -> dict[int, list[Instruction]]:
    """Return what decides on the calls of one architecture that are handed over, by their numbers."""
    found: dict[int, list[Instruction]] = {}
    if handed is Handed.NODES:
        found = {number(name): _on_node(mode) for name, mode in _NODE_CALLS.items()}
    elif handed is Handed.OWNERS:
        found = {number(name): _on_open(flags) for name, flags in _OPEN_CALLS.items()}
        found |= {number(name): _on_limit(which) for name, which in _LIMIT_CALLS.items()}
        found |= {number(name): [_give(_LISTENER)] for name in (*_OWNER_CALLS, *_NODE_CALLS)}
    found.pop(-1, None)
    return found


def _open_block(special: dict[int, list[Instruction]]) -> list[Instruction]:
    """Hand over calls of one architecture, allow the others."""
    block = [(_LOAD, 0, 0, 0)]
    for call, decision in special.items():
        block += [(_EQUAL, 0, len(decision), call), *decision]
    return [*block, _give(_ALLOW)]


def _block(
    machine: str, number: Callable[[str], int], handed: dict[int, list[Instruction]]
) -> list[Instruction]:
    """Decide on the calls of one architecture; never falls through its end."""
    known = sorted({number(name) for name in _allowed(machine)} - {-1})
    special = {
        number("clone"): _on_clone(machine),
        number("clone3"): [_give(_ENOSYS)],
        number("socket"): _on_socket(),
        number("personality"): _on_personality(),
    }
    special.pop(-1, None)
    special |= handed
    private = [each for each in known if each >= _ARM_PRIVATE]
    newest = max(*(each for each in known if each < _ARM_PRIVATE), *special)
    block = [(_LOAD, 0, 0, 0)]
    for call in private:
        block += [(_EQUAL, 0, 1, call), _give(_ALLOW)]
    block += [(_GREATER, 0, 1, newest), _give(_ENOSYS)]
    for call, decision in special.items():
        block += [(_EQUAL, 0, len(decision), call), *decision]
    for first, last in _ranges(known[: len(known) - len(private)]):
        block += [
            (_GREATER, 3, 0, last),
            (_AT_LEAST, 0, 1, first),
            _give(_ALLOW),
            _give(_EPERM),
        ]
    return [*block, _give(_EPERM)]


def _give(action: int) -> Instruction:
    return (_RETURN, 0, 0, action)


def _load_argument(index: int) -> Instruction:
    """Load the lower half of an argument; the kernel looks no further for those we ask about."""
    return (_LOAD, 0, 0, 16 + 8 * index + (4 if sys.byteorder == "big" else 0))


def _on_clone(machine: str) -> list[Instruction]:
    return [
        _load_argument(1 if machine.startswith("s390") else 0),
        (_AND, 0, 0, _NEW_NAMESPACES),
        (_EQUAL, 0, 1, 0),
        _give(_ALLOW),
        _give(_EPERM),
    ]


def _on_socket() -> list[Instruction]:
    families = [(_EQUAL, 2, 0, _AF_ALG), (_EQUAL, 1, 0, _AF_VSOCK)]
    return [_load_argument(0), *families, _give(_ALLOW), _give(_EPERM)]


def _on_node(mode: int) -> list[Instruction]:
    kinds = [(_EQUAL, 1, 0, stat.S_IFCHR), (_EQUAL, 0, 1, stat.S_IFBLK)]
    return [
        _load_argument(mode),
        (_AND, 0, 0, _KIND),
        *kinds,
        _give(_LISTENER),
        _give(_ALLOW),
    ]


def _on_open(flags: int) -> list[Instruction]:
    return [
        _load_argument(flags),
        (_AND, 0, 0, _O_CREAT),
        (_EQUAL, 1, 0, 0),
        _give(_LISTENER),
        _give(_ALLOW),
    ]


def _on_limit(which: int) -> list[Instruction]:
    locks = (_EQUAL, 0, 1, _RLIMIT_LOCKS)
    return [_load_argument(which), locks, _give(_LISTENER), _give(_ALLOW)]


def handed_calls(handed: Handed) -> list[list[int | str]]:
    """Return the calls that may be handed over here: architecture, number, name and machine of each."""
    names = tuple(_NODE_CALLS)
    if handed is Handed.OWNERS:
        names = (*names, *_OPEN_CALLS, *_LIMIT_CALLS, *_OWNER_CALLS)
    found: list[list[int | str]] = []
    for each in _SIBLINGS.get(_machine(), (_machine(),)):
        number = _numbers(each)
        numbers = ((number(name), name) for name in names)
        found += [[_AUDIT[each], call, name, each] for call, name in numbers if call >= 0]
    return found


def _on_personality() -> list[Instruction]:
    count = len(_PERSONALITIES)
    tests = [(_EQUAL, count - place, 0, each) for place, each in enumerate(_PERSONALITIES)]
    return [_load_argument(0), *tests, _give(_EPERM), _give(_ALLOW)]


def _ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Join neighbouring numbers, given in order, to ranges: first and last."""
    first = last = -2
    for number in numbers:
        if number == last + 1:
            last = number
            continue
        if last >= 0:
            yield first, last
        first = last = number
    if last >= 0:
        yield first, last


def call_number(name: str) -> int:
    """Return the number of a system call on this machine, below 0 if it has none. Raises NoRuntime."""
    return _numbers(_machine())(name)


def _numbers(machine: str) -> Callable[[str], int]:
    """Return what gives the number of a call by its name, -1 where the machine doesn't have it."""
    if machine in NUMBERS_OF:
        column = NUMBERS_OF.index(machine) + 1
        rows = (line.split() for line in NUMBERS.strip().splitlines())
        table = {row[0]: int(row[column]) for row in rows if row[column] != "-"}
        return lambda name: table.get(name, -1)
    try:
        libseccomp_number(_AUDIT[machine], "read")
    except OSError as error:
        raise NoRuntime(
            f"the system calls of {machine} are not known: libseccomp is not installed",
            hint="install libseccomp2, or runc",
        ) from error
    return lambda name: max(-1, libseccomp_number(_AUDIT[machine], name))
