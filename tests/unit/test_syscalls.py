"""The thin wrappers: that arguments reach the kernel, and that errors name the path."""

from __future__ import annotations

import errno
import os
import signal
import struct
import sys
from pathlib import Path

import pytest

from polyarch import syscalls
from tests.support.images.trees import plant
from tests.support.machine.namespaces import in_user_namespace

_PR_GET_PDEATHSIG, _PR_CAPBSET_READ, _PR_GET_CHILD_SUBREAPER = 2, 23, 37
_CAP_CHOWN, _CAP_NET_RAW = 0, 13


def test_openat2_stays_in_the_root(tmp_path: Path) -> None:
    plant(tmp_path, {"root/etc/f": "ours", "root/up": "-> ../../etc", "root/abs": "-> /etc/f"})
    root = os.open(tmp_path / "root", os.O_PATH)

    texts = []
    for path in ("up/f", "abs", "../../../etc/f"):
        with open(
            syscalls.openat2(root, path, os.O_RDONLY, resolve=syscalls.RESOLVE_IN_ROOT)
        ) as file:
            texts.append((file.read(), os.get_inheritable(file.fileno())))
    os.close(root)

    assert texts == [("ours", False)] * 3


@pytest.mark.parametrize(
    ("path", "resolve", "number"),
    [
        ("none", 0, errno.ENOENT),
        ("link", syscalls.RESOLVE_NO_SYMLINKS, errno.ELOOP),
        ("../x", syscalls.RESOLVE_BENEATH, errno.EXDEV),
    ],
)
def test_openat2_says_what_it_refused(tmp_path: Path, path: str, resolve: int, number: int) -> None:
    plant(tmp_path, {"directory/f": "", "directory/link": "-> f", "x": ""})
    directory = os.open(tmp_path / "directory", os.O_PATH)

    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        syscalls.openat2(directory, path, os.O_RDONLY, resolve=resolve)
    os.close(directory)

    assert (caught.value.errno, caught.value.filename) == (number, path)


def test_openat2_makes_files_with_a_mode(tmp_path: Path) -> None:
    flags = os.O_CREAT | os.O_WRONLY

    os.close(syscalls.openat2(syscalls.AT_FDCWD, tmp_path / "f", flags, mode=0o600))

    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


def test_errors_name_the_paths() -> None:
    found = []
    for call in (
        lambda: syscalls.umount2("/no/such/place"),
        lambda: syscalls.pivot_root("/no/such/root", "/no/such/old"),
        lambda: syscalls.open_tree("/no/such/tree", 0),
        lambda: syscalls.mount_setattr("/no/such/mount", attr_set=syscalls.MOUNT_ATTR_NODEV),
    ):
        with pytest.raises(OSError, match=r"No such file|not permitted") as caught:
            call()
        found.append(caught.value.filename)

    assert found == ["/no/such/place", "/no/such/root", "/no/such/tree", "/no/such/mount"]


def test_an_error_without_a_path_names_none() -> None:
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        syscalls.setns(-1)

    assert caught.value.filename is None


def test_a_file_system_by_the_new_calls(tmp_path: Path) -> None:
    def check() -> None:
        context = syscalls.fsopen("tmpfs")
        syscalls.fsconfig_string(context, "size", "64k")
        syscalls.fsconfig_string(context, "mode", "0710")
        syscalls.fsconfig_create(context)
        mounted = syscalls.fsmount(context, syscalls.MOUNT_ATTR_NODEV)
        syscalls.move_mount(mounted, tmp_path)
        assert not os.get_inheritable(mounted)
        status = os.statvfs(tmp_path)
        assert status.f_blocks * status.f_frsize == 64 << 10
        assert bool(status.f_flag & os.ST_NODEV)
        assert tmp_path.stat().st_mode & 0o7777 == 0o710
        syscalls.umount2(tmp_path, syscalls.MNT_DETACH)
        assert os.statvfs(tmp_path).f_blocks * status.f_frsize != 64 << 10

    in_user_namespace(check)


def test_a_parameter_that_the_kernel_refuses() -> None:
    def check() -> None:
        context = syscalls.fsopen("tmpfs")
        with pytest.raises(OSError, match="Invalid argument: 'colour'"):
            syscalls.fsconfig_string(context, "colour", "red")
        with pytest.raises(OSError, match="Invalid argument: 'mode'"):
            syscalls.fsconfig_flag(context, "mode")
        with pytest.raises(OSError, match="No such device: 'nosuchfs'"):
            syscalls.fsopen("nosuchfs")

    in_user_namespace(check)


def test_a_copied_tree_gets_attributes_of_its_own(tmp_path: Path) -> None:
    plant(tmp_path, {"source/f": "text", "target": None})

    def check() -> None:
        syscalls.mount("none", tmp_path / "source", "tmpfs", data="size=64k")
        (tmp_path / "source/f").write_text("in memory")
        copied = syscalls.open_tree(
            tmp_path / "source", syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE
        )
        syscalls.mount_setattr(
            "", syscalls.AT_EMPTY_PATH, dir_fd=copied, attr_set=syscalls.MOUNT_ATTR_RDONLY
        )
        syscalls.move_mount(copied, tmp_path / "target")
        assert (tmp_path / "target/f").read_text() == "in memory"
        with pytest.raises(OSError, match="Read-only file system"):
            (tmp_path / "target/f").write_text("")
        (tmp_path / "source/f").write_text("still writable")

    in_user_namespace(check)
    assert (tmp_path / "source/f").read_text() == "text"


def test_mount_takes_flags(tmp_path: Path) -> None:
    plant(tmp_path, {"source/f": "text", "target": None})

    def check() -> None:
        syscalls.mount(tmp_path / "source", tmp_path / "target", flags=syscalls.MS_BIND)
        assert (tmp_path / "target/f").read_text() == "text"
        with pytest.raises(OSError, match="No such device") as caught:
            syscalls.mount("none", tmp_path / "target", "nosuchfs")
        assert caught.value.filename == str(tmp_path / "target")

    in_user_namespace(check)


def test_pivot_root_changes_the_root(tmp_path: Path) -> None:
    def check() -> None:
        syscalls.mount("none", tmp_path, "tmpfs")
        plant(tmp_path, {"f": "new root", "old": None})
        syscalls.pivot_root(tmp_path, tmp_path / "old")
        os.chdir("/")
        assert Path("/f").read_text() == "new root"

    in_user_namespace(check)


def test_the_host_name_of_a_namespace() -> None:
    before = os.uname().nodename

    def check() -> None:
        syscalls.unshare(syscalls.CLONE_NEWUTS)
        syscalls.sethostname("somewhere")
        assert os.uname().nodename == "somewhere"

    in_user_namespace(check)
    assert os.uname().nodename == before


def test_capabilities_are_read_and_set() -> None:
    def check() -> None:
        effective, permitted, _ = syscalls.capget()
        assert effective == permitted
        assert effective >> 40, "those above 32 are in the other half"
        kept = 1 << _CAP_CHOWN | 1 << 38
        syscalls.capset(kept, kept, 1 << _CAP_CHOWN)
        assert syscalls.capget() == (kept, kept, 1 << _CAP_CHOWN)

    in_user_namespace(check)


def test_bounding_and_ambient_capabilities() -> None:
    def check() -> None:
        assert syscalls.prctl(_PR_CAPBSET_READ, _CAP_NET_RAW) == 1
        syscalls.capability_bounding_drop(_CAP_NET_RAW)
        assert syscalls.prctl(_PR_CAPBSET_READ, _CAP_NET_RAW) == 0
        effective, permitted, _ = syscalls.capget()
        syscalls.capset(effective, permitted, 1 << _CAP_CHOWN)
        syscalls.set_ambient_capability(_CAP_CHOWN)
        status = Path("/proc/self/status").read_text()
        assert "CapAmb:\t0000000000000001" in status

    in_user_namespace(check)


def test_what_prctl_sets_can_be_read_back() -> None:
    def read(option: int) -> int:
        # These write through a pointer; the status file doesn't have them.
        import ctypes  # noqa: PLC0415 only for this

        value = ctypes.c_int()
        syscalls.prctl(option, ctypes.addressof(value))
        return value.value

    def check() -> None:
        syscalls.set_parent_death_signal(signal.SIGUSR1)
        syscalls.set_child_subreaper()
        assert read(_PR_GET_PDEATHSIG) == signal.SIGUSR1
        assert read(_PR_GET_CHILD_SUBREAPER) == 1

    in_user_namespace(check)


def test_a_filter_is_in_force() -> None:
    allow, refuse = 0x7FFF0000, 0x00050000 | errno.EPERM
    first_argument = 16 if sys.byteorder == "little" else 20
    # Any call whose first argument is 0x1234 is refused: close does for a test.
    program = b"".join(
        struct.pack("HBBI", *each)
        for each in (
            (0x20, 0, 0, first_argument),
            (0x15, 0, 1, 0x1234),
            (0x06, 0, 0, refuse),
            (0x06, 0, 0, allow),
        )
    )

    def check() -> None:
        syscalls.seccomp_filter(program)
        with pytest.raises(PermissionError):
            os.close(0x1234)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.close(0x1235)

    in_user_namespace(check)


def test_syncfs_takes_any_file(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as file:
        syscalls.syncfs(file.fileno())
    with pytest.raises(OSError, match="Bad file descriptor"):
        syscalls.syncfs(-1)


def test_libseccomp_knows_numbers() -> None:
    x86_64 = 0xC000003E

    assert syscalls.libseccomp_number(x86_64, "read") == 0
    assert syscalls.libseccomp_number(x86_64, "no_such_call") < 0
