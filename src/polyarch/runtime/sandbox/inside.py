"""A step's first process, from its new namespaces to exec: root, streams, limits, privileges.

What comes in is an OCI configuration; what can't be done ends as a `Refused`. Nothing of the image is
looked at while a descriptor of ours is open that leads anywhere: those for the step's streams and two pipes
are all that is kept, from the first line on. The root is the business of `mounting`; the working directory
is opened below it, entered by its descriptor, and must be there (getcwd).

Order matters: the filter of system calls is loaded while CAP_SYS_ADMIN is still there, which makes
no_new_privs unnecessary (setuid programs go on to work), and after everything that it forbids.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import socket
import stat
import struct
import sys
import termios
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NoReturn

from polyarch import syscalls
from polyarch.record import frozen
from polyarch.runtime.base import Refused
from polyarch.runtime.capability import CAPABILITIES
from polyarch.runtime.configuration import Limit, Plan, Process
from polyarch.runtime.sandbox.descriptors import close_all_but
from polyarch.runtime.sandbox.mounting import Entered, change_root, enter_root, joined_root
from polyarch.runtime.sandbox.plan import HANDED_PROCESS, HANDED_TERMINAL
from polyarch.runtime.sandbox.program import start_program

__all__ = ["Lines", "become"]

_PR_SET_KEEPCAPS = 8
_RLIMIT_LOCKS = 10
"""Which Python has no name for."""
_PASSWD_LIMIT = 1 << 20
_MOST = (1 << 63) - 1
"""The greatest limit that setrlimit takes as a number; what is beyond means that there is none."""
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_TIOCSPTLCK = 0x40045431
_TIOCGPTN = 0x80045430


@frozen
class Lines:
    """Where the step's first process tells something, each of which is gone before its program starts.

    `reporter` takes what refuses the step, and is closed by exec. `engine` gets the other end of the step's
    terminal, `listening` the listener of the step's filter, if there is one.
    """

    reporter: int
    engine: socket.socket
    listening: socket.socket | None

    def descriptors(self) -> list[int]:
        """Return all of them."""
        listening = [] if self.listening is None else [self.listening.fileno()]
        return [self.reporter, self.engine.fileno(), *listening]


def become(
    plan: Plan,
    streams: tuple[int, ...],
    lines: Lines,
    own_program: os.stat_result | None = None,
) -> NoReturn:
    """Turn the calling process, PID 1 of the step's namespaces or beside that, into the step's.

    `streams` are its standard output and error, and its input if it has one; no other descriptor stays
    open. Raises Refused.
    """
    config = plan["config"]
    process = config["process"]
    # Asked while /proc is still the machine's: the step's own may say anything.
    own_program = own_program or os.stat("/proc/self/exe")
    # From here on the files that Python knows are those of the image.
    sys.meta_path.clear()
    try:
        _set_streams(streams, process["user"]["uid"])
        # Twice: what the keeper left open must be gone before the root is looked at, and what looking at
        # the root has opened before its working directory is.
        close_all_but(0, 1, 2, *lines.descriptors())
        entered = joined_root() if plan.get("beside") else _enter(plan)
        if process["terminal"]:
            _open_terminal(process, entered.dev, lines.engine)
        elif len(streams) < 3:
            _read_null(entered.dev)
        close_all_but(0, 1, 2, *lines.descriptors(), entered.root)
        _enter_directory(entered.root, process["cwd"])
        os.close(entered.root)
        _set_limits(process["rlimits"])
        if plan.get("announced"):
            _announce(lines.engine)
        # Last of all: everything above needs what is given up here.
        os.umask(process["user"].get("umask", 0o022))
        _drop_privileges(plan, lines.listening)
        close_all_but(0, 1, 2, lines.reporter)
    except OSError as error:
        raise Refused(f"the step's surroundings can't be made: {error}") from error
    start = partial(start_program, own=own_program, is_alone=not plan.get("beside"))
    _execute(process["args"], _environment(process), start)


def _enter(plan: Plan) -> Entered:
    """Make the surroundings of a step that has its own."""
    config = plan["config"]
    if any(each["type"] == "uts" for each in config["linux"]["namespaces"]):
        with contextlib.suppress(PermissionError):  # by a filter around ours, as podman's
            syscalls.sethostname(config["hostname"])
    networks = [each for each in config["linux"]["namespaces"] if each["type"] == "network"]
    if any("path" not in each for each in networks):
        _raise_loopback()
    if plan.get("chroot"):
        return change_root(config["root"]["path"])
    return enter_root(config, nodev=plan["nodev"])


def _announce(engine: socket.socket) -> None:
    """Hand out a descriptor of this process: of that and no other, whatever becomes of its number."""
    process = os.pidfd_open(os.getpid())
    socket.send_fds(engine, [HANDED_PROCESS], [process])
    os.close(process)


def _set_limits(limits: Iterable[Limit]) -> None:
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
    """Make the pipes standard output, error and input, owned by the user, who may open them anew.

    An input that isn't given is one that has ended, for now.
    """
    # A session of its own: a signal from our terminal isn't the step's.
    os.setsid()
    ended, writer = os.pipe()
    os.close(writer)
    for number, stream in zip((0, 1, 2, 0), (ended, *streams), strict=False):
        os.dup2(stream, number)
        with contextlib.suppress(OSError):  # an id that isn't mapped can't own anything
            os.fchown(number, uid, -1)


def _read_null(dev: int) -> None:
    """Make the step's own /dev/null its input, unless something else stands for that."""
    # Nothing waits and nothing is followed: a mount of the user's may have put a pipe or a link there.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
    with contextlib.suppress(OSError):
        if os.stat("null", dir_fd=dev, follow_symlinks=False).st_rdev == os.makedev(1, 3):
            null = os.open("null", flags, dir_fd=dev)
            os.set_blocking(null, True)
            os.dup2(null, 0)
            os.close(null)


def _open_terminal(process: Process, dev: int, channel: socket.socket) -> None:
    """Open a terminal of the step's own /dev/pts, make it all its streams, and hand out the other end."""
    # By the descriptor of the mount just made, so that the terminal is the step's and never one of ours.
    straight = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS
    flags = os.O_RDWR | os.O_NOCTTY
    master = syscalls.openat2(dev, "pts/ptmx", flags, resolve=straight)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    (number,) = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, bytes(4)))
    terminal = syscalls.openat2(dev, f"pts/{number}", flags, resolve=straight)
    size = process["consoleSize"]
    fcntl.ioctl(
        terminal, termios.TIOCSWINSZ, struct.pack("4H", size["height"], size["width"], 0, 0)
    )
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for stream in range(3):
        os.dup2(terminal, stream)
    with contextlib.suppress(OSError):  # an id that isn't mapped can't own anything
        os.fchown(terminal, process["user"]["uid"], -1)
    socket.send_fds(channel, [HANDED_TERMINAL], [master])
    os.close(master)
    os.close(terminal)


def _raise_loopback() -> None:
    """Bring up the one interface of a new network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
        fcntl.ioctl(anything, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))


# --- the working directory ---


def _enter_directory(root: int, path: str) -> None:
    """Go to the working directory, which is made if it is missing. Raises Refused.

    It must be found without the links of /proc that lead to what other processes have open, and it must
    lie below the root: the kernel tells by the path that it gives for it.
    """
    try:
        directory = _open_directory(root, path.strip("/"))
        os.fchdir(directory)
        os.close(directory)
        inside = os.getcwd().startswith("/")
    except OSError as error:
        magic = " (it may not lead through links of /proc)" if error.errno == errno.ELOOP else ""
        raise Refused(
            f"the working directory {path} can't be entered: {error.strerror}{magic}"
        ) from error
    if not inside:
        raise Refused(f"the working directory {path} is not in the root file system of the step")


def _open_directory(root: int, path: str) -> int:
    resolve = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        return syscalls.openat2(root, path or ".", flags, resolve=resolve)
    except FileNotFoundError:
        if not path:
            raise
        parent, _, name = path.rpartition("/")
        directory = _open_directory(root, parent)
        try:
            with contextlib.suppress(FileExistsError):  # another step has the same cache
                os.mkdir(name, 0o755, dir_fd=directory)
        finally:
            os.close(directory)
        return syscalls.openat2(root, path, flags, resolve=resolve)


# --- privileges ---


def _bits(names: Iterable[str]) -> int:
    return sum(1 << CAPABILITIES.index(name.removeprefix("CAP_")) for name in names)


def _load_filter(plan: Plan, listening: socket.socket | None) -> None:
    """Load the filter of system calls; hand over its listener if it has one."""
    program = bytes.fromhex(plan["seccomp"])
    if listening is not None:
        listener = syscalls.seccomp_listener(plan["handed"]["listen"], program)
        socket.send_fds(listening, [b"+"], [listener])
        os.close(listener)
    elif program:
        syscalls.seccomp_filter(program)


def _drop_privileges(plan: Plan, listening: socket.socket | None) -> None:
    """Keep the capabilities of the configuration and no others, and become its user."""
    process = plan["config"]["process"]
    capabilities = process["capabilities"]
    user = process["user"]
    # The bounding set first: it can be dropped only with CAP_SETPCAP, which goes below.
    bounding = capabilities["bounding"]
    for number, name in enumerate(CAPABILITIES):
        if bounding is not None and f"CAP_{name}" not in bounding:
            _drop_bounding(number)
    # Needs CAP_SYS_ADMIN or no_new_privs, and the latter would end all setuid programs.
    _load_filter(plan, listening)
    if capabilities["ambient"]:
        # Else the change of the user id would take the permitted set, of which ambient ones are a part.
        syscalls.prctl(_PR_SET_KEEPCAPS, 1)
    try:
        os.setgroups(user["additionalGids"])
    except PermissionError:
        # With a single mapped id the kernel forbids it, and there is nothing to set.
        if user["additionalGids"]:
            raise
    # The group before the user, who may not change it any more.
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


def _environment(process: Process) -> dict[bytes, bytes]:
    """Return the environment, with the HOME of /etc/passwd if none is given."""
    pairs = (os.fsencode(each).partition(b"=")[::2] for each in process["env"])
    environment = dict(pairs)
    environment.setdefault(b"HOME", _home(process["user"]["uid"]))
    return environment


def _home(uid: int) -> bytes:
    """Find the home of a user in the root's /etc/passwd, which may be missing or anything."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
    try:
        passwd = syscalls.openat2(
            syscalls.AT_FDCWD, "/etc/passwd", flags, resolve=syscalls.RESOLVE_NO_MAGICLINKS
        )
        with open(passwd, "rb") as file:
            is_file = stat.S_ISREG(os.fstat(passwd).st_mode)
            lines = file.read(_PASSWD_LIMIT).split(b"\n") if is_file else []
    except OSError:
        return b"/"
    for line in lines:
        fields = line.split(b":")
        if len(fields) > 5 and fields[2] == b"%d" % uid:
            return fields[5] or b"/"
    return b"/"


def _execute(
    argv: list[str],
    environment: dict[bytes, bytes],
    start: Callable[[bytes, list[bytes], Mapping[bytes, bytes]], None],
) -> NoReturn:
    """Replace the process by the step's program, looked up on its own PATH, and started by `start`."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    name = os.fsencode(argv[0])
    has_place = b"/" in name
    directories = [b""] if has_place else environment.get(b"PATH", b"").split(b":")
    words = [os.fsencode(each) for each in argv]
    found: OSError | None = None
    for directory in directories:
        program = os.path.join(directory, name)
        try:
            start(program, words, environment)
        except (FileNotFoundError, NotADirectoryError) as error:
            # Which doesn't count, unless it was the only place.
            found = found or (error if has_place else None)
        except OSError as error:
            found = found or error
    if found is None:
        raise Refused(f'exec: "{argv[0]}": executable file not found in $PATH')
    raise Refused(f"exec {argv[0]}: {os.strerror(found.errno or 0).lower()}")
