"""A step's first process, from its new namespaces to exec: mounts, devices, limits, privileges.

What comes in is an OCI configuration; what can't be done ends as a `Refused`. Every target is looked up
inside the root (openat2 with RESOLVE_IN_ROOT), for the root is whatever an image says: its /proc may be
a link to elsewhere. There is no device cgroup: instead all is mounted `nodev` but the few devices, each
of which is a mount of its own, so that a node that a step makes (it has CAP_MKNOD) opens nothing.

Order matters: the filter of system calls is loaded while CAP_SYS_ADMIN is still there, which makes
no_new_privs unnecessary (setuid programs go on to work), and after everything that it forbids.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
import stat
from collections.abc import Iterable
from typing import Any, NoReturn

from polyarch import syscalls
from polyarch.errors import InputError
from polyarch.inroot import read_small
from polyarch.runtime.spec import CAPABILITIES

__all__ = ["Refused", "become", "make_nodes"]

Json = dict[str, Any]

_MS_STRICTATIME = 1 << 24
_FLAGS = {
    "ro": syscalls.MS_RDONLY,
    "nosuid": syscalls.MS_NOSUID,
    "nodev": syscalls.MS_NODEV,
    "noexec": syscalls.MS_NOEXEC,
    "strictatime": _MS_STRICTATIME,
}
_ATTRIBUTES = {
    "ro": syscalls.MOUNT_ATTR_RDONLY,
    "nosuid": syscalls.MOUNT_ATTR_NOSUID,
    "nodev": syscalls.MOUNT_ATTR_NODEV,
    "noexec": syscalls.MOUNT_ATTR_NOEXEC,
}
_NO_DATA = frozenset({"rw", "bind", "rbind", *_FLAGS})
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_PR_SET_KEEPCAPS = 8
_RLIMIT_LOCKS = 10
"""Which Python has no name for."""
_MOST = (1 << 63) - 1
_MAX_PASSWD = 16 << 20
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_TIOCSPTLCK = 0x40045431
_TIOCGPTN = 0x80045430


class Refused(Exception):
    """The step can't be started; the text says why. Never leaves the sandbox as an exception."""


def become(
    config: Json,
    seccomp: bytes,
    streams: tuple[int, ...],
    reporter: int,
    channel: socket.socket,
) -> NoReturn:
    """Turn the calling process, PID 1 of the step's namespaces, into the step's.

    `streams` are its standard output and error, and its input if it has one; no other descriptor but
    `reporter`, which exec closes, stays open. `channel` leads to the engine, which gets the other end
    of the step's terminal. Raises Refused.
    """
    process = config["process"]
    linux = config["linux"]
    insecure = "ambient" in process["capabilities"] and bool(process["capabilities"]["ambient"])
    try:
        _set_streams(streams, process["user"]["uid"])
        syscalls.sethostname(config["hostname"])
        if any(each["type"] == "network" for each in linux["namespaces"]):
            _raise_loopback()
        _enter_root(config, insecure=insecure)
        _enter_folder(process["cwd"])
        _set_limits(process["rlimits"])
        os.umask(process["user"].get("umask", 0o022))
        if process["terminal"]:
            _open_terminal(process, channel)
        elif len(streams) < 3:
            null = os.open("/dev/null", os.O_RDONLY)
            os.dup2(null, 0)
            os.close(null)
        os.closerange(3, reporter)
        os.closerange(reporter + 1, 1 << 20)
        _drop_privileges(process, seccomp)
    except OSError as error:
        raise Refused(f"the step's surroundings can't be made: {error}") from error
    _execute(process["args"], _environment(process))


def _set_limits(limits: Iterable[Json]) -> None:
    """Set resource limits. Raises Refused."""
    for limit in limits:
        number = (
            _RLIMIT_LOCKS if limit["type"] == "RLIMIT_LOCKS" else getattr(resource, limit["type"])
        )
        soft, hard = (-1 if each > _MOST else each for each in (limit["soft"], limit["hard"]))
        try:
            resource.setrlimit(number, (soft, hard))
        except (OSError, ValueError) as error:  # Python makes the latter of EPERM
            name = limit["type"].removeprefix("RLIMIT_").lower()
            most = resource.getrlimit(number)[1]
            raise Refused(
                f"ulimit {name}={soft}:{hard} can't be set: the hard limit is {most} here, and only "
                "root of the machine may raise it, as far as the kernel goes"
            ) from error


def _set_streams(streams: tuple[int, ...], uid: int) -> None:
    """Make the pipes standard output, error and input, owned by the user, who may open them anew."""
    os.setsid()
    for number, stream in zip((1, 2, 0), streams, strict=False):
        os.dup2(stream, number)
        try:
            os.fchown(number, uid, -1)
        except OSError:  # an id that isn't mapped can't own anything
            continue


def _open_terminal(process: Json, channel: socket.socket) -> None:
    """Open a terminal of the step's own /dev/pts, make it all its streams, and hand out the other end."""
    import fcntl  # noqa: PLC0415 for programs that people talk to only
    import struct  # noqa: PLC0415
    import termios  # noqa: PLC0415

    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    (number,) = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, bytes(4)))
    terminal = os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_CLOEXEC)
    size = process["consoleSize"]
    fcntl.ioctl(
        terminal, termios.TIOCSWINSZ, struct.pack("4H", size["height"], size["width"], 0, 0)
    )
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for stream in range(3):
        os.dup2(terminal, stream)
    with contextlib.suppress(OSError):  # an id that isn't mapped can't own anything
        os.fchown(terminal, process["user"]["uid"], -1)
    socket.send_fds(channel, [b" "], [master])
    os.close(master)
    os.close(terminal)


def _raise_loopback() -> None:
    """Bring up the one interface of a new network."""
    import fcntl  # noqa: PLC0415 for steps without a network only
    import struct  # noqa: PLC0415

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
        fcntl.ioctl(anything, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))


# --- the root ---


def _enter_root(config: Json, *, insecure: bool) -> None:
    """Mount everything below the root file system and make it the root."""
    path = config["root"]["path"]
    syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
    tree = syscalls.open_tree(path, syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE)
    if not insecure:
        nodev = syscalls.MOUNT_ATTR_NODEV
        syscalls.mount_setattr(
            "", syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE, dir_fd=tree, attr_set=nodev
        )
    syscalls.move_mount(tree, path)
    os.close(tree)
    root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for mount in config["mounts"]:
        _mount(root, mount)
        if mount["destination"] == "/dev":
            _fill_dev(root, config["linux"]["devices"])
    if not insecure:
        _confine_dev(root)
    _hide(root, config["linux"]["maskedPaths"])
    _freeze(root, config["linux"]["readonlyPaths"])
    os.fchdir(root)
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".", syscalls.MNT_DETACH)
    os.chdir("/")
    os.close(root)


def _open(root: int, path: str) -> int:
    """Open a path inside the root, following links as the step would."""
    relative = path.lstrip("/") or "."
    return syscalls.openat2(root, relative, os.O_PATH, resolve=syscalls.RESOLVE_IN_ROOT)


def _open_target(root: int, path: str, *, is_folder: bool) -> int:
    """Open a mount point; one that is missing below another mount (a cache, say) is made."""
    try:
        return _open(root, path)
    except FileNotFoundError:
        parent, name = os.path.split(path.rstrip("/"))
        folder = _open_target(root, parent, is_folder=True)
        try:
            place = f"/proc/self/fd/{folder}/{name}"
            if is_folder:
                os.mkdir(place, 0o755)
            else:
                os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        finally:
            os.close(folder)
        return _open(root, path)


def _mount(root: int, mount: Json) -> None:
    """Mount one entry of the configuration; what a user namespace refuses is replaced or left out."""
    target, kind, options = mount["destination"], mount["type"], mount["options"]
    if "rbind" in options:
        _bind(root, mount["source"], target, options)
        return
    try:
        _mount_new(root, target, kind, mount["source"], options)
    except OSError as error:
        if kind == "sysfs" and error.errno == errno.EPERM:
            _bind(root, "/sys", target, options)
        elif kind == "cgroup2" and error.errno in {errno.EPERM, errno.EBUSY}:
            _mount_new(root, target, "tmpfs", "tmpfs", ("nosuid", "nodev", "noexec", "ro"))
        elif kind != "mqueue":
            raise


def _mount_new(root: int, target: str, kind: str, source: str, options: Iterable[str]) -> None:
    flags = sum(_FLAGS[option] for option in options if option in _FLAGS)
    data = ",".join(option for option in options if option not in _NO_DATA)
    place = _open_target(root, target, is_folder=True)
    try:
        syscalls.mount(source, f"/proc/self/fd/{place}", kind, flags, data)
    finally:
        os.close(place)


def _bind(root: int, source: str, target: str, options: Iterable[str]) -> None:
    """Mount what is at `source`, with all below it, at `target`."""
    attributes = sum(_ATTRIBUTES[option] for option in options if option in _ATTRIBUTES)
    tree = syscalls.open_tree(source, syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE)
    try:
        if attributes:
            syscalls.mount_setattr(
                "",
                syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE,
                dir_fd=tree,
                attr_set=attributes,
            )
        is_folder = stat.S_ISDIR(os.fstat(tree).st_mode)
        place = _open_target(root, target, is_folder=is_folder)
        try:
            syscalls.move_mount(tree, "", place)
        finally:
            os.close(place)
    finally:
        os.close(tree)


def make_nodes(folder: str, devices: Iterable[Json]) -> None:
    """Make device nodes, whose paths begin with /dev, in `folder`. Raises PermissionError."""
    umask = os.umask(0)
    try:
        for device in devices:
            path = folder + device["path"].removeprefix("/dev")
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            kind = stat.S_IFBLK if device["type"] == "b" else stat.S_IFCHR
            number = os.makedev(device["major"], device["minor"])
            os.mknod(path, kind | device["fileMode"], number)
            if device["uid"] or device["gid"]:
                os.chown(path, device["uid"], device["gid"])
    finally:
        os.umask(umask)


def _fill_dev(root: int, devices: list[Json]) -> None:
    """Make the devices and links of /dev; devices that can't be made are taken from ours."""
    dev = _open(root, "/dev")
    folder = f"/proc/self/fd/{dev}"
    try:
        make_nodes(folder, devices)
    except PermissionError:
        for device in devices:
            _bind(root, device["path"], device["path"], ())
    else:
        for device in devices:
            # Mounted on itself, so that /dev can become `nodev`.
            _bind(root, folder + device["path"].removeprefix("/dev"), device["path"], ())
    for name, to in _LINKS.items():
        os.symlink(to, f"{folder}/{name}")
    if os.path.exists("/proc/kcore"):
        os.symlink("/proc/kcore", f"{folder}/core")
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(f"{folder}/{name}", 0o755)
    os.close(dev)


def _confine_dev(root: int) -> None:
    dev = _open(root, "/dev")
    syscalls.mount_setattr(
        "", syscalls.AT_EMPTY_PATH, dir_fd=dev, attr_set=syscalls.MOUNT_ATTR_NODEV
    )
    os.close(dev)


def _hide(root: int, paths: Iterable[str]) -> None:
    """Put nothing in the place of files and folders."""
    for path in paths:
        try:
            place = _open(root, path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        is_folder = stat.S_ISDIR(os.fstat(place).st_mode)
        os.close(place)
        if is_folder:
            _mount_new(root, path, "tmpfs", "tmpfs", ("ro", "nosuid", "nodev", "noexec", "size=0"))
        else:
            _bind(root, "/dev/null", path, ("ro",))


def _freeze(root: int, paths: Iterable[str]) -> None:
    """Make paths read-only."""
    for path in paths:
        try:
            place = _open(root, path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        _bind(root, f"/proc/self/fd/{place}", path, ("ro", "nosuid", "nodev", "noexec"))
        os.close(place)


def _enter_folder(path: str) -> None:
    """Go to the working directory, which is made if it is missing."""
    os.makedirs(path, 0o755, exist_ok=True)
    os.chdir(path)


# --- privileges ---


def _bits(names: Iterable[str]) -> int:
    return sum(1 << CAPABILITIES.index(name.removeprefix("CAP_")) for name in names)


def _drop_privileges(process: Json, seccomp: bytes) -> None:
    """Keep the capabilities of the configuration and no others, and become its user."""
    capabilities = process["capabilities"]
    user = process["user"]
    for number in range(len(CAPABILITIES)):
        if f"CAP_{CAPABILITIES[number]}" not in capabilities["bounding"]:
            _drop_bounding(number)
    if seccomp:
        syscalls.seccomp_filter(seccomp)
    if capabilities["ambient"]:
        syscalls.prctl(_PR_SET_KEEPCAPS, 1)
    try:
        os.setgroups(user["additionalGids"])
    except PermissionError:
        # With a single mapped id the kernel forbids it, and there is nothing to set.
        if user["additionalGids"]:
            raise
    os.setresgid(user["gid"], user["gid"], user["gid"])
    os.setresuid(user["uid"], user["uid"], user["uid"])
    inherited = _bits(capabilities["inheritable"])
    if user["uid"] == 0 or inherited:
        effective, permitted = _bits(capabilities["effective"]), _bits(capabilities["permitted"])
        syscalls.capset(effective, permitted, inherited)
    for name in capabilities["ambient"]:
        syscalls.set_ambient_capability(CAPABILITIES.index(name.removeprefix("CAP_")))


def _drop_bounding(number: int) -> None:
    try:
        syscalls.capability_bounding_drop(number)
    except OSError as error:
        if error.errno != errno.EINVAL:  # this kernel has no such capability
            raise


# --- exec ---


def _environment(process: Json) -> dict[bytes, bytes]:
    """Return the environment, with the HOME of /etc/passwd if none is given."""
    pairs = (os.fsencode(each).partition(b"=")[::2] for each in process["env"])
    environment = dict(pairs)
    environment.setdefault(b"HOME", _home(process["user"]["uid"]))
    return environment


def _home(uid: int) -> bytes:
    """Find the home of a user in the root's /etc/passwd, which may be missing or anything."""
    try:
        for line in read_small("/etc/passwd", _MAX_PASSWD, "file of users").split(b"\n"):
            fields = line.split(b":")
            if len(fields) > 5 and fields[2] == b"%d" % uid:
                return fields[5] or b"/"
    except (OSError, InputError):
        pass
    return b"/"


def _execute(argv: list[str], environment: dict[bytes, bytes]) -> NoReturn:
    """Replace the process by the step's program, looked up on its own PATH."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    name = os.fsencode(argv[0])
    folders = [b""] if b"/" in name else environment.get(b"PATH", b"").split(b":")
    words = [os.fsencode(each) for each in argv]
    found: OSError | None = None
    for folder in folders:
        try:
            os.execve(os.path.join(folder, name), words, environment)  # noqa: S606 no shell is what we want
        except (FileNotFoundError, NotADirectoryError) as error:
            missing = error
        except OSError as error:
            found = found or error
    if found is None and b"/" not in name:
        raise Refused(f'exec: "{argv[0]}": executable file not found in $PATH')
    reason = os.strerror((found or missing).errno or 0).lower()
    raise Refused(f"exec {argv[0]}: {reason}")
