"""Our own runtime: namespaces, mounts and a filter made by a process that is there already.

No program is started per step but the step's own, which is what makes many small steps fast. The same
`Step` goes in as for runc, and the same tests hold. See `spawner` for the processes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import socket
from collections.abc import Callable
from pathlib import Path

from polyarch.errors import NoRuntime
from polyarch.progress import CancelToken
from polyarch.record import replace
from polyarch.request.talk import SILENCE, Talk
from polyarch.runtime.base import (
    NEEDS_ROOT,
    Ended,
    OnOutput,
    Refused,
    check_ids,
    refused_step,
)
from polyarch.runtime.bundle import mount_points
from polyarch.runtime.cgroup import Cgroup, make_cgroup
from polyarch.runtime.feed import Feed
from polyarch.runtime.oci import base_devices, bound_devices, oci_config
from polyarch.runtime.sandbox.devicegroup import DeviceGroup, DeviceGroups
from polyarch.runtime.sandbox.plan import ANSWER_LIMIT, send_plan
from polyarch.runtime.sandbox.spawner import Spawner
from polyarch.runtime.seccomp import call_number, compile_filter, node_calls
from polyarch.runtime.step import Host, Step

__all__ = ["Sandbox"]

_CHUNK = 65536
_KILLED = 128 + 9


class Sandbox:
    """Runs steps through a spawner, which it doesn't own."""

    name = "sandbox"

    def __init__(self, host: Host, spawner: Spawner) -> None:
        self._host = host
        self._spawner = spawner
        self._groups = DeviceGroups(spawner.resources)

    def run(
        self,
        step: Step,
        *,
        directory: Path,
        on_output: OnOutput,
        cancel: CancelToken,
        talk: Talk = SILENCE,
    ) -> Ended:
        """See `Runtime.run`; nothing is written to `directory`."""
        del directory
        cancel.check()
        check_ids(step, self._host)
        step = bound_devices(step, self._host)
        try:
            return self._run(step, on_output, cancel, talk)
        except Refused as error:
            return refused_step(str(error), on_output)

    def _run(self, step: Step, on_output: OnOutput, cancel: CancelToken, talk: Talk) -> Ended:
        with (
            mount_points(step),
            make_cgroup(step, self._host) as cgroup,
            self._device_group(step, cgroup) as group,
        ):
            with contextlib.ExitStack() as resources:
                is_kept = bool(step.user_namespace)
                control, outputs = self._request(talk, group, resources, is_kept=is_kept)
                resources.callback(cancel.on_cancel(lambda: _end(control)))
                send_plan(control, self._plan(step, cgroup, group, talk))

                def on_terminal(master: int) -> None:
                    resources.callback(os.close, master)
                    talk.on_terminal(master)
                    if talk.stdin is not None:
                        resources.enter_context(Feed(talk.stdin, os.dup(master)))

                answer = _exchange(control, outputs, on_output, on_terminal)
            cancel.check()
            out_of_memory = cgroup.out_of_memory()
        ended = _ended(answer, out_of_memory, on_output)
        return replace(ended, no_devices=group.trouble)

    def _device_group(
        self, step: Step, cgroup: Cgroup
    ) -> contextlib.AbstractContextManager[DeviceGroup]:
        """Return the cgroup that keeps a step from the machine's devices, where there can be one."""
        if step.insecure:
            return contextlib.nullcontext(DeviceGroup())
        if self._host.rootless:
            return contextlib.nullcontext(DeviceGroup(trouble=NEEDS_ROOT))
        return self._groups.of(step, cgroup.directories)

    def _plan(self, step: Step, cgroup: Cgroup, group: DeviceGroup, talk: Talk) -> bytes:
        config = oci_config(step, self._host, seccomp=False)
        if talk.terminal is not None:
            rows, columns = talk.terminal
            config["process"]["terminal"] = True
            config["process"]["consoleSize"] = {"height": rows, "width": columns}
        made = {each["path"] for each in config["linux"]["devices"]}
        config["linux"]["devices"] += [each for each in base_devices() if each["path"] not in made]
        for mount in config["mounts"]:
            if mount["type"] == "cgroup":
                # The older hierarchies have no namespace here: the step sees none of them.
                mount["type"] = "cgroup2" if self._host.cgroup2 else "tmpfs"
        plan = {
            "config": config,
            "nodev": bool(group.trouble),
            "seccomp": "" if step.insecure else compile_filter().hex(),
            "cgroups": (*cgroup.directories, *group.directories),
        }
        if step.user_namespace and not (step.insecure or group.trouble):
            plan["seccomp"] = compile_filter(hand_over_nodes=True).hex()
            plan["nodes"] = {
                "namespace": step.user_namespace,
                "calls": node_calls(),
                "listen": call_number("seccomp"),
            }
        return json.dumps(plan).encode()

    def _request(
        self, talk: Talk, group: DeviceGroup, resources: contextlib.ExitStack, *, is_kept: bool
    ) -> tuple[socket.socket, tuple[int, int]]:
        """Have a step started; return its control socket and the read ends of the two outputs.

        What is ours of them is left to `resources`.
        """
        with contextlib.ExitStack() as theirs_only, contextlib.ExitStack() as on_failure:
            ours, theirs = socket.socketpair()
            theirs_only.enter_context(theirs)
            on_failure.enter_context(ours)
            writers, readers = [], []
            for _ in ("stdout", "stderr"):
                reader, writer = os.pipe()
                theirs_only.callback(os.close, writer)
                on_failure.callback(os.close, reader)
                writers.append(writer)
                readers.append(reader)
            if talk.stdin is not None and talk.terminal is None:
                reader, writer = os.pipe()
                theirs_only.callback(os.close, reader)
                writers.append(reader)
                on_failure.enter_context(Feed(talk.stdin, writer))
            given = [theirs.fileno(), *writers]
            self._spawner.ask(given, cgroup=group.opened, kept=is_kept)
            resources.push(on_failure.pop_all())
        return ours, (readers[0], readers[1])


def _end(control: socket.socket) -> None:
    """Have the step killed; the answer can still be read."""
    try:
        control.shutdown(socket.SHUT_WR)
    except OSError:
        return


def _exchange(
    control: socket.socket,
    outputs: tuple[int, int],
    on_output: OnOutput,
    on_terminal: Callable[[int], None],
) -> bytes:
    """Hand over the output until it and the control socket are closed; return the answer.

    Before that the control socket may bring our end of the step's terminal, from which output comes.
    """
    answer = b""
    with selectors.DefaultSelector() as selector:
        for stream, fd in enumerate(outputs, start=1):
            selector.register(fd, selectors.EVENT_READ, stream)
        selector.register(control, selectors.EVENT_READ, 0)
        while selector.get_map():
            for key, _ in selector.select():
                data, terminals = _read(control) if key.data == 0 else (_read_from(key.fd), [])
                for terminal in terminals:
                    on_terminal(terminal)
                    selector.register(terminal, selectors.EVENT_READ, 1)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.data == 0:
                    answer += data
                else:
                    on_output(key.data, data)
    return answer


def _read(control: socket.socket) -> tuple[bytes, list[int]]:
    try:
        return socket.recv_fds(control, ANSWER_LIMIT, 1, socket.MSG_CMSG_CLOEXEC)[:2]
    except ConnectionResetError:
        return b"", []


def _read_from(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _CHUNK)
    except OSError as error:
        if error.errno == errno.EIO:  # nobody has the terminal open any more
            return b""
        raise


def _ended(answer: bytes, out_of_memory: bool, on_output: OnOutput) -> Ended:
    if not answer.strip() and out_of_memory:
        return Ended(status=_KILLED, out_of_memory=True)  # with the keeper the step has ended, too
    if not answer.strip():
        raise NoRuntime("the process that minds the step was killed")
    known = json.loads(answer)
    if refused := known.get("refused", ""):
        return refused_step(refused, on_output)
    return Ended(status=known["status"], out_of_memory=out_of_memory, cpu_seconds=known["cpu"])
