"""Steps through runc or crun: the reference that our own sandbox is tested against."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from polyarch import syscalls
from polyarch.errors import NoRuntime
from polyarch.process import Child, base_environment, run
from polyarch.progress import CancelToken
from polyarch.record import replace
from polyarch.request.talk import SILENCE, Talk
from polyarch.runtime.base import (
    NEEDS_ROOT,
    Ended,
    OnOutput,
    Refused,
    check_ids,
    check_talk,
    refused_step,
)
from polyarch.runtime.bundle import mount_points, write_bundle
from polyarch.runtime.cgroup import cgroup_name, check_cgroup, find_cgroup, make_parent
from polyarch.runtime.feed import Feed
from polyarch.runtime.oci import base_devices, bound_devices, oci_config
from polyarch.runtime.step import Bind, Host, Mount, Step, Tmpfs
from polyarch.runtime.workdir import with_plain_directory

__all__ = ["OciRuntime"]

_ATTEMPT = 0.05
"""Seconds between attempts to kill a container that is still being made."""
_ATTEMPTS = 200
"""Ten seconds in all: until it has made the container, runc knows of none that it could kill."""


def _with_own_devices(step: Step, argv: list[str]) -> list[str]:
    """Return a command line that runs a program with a fresh /dev.

    For a step in a user namespace runc mounts the devices of the /dev that it sees itself. In a namespace
    that maps every id the step's root could change the mode of the machine's own /dev/null.
    """
    lines = ["mount -t tmpfs -o nosuid,mode=755 tmpfs /dev"]
    bound = {mount.target for mount in step.mounts}
    lines += [
        _mknod(each["path"], each["type"], each["major"], each["minor"]) for each in base_devices()
    ]
    for node in step.devices:
        if node.path not in bound:
            lines.append(f"mkdir -p {shlex.quote(os.path.dirname(node.path))}")
            lines.append(_mknod(node.path, node.kind, node.major, node.minor, node.mode))
            lines.append(f"chown {node.uid}:{node.gid} {shlex.quote(node.path)}")
    script = " && ".join((*lines, 'exec "$@"'))
    return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, "sh", *argv]


def _mknod(path: str, kind: str, major: int, minor: int, mode: int = 0o666) -> str:
    return (
        f"rm -f {shlex.quote(path)} && mknod -m {mode:o} {shlex.quote(path)} {kind} {major} {minor}"
    )


class OciRuntime:
    """A program with the command line of runc. `path` is where it is."""

    def __init__(self, path: str, host: Host) -> None:
        self.name = Path(path).name
        self._path = path
        self._host = host

    def run(
        self,
        step: Step,
        *,
        directory: Path,
        on_output: OnOutput,
        cancel: CancelToken,
        talk: Talk = SILENCE,
    ) -> Ended:
        """See `Runtime.run`. Raises NoRuntime if a terminal is asked for."""
        if talk.terminal is not None:
            raise NoRuntime(
                f"no terminal can be had with {self.name}",
                hint="leave -t out, or set POLYARCH_RUNTIME=sandbox",
            )
        check_talk(talk, self.name)
        cancel.check()
        check_ids(step, self._host)
        check_cgroup(step, self._host)
        step = bound_devices(step, self._host)
        try:
            return self._run_bundle(step, directory, on_output, cancel, talk)
        except Refused as error:
            return refused_step(str(error), on_output)

    def _run_bundle(
        self, step: Step, directory: Path, on_output: OnOutput, cancel: CancelToken, talk: Talk
    ) -> Ended:
        step = with_plain_directory(step)
        container = f"polyarch-{os.urandom(8).hex()}"
        cgroup = "" if self._host.rootless else cgroup_name(step)
        log = directory / "log.json"
        command = [self._path, "--root", str(directory / "state"), "--log", str(log)]
        command += ["--log-format", "json"]
        with contextlib.ExitStack() as around:
            around.enter_context(mount_points(step))
            mounted = around.enter_context(_own_tmpfs(step, directory))
            if step.needs_cgroup:
                around.enter_context(make_parent(step, cgroup))
            write_bundle(directory, oci_config(mounted, self._host, cgroup=cgroup))
            words = [container]
            if step.is_limited and self._can_keep():
                words.insert(0, "--keep")
            try:
                argv = self._argv(step, command, words, directory)
                kill = [*command, "kill", container, "KILL"]
                status = self._run(argv, kill, on_output, cancel, talk.stdin)
                out_of_memory = find_cgroup(cgroup).out_of_memory() if cgroup else False
            finally:
                run([*command, "delete", "--force", container])
        cancel.check()
        refused = _last_error(log) if status != 0 else ""
        return Ended(
            status=1 if refused else status,
            refused=refused,
            out_of_memory=out_of_memory,
            no_devices=self._no_devices(step),
            had_one_id=self._host.has_one_id,
        )

    def _no_devices(self, step: Step) -> str:
        """Return why nodes of devices are of no use in a step, or an empty text."""
        if self._host.rootless:
            return NEEDS_ROOT
        return (
            "emulated ones have them with POLYARCH_RUNTIME=sandbox" if step.user_namespace else ""
        )

    def _can_keep(self) -> bool:
        """Tell whether an ended container, and thus its cgroup's counters, can be kept for a look."""
        return b"--keep" in run([self._path, "run", "--help"]).stdout

    def _argv(self, step: Step, command: list[str], words: list[str], directory: Path) -> list[str]:
        argv = [*command, "run", "--bundle", str(directory), *words]
        # A user's engine can't make devices, nor could its steps change those of the machine.
        needs_own = step.user_namespace and not self._host.rootless
        return _with_own_devices(step, argv) if needs_own else argv

    def _run(
        self,
        argv: list[str],
        kill: list[str],
        on_output: OnOutput,
        cancel: CancelToken,
        stdin: int | None,
    ) -> int:
        with contextlib.ExitStack() as resources:
            with contextlib.ExitStack() as theirs:
                given: bytes | int = b""
                if stdin is not None:
                    given, writer = os.pipe()
                    theirs.callback(os.close, given)
                    resources.enter_context(Feed(stdin, writer))
                child = Child(argv, env=base_environment(), stdin=given, on_output=on_output)
            ended = threading.Event()
            resources.callback(cancel.on_cancel(lambda: _kill(kill, child, ended)))
            resources.callback(ended.set)
            completed = child.wait()
        if completed.status in {126, 127} and child.pid == 0:
            raise NoRuntime(f"{self._path} can't be started any more")
        return completed.status


@contextlib.contextmanager
def _own_tmpfs(step: Step, directory: Path) -> Iterator[Step]:
    """Mount the file systems in memory here, and give the step with binds of them.

    Mounting one on a directory that exists, runc before 1.2 gives it that directory's mode, whatever mode it
    was told.
    """
    with contextlib.ExitStack() as stack:
        mounts: list[Mount] = []
        for number, mount in enumerate(step.mounts):
            if isinstance(mount, Tmpfs):
                source = str(directory / f"tmpfs-{number}")
                os.mkdir(source)
                size = f",size={mount.size}" if mount.size else ""
                options = f"mode={mount.mode:o}{size}"
                syscalls.mount("tmpfs", source, "tmpfs", syscalls.MS_NOSUID, options)
                stack.callback(syscalls.umount2, source, syscalls.MNT_DETACH)
                bound = Bind(
                    source=source,
                    target=mount.target,
                    read_only=mount.read_only,
                    flags=("nosuid",),
                )
                mounts.append(bound)
            else:
                mounts.append(mount)
        yield replace(step, mounts=tuple(mounts))


def _kill(command: list[str], child: Child, ended: threading.Event) -> None:
    """Kill a container, which may not be there yet; its processes aren't in the child's group."""
    for _ in range(_ATTEMPTS):
        if ended.is_set() or run(command).status == 0:
            return
        ended.wait(_ATTEMPT)
    child.kill(signal.SIGKILL)


def _last_error(log: Path) -> str:
    """Return the last error in runc's log: it writes one only if it couldn't start the process."""
    try:
        lines = log.read_text().splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("level") == "error":
            return str(entry.get("msg", ""))
    return ""
