"""The system calls that Python's `os` lacks, and nothing but them; all of ctypes lives here and in `rawcalls`.

A function is called like its system call, takes what the call takes, and turns errno into an `OSError`
that carries the path. Numbers are used only for calls that are younger than the common numbering of
Linux 5.1, which is the same on every architecture that polyarch runs on. Importing this module costs
some milliseconds (ctypes), so modules on the way to `polyarch version` must not.

Source: the manual pages of section 2, and linux/{mount,prctl,capability,seccomp}.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
from collections.abc import Callable

__all__ = [
    "AT_EMPTY_PATH", "AT_FDCWD", "AT_RECURSIVE", "AT_SYMLINK_NOFOLLOW", "CLONE_NEWCGROUP",
    "CLONE_NEWIPC", "CLONE_NEWNET", "CLONE_NEWNS", "CLONE_NEWPID", "CLONE_NEWUSER", "CLONE_NEWUTS",
    "MNT_DETACH", "MOUNT_ATTR_NODEV", "MOUNT_ATTR_NOEXEC", "MOUNT_ATTR_NOSUID", "MOUNT_ATTR_RDONLY",
    "MOUNT_ATTR_STRICTATIME", "MS_BIND", "MS_NODEV", "MS_NOEXEC", "MS_NOSUID", "MS_PRIVATE",
    "MS_RDONLY", "MS_REC", "MS_REMOUNT", "MS_SLAVE", "OPEN_TREE_CLONE", "RESOLVE_BENEATH",
    "RESOLVE_IN_ROOT", "RESOLVE_NO_MAGICLINKS", "RESOLVE_NO_SYMLINKS", "RESOLVE_NO_XDEV",
    "capability_bounding_drop", "capget", "capset", "clone", "fork_bare", "fsconfig_create",
    "fsconfig_flag", "fsconfig_string", "fsmount", "fsopen", "in_initial_user_namespace",
    "libseccomp_number", "mount", "mount_setattr", "move_mount", "open_tree", "openat2",
    "pivot_root", "prctl", "seccomp_filter", "seccomp_listener", "set_ambient_capability",
    "set_child_subreaper", "set_parent_death_signal", "setfsgid", "setfsuid", "sethostname",
    "setns", "syncfs", "umount2", "unshare",
]  # fmt: skip

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_SYMLINK_NOFOLLOW = 0x100
AT_RECURSIVE = 0x8000

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4
MOUNT_ATTR_NOEXEC = 8
MOUNT_ATTR_STRICTATIME = 0x20

OPEN_TREE_CLONE = 1

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_CLONE_PIDFD = 0x00001000
_CLONE_INTO_CGROUP = 1 << 33

# libc has no functions for these (glibc 2.36 has the first of them), and all architectures number them alike:
# they came after Linux 5.1.
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_FSOPEN = 430
_SYS_FSCONFIG = 431
_SYS_FSMOUNT = 432
_SYS_CLONE3 = 435
_SYS_OPENAT2 = 437
_SYS_MOUNT_SETATTR = 442

_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOVE_MOUNT_T_EMPTY_PATH = 0x40

_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_SECCOMP_MODE_FILTER = 2
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_NEW_LISTENER = 1 << 3
_SECCOMP_WAIT_KILLABLE = 1 << 5
_CAPABILITY_VERSION_3 = 0x20080522
_INITIAL_USER_NAMESPACE = 0xEFFFFFFD
"""The inode of the user namespace that exists from the start (PROC_USER_INIT_INO of Linux)."""

Path = str | bytes | os.PathLike[str]

# The one gives up the interpreter's lock for each call, as calls may wait; the other holds it, which forking needs:
# a child that is made while another thread has it would never get it.
_libc = ctypes.CDLL(None, use_errno=True)
_locked = ctypes.PyDLL(None, use_errno=True)
_LONG, _TEXT, _POINTER = ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p

_OPEN_HOW = struct.Struct("=3Q")
"""`struct open_how`: flags, mode, rules."""
_MOUNT_ATTR = struct.Struct("=4Q")
"""`struct mount_attr`: what is set, what is cleared, propagation, a user namespace."""


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


class _SockFprog(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class _CloneArguments(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            *("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack"),
            *("stack_size", "tls", "set_tid", "set_tid_size", "cgroup"),
        )
    )


def _check(result: int, path: Path = "", target: Path | None = None) -> int:
    """Return `result`, or raise the OSError of errno, naming the paths that were given."""
    if result >= 0:
        return result
    number = ctypes.get_errno()
    text = os.strerror(number)
    if target is not None:
        raise OSError(number, text, os.fsdecode(path), None, os.fsdecode(target))
    raise OSError(number, text, os.fsdecode(path)) if path else OSError(number, text)


def _system_call(*types: type, library: ctypes.CDLL = _libc) -> Callable[..., int]:
    """Return libc's syscall for arguments of these types, of which the first is the number of the call.

    Types that are known beforehand halve the time that a call takes. Whole numbers are C longs, or the upper
    halves of registers would be garbage.
    """
    function = library["syscall"]  # a new object each time, unlike an attribute
    function.restype = _LONG
    function.argtypes = types
    return function


_call_clone3 = _system_call(_LONG, _POINTER, _LONG, library=_locked)
_call_seccomp = _system_call(_LONG, _LONG, _LONG, _POINTER)
_call_fsopen = _system_call(_LONG, _TEXT, _LONG)
_call_fsconfig = _system_call(_LONG, _LONG, _LONG, _TEXT, _TEXT, _LONG)
_call_fsmount = _system_call(_LONG, _LONG, _LONG, _LONG)
_call_move_mount = _system_call(_LONG, _LONG, _TEXT, _LONG, _TEXT, _LONG)
_call_open_tree = _system_call(_LONG, _LONG, _TEXT, _LONG)
_call_mount_setattr = _system_call(_LONG, _LONG, _TEXT, _LONG, _POINTER, _LONG)
_call_openat2 = _system_call(_LONG, _LONG, _TEXT, _POINTER, _LONG)


def mount(
    source: Path, target: Path, fstype: str = "", flags: int = 0, data: str | bytes = ""
) -> None:
    """Mount `source` on `target`; `data` is the option string, at most a page."""
    _check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            fstype.encode() or None,
            ctypes.c_ulong(flags),
            os.fsencode(data) or None,
        ),
        target,
    )


def umount2(target: Path, flags: int = 0) -> None:
    """Unmount what is mounted on `target`."""
    _check(_libc.umount2(os.fsencode(target), flags), target)


def unshare(flags: int) -> None:
    """Move the caller into new namespaces; CLONE_NEWPID only concerns its later children."""
    _check(_libc.unshare(flags))


def in_initial_user_namespace() -> bool:
    """Tell whether the caller is in the user namespace that the whole machine shares."""
    return os.stat("/proc/self/ns/user").st_ino == _INITIAL_USER_NAMESPACE


def setns(fd: int, nstype: int = 0) -> None:
    """Move the caller into the namespace that `fd` refers to."""
    _check(_libc.setns(fd, nstype))


def pivot_root(new_root: Path, put_old: Path) -> None:
    """Make `new_root` the root of the mount namespace and put the old one at `put_old`."""
    _check(_libc.pivot_root(os.fsencode(new_root), os.fsencode(put_old)), new_root)


def sethostname(name: str) -> None:
    """Set the host name of the caller's UTS namespace."""
    encoded = name.encode()
    # ctypes passes a whole number as a C int, and the upper half of the register would be anything.
    _check(_libc.sethostname(encoded, ctypes.c_size_t(len(encoded))))


def syncfs(fd: int) -> None:
    """Write out everything of the file system that holds `fd`."""
    _check(_libc.syncfs(fd))


def prctl(option: int, *arguments: int) -> int:
    """Call prctl with up to four whole numbers, the missing ones being 0."""
    # What isn't used must be 0: the kernel refuses some options otherwise.
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return _check(_libc.prctl(option, *(ctypes.c_ulong(number) for number in padded)))


def set_parent_death_signal(signal: int) -> None:
    """Have `signal` sent to the caller when the *thread* that forked it ends; cleared by fork."""
    prctl(_PR_SET_PDEATHSIG, signal)


def set_child_subreaper() -> None:
    """Have orphaned descendants become the caller's children rather than init's."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def capability_bounding_drop(capability: int) -> None:
    """Take `capability` out of the bounding set, for good."""
    prctl(_PR_CAPBSET_DROP, capability)


def set_ambient_capability(capability: int) -> None:
    """Add `capability`, which must be permitted and inheritable, to the ambient set."""
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def capget() -> tuple[int, int, int]:
    """Return the caller's effective, permitted and inheritable capabilities as bit sets."""
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)()
    _check(_libc.capget(ctypes.byref(header), ctypes.byref(data)))
    # Version 3 has 64 bits in two structures, of which the first has the lower halves.
    low, high = data
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the caller's capabilities, given as bit sets."""
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    low = 0xFFFFFFFF
    data = (_CapabilityData * 2)(
        _CapabilityData(effective & low, permitted & low, inheritable & low),
        _CapabilityData(effective >> 32, permitted >> 32, inheritable >> 32),
    )
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(data)))


def seccomp_filter(program: bytes) -> None:
    """Load a BPF program (`struct sock_filter`s of 8 bytes each) as the caller's seccomp filter.

    Needs CAP_SYS_ADMIN in the caller's user namespace, or no_new_privs.
    """
    pointer = ctypes.byref(_SockFprog(len(program) // 8, program))
    _check(_libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), pointer, _LONG(0)))


def fork_bare() -> int:
    """Fork as `os.fork` does, but have none of Python's modules put themselves right in the child.

    For a process with a single thread, whose child starts none: there is nothing to be put right. What
    `threading` does nevertheless writes to 125 pages, which takes half a millisecond to copy. The
    interpreter's lock is held all the while, as by `os.fork`.
    """
    return _check(_locked.fork())


def clone(flags: int = 0, *, cgroup: int | None = None) -> tuple[int, int]:
    """Fork as `fork_bare` does, the child in new namespaces (CLONE_NEW...) or another cgroup from the start.

    None has to be moved into a cgroup, which makes the whole machine wait; `cgroup` is the descriptor of its
    directory. Returns the process id, 0 in the child, and a descriptor of the process, closed on exec.
    """
    process = ctypes.c_int(-1)
    arguments = _CloneArguments()
    arguments.flags = flags | _CLONE_PIDFD | (0 if cgroup is None else _CLONE_INTO_CGROUP)
    arguments.pidfd = ctypes.addressof(process)
    # Without it nobody hears of the child's end but by its descriptor, and waitpid ignores it.
    arguments.exit_signal = signal.SIGCHLD
    # Read with CLONE_INTO_CGROUP only.
    arguments.cgroup = cgroup or 0
    size = ctypes.sizeof(arguments)
    try:
        pid = _check(_call_clone3(_SYS_CLONE3, ctypes.byref(arguments), size))
    except OSError as error:
        if error.errno != errno.ENOSYS or flags or cgroup is not None:
            raise
        # Docker's filter wants older calls, whose arguments it can look at.
        pid = fork_bare()
        return pid, os.pidfd_open(pid) if pid else -1
    return pid, process.value


def seccomp_listener(number: int, program: bytes) -> int:
    """Load a filter as `seccomp_filter` does; return the descriptor that calls are handed to.

    A call that was taken up isn't broken off by signals (Linux 5.19). `number` is seccomp's own.
    """
    pointer = ctypes.byref(_SockFprog(len(program) // 8, program))
    flags = _SECCOMP_NEW_LISTENER | _SECCOMP_WAIT_KILLABLE
    found = _call_seccomp(number, _SECCOMP_SET_MODE_FILTER, flags, pointer)
    # Before Linux 5.19 there is no such flag, and the whole call is refused.
    if found < 0:
        found = _call_seccomp(number, _SECCOMP_SET_MODE_FILTER, _SECCOMP_NEW_LISTENER, pointer)
    return _check(found)


def setfsuid(uid: int) -> None:
    """Set the user that the caller's file accesses are checked for; it is not told if that fails."""
    _libc.setfsuid(ctypes.c_uint32(uid))


def setfsgid(gid: int) -> None:
    """Set the group that the caller's file accesses are checked for; it is not told if that fails."""
    _libc.setfsgid(ctypes.c_uint32(gid))


def fsopen(fstype: str) -> int:
    """Start to configure a file system; returns a file descriptor, closed on exec."""
    return _check(_call_fsopen(_SYS_FSOPEN, fstype.encode(), _FSOPEN_CLOEXEC), fstype)


def _fsconfig(fd: int, command: int, key: str | None, value: bytes | None, extra: int) -> None:
    encoded = key.encode() if key is not None else None
    _check(_call_fsconfig(_SYS_FSCONFIG, fd, command, encoded, value, extra), key or "")


def fsconfig_string(fd: int, key: str, value: Path) -> None:
    """Set a parameter of the file system that is being configured."""
    _fsconfig(fd, _FSCONFIG_SET_STRING, key, os.fsencode(value), 0)


def fsconfig_flag(fd: int, key: str) -> None:
    """Set a parameter that has no value."""
    _fsconfig(fd, _FSCONFIG_SET_FLAG, key, None, 0)


def fsconfig_create(fd: int) -> None:
    """Make the file system out of what was configured."""
    _fsconfig(fd, _FSCONFIG_CMD_CREATE, None, None, 0)


def fsmount(fd: int, attributes: int = 0) -> int:
    """Make a detached mount of a configured file system (MOUNT_ATTR_*); returns its descriptor."""
    return _check(_call_fsmount(_SYS_FSMOUNT, fd, _FSMOUNT_CLOEXEC, attributes))


def move_mount(from_fd: int, target: Path, to_fd: int = AT_FDCWD) -> None:
    """Attach the mount of `from_fd` to `target`, relative to `to_fd`, which it is if empty."""
    # An empty name stands for the descriptor itself, which the kernel only believes if it is told so.
    name = os.fsencode(target)
    flags = _MOVE_MOUNT_F_EMPTY_PATH | (0 if name else _MOVE_MOUNT_T_EMPTY_PATH)
    _check(_call_move_mount(_SYS_MOVE_MOUNT, from_fd, b"", to_fd, name, flags), target)


def open_tree(path: Path, flags: int = OPEN_TREE_CLONE, dir_fd: int = AT_FDCWD) -> int:
    """Open the mount at `path`; with OPEN_TREE_CLONE a detached copy (AT_RECURSIVE: all below)."""
    flags |= os.O_CLOEXEC
    return _check(_call_open_tree(_SYS_OPEN_TREE, dir_fd, os.fsencode(path), flags), path)


def mount_setattr(
    path: Path,
    flags: int = 0,
    *,
    dir_fd: int = AT_FDCWD,
    attr_set: int = 0,
    attr_clr: int = 0,
    propagation: int = 0,
) -> None:
    """Change the attributes of the mount at `path`, or with AT_RECURSIVE of all below it, too."""
    # The size tells the kernel which version of the structure this is: it takes older ones for good.
    name, attr = os.fsencode(path), _MOUNT_ATTR.pack(attr_set, attr_clr, propagation, 0)
    _check(
        _call_mount_setattr(_SYS_MOUNT_SETATTR, dir_fd, name, flags, attr, _MOUNT_ATTR.size), path
    )


def openat2(dir_fd: int, path: Path, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """Open `path` relative to `dir_fd` with rules for its resolution (RESOLVE_*); closed on exec."""
    how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, mode, resolve)
    return _check(_call_openat2(_SYS_OPENAT2, dir_fd, os.fsencode(path), how, _OPEN_HOW.size), path)


def libseccomp_number(architecture: int, name: str) -> int:
    """Ask libseccomp for the number of a call (below 0: none); OSError if it isn't installed."""
    resolve = ctypes.CDLL("libseccomp.so.2").seccomp_syscall_resolve_name_arch
    return int(resolve(ctypes.c_uint32(architecture), name.encode()))
