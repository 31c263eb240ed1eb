"""Our own runtime: namespaces, mounts and a filter made by a process that is there already.

No program is started per step but the step's own, which is what makes many small steps fast. The same
`Step` goes in as for runc, and the same tests hold. See `spawner` for the processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
from pathlib import Path

from polyarch.errors import NoRuntime
from polyarch.progress import CancelToken
from polyarch.runtime.base import Ended, OnOutput, check_ids
from polyarch.runtime.bundle import mount_points
from polyarch.runtime.cgroup import Cgroup, make_cgroup
from polyarch.runtime.seccomp import compile_filter
from polyarch.runtime.spawner import ANSWER_LIMIT, Spawner, send_plan
from polyarch.runtime.spec import Host, Step, base_devices, oci_config

__all__ = ["Sandbox"]

_CHUNK = 65536


class Sandbox:
    """Runs steps through a spawner, which it doesn't own."""

    name = "sandbox"

    def __init__(self, host: Host, spawner: Spawner) -> None:
        self._host = host
        self._spawner = spawner

    def run(self, step: Step, *, folder: Path, on_output: OnOutput, cancel: CancelToken) -> Ended:
        """See `Runtime.run`; nothing is written to `folder`."""
        del folder
        cancel.check()
        check_ids(step, self._host)
        with mount_points(step), make_cgroup(step, self._host) as cgroup:
            control, outputs = self._request()
            with control:
                forget = cancel.on_cancel(lambda: _end(control))
                try:
                    send_plan(control, self._plan(step, cgroup))
                    answer = _exchange(control, outputs, on_output)
                finally:
                    forget()
                    for fd in outputs:
                        os.close(fd)
            cancel.check()
            out_of_memory = cgroup.out_of_memory()
        return _ended(answer, out_of_memory, on_output)

    def _plan(self, step: Step, cgroup: Cgroup) -> bytes:
        config = oci_config(step, self._host, seccomp=False)
        config["linux"]["devices"] += base_devices()
        for mount in config["mounts"]:
            if mount["type"] == "cgroup":
                # The older hierarchies have no namespace here: the step sees none of them.
                mount["type"] = "cgroup2" if self._host.cgroup2 else "tmpfs"
        plan = {
            "config": config,
            "seccomp": "" if step.insecure else compile_filter().hex(),
            "cgroups": cgroup.folders,
        }
        return json.dumps(plan).encode()

    def _request(self) -> tuple[socket.socket, tuple[int, int]]:
        """Have a keeper started; return its control socket and the read ends of the two outputs."""
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
            self._spawner.ask([theirs.fileno(), *writers])
            on_failure.pop_all()
        return ours, (readers[0], readers[1])


def _end(control: socket.socket) -> None:
    """Tell the keeper to kill the step; the answer can still be read."""
    try:
        control.shutdown(socket.SHUT_WR)
    except OSError:
        return


def _exchange(control: socket.socket, outputs: tuple[int, int], on_output: OnOutput) -> bytes:
    """Hand over the output until it and the control socket are closed; return the answer."""
    answer = b""
    with selectors.DefaultSelector() as selector:
        for stream, fd in enumerate(outputs, start=1):
            selector.register(fd, selectors.EVENT_READ, stream)
        selector.register(control, selectors.EVENT_READ, 0)
        while selector.get_map():
            for key, _ in selector.select():
                data = _read(control) if key.data == 0 else os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.data == 0:
                    answer += data
                else:
                    on_output(key.data, data)
    return answer


def _read(control: socket.socket) -> bytes:
    try:
        return control.recv(ANSWER_LIMIT)
    except ConnectionResetError:
        return b""


def _ended(answer: bytes, out_of_memory: bool, on_output: OnOutput) -> Ended:
    if not answer:
        raise NoRuntime("the sandbox's keeper was killed")
    known = json.loads(answer)
    if refused := known.get("refused", ""):
        on_output(2, f"{refused}\n".encode(errors="surrogateescape"))
        return Ended(status=1, refused=refused)
    return Ended(status=known["status"], out_of_memory=out_of_memory)
