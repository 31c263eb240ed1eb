"""Our own runtime: namespaces, mounts and a filter made by a process that is there already.

No program is started per step but the step's own, which is what makes many small steps fast. The same
`Step` goes in as for runc, and the same tests hold. See `spawner` for the processes.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import threading
from pathlib import Path

from polyarch.errors import NoRuntime
from polyarch.progress import CancelToken
from polyarch.runtime.base import Ended, OnOutput
from polyarch.runtime.bundle import mount_points
from polyarch.runtime.cgroup import Cgroup, make_cgroup
from polyarch.runtime.seccomp import compile_filter
from polyarch.runtime.spawner import ANSWER_LIMIT, PLAN_HEADER, start_spawner
from polyarch.runtime.spec import Host, Step, oci_config

__all__ = ["Sandbox"]

_CHUNK = 65536


class Sandbox:
    """Runs steps through a spawner. To be made before the engine starts a thread."""

    name = "sandbox"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._spawner = start_spawner()
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the spawner; steps that still run go on to their end."""
        self._spawner.close()

    def run(self, step: Step, *, folder: Path, on_output: OnOutput, cancel: CancelToken) -> Ended:
        """See `Runtime.run`; nothing is written to `folder`."""
        del folder
        cancel.check()
        with mount_points(step), make_cgroup(step, self._host) as cgroup:
            control, outputs = self._request()
            with control:
                forget = cancel.on_cancel(lambda: _end(control))
                try:
                    _send(control, self._plan(step, cgroup))
                    answer = _exchange(control, outputs, on_output)
                finally:
                    forget()
                    for fd in outputs:
                        os.close(fd)
            cancel.check()
            out_of_memory = cgroup.out_of_memory()
        return _ended(answer, out_of_memory, on_output)

    def _plan(self, step: Step, cgroup: Cgroup) -> bytes:
        plan = {
            "config": oci_config(step, self._host, seccomp=False),
            "seccomp": "" if step.insecure else compile_filter().hex(),
            "cgroups": cgroup.folders,
        }
        return json.dumps(plan).encode()

    def _request(self) -> tuple[socket.socket, tuple[int, int]]:
        """Have a keeper started; return its control socket and the read ends of the two outputs."""
        ours, theirs = socket.socketpair()
        out_reader, out_writer = os.pipe()
        err_reader, err_writer = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._spawner, [b"+"], [out_writer, err_writer, theirs.fileno()])
        except OSError as error:
            ours.close()
            os.close(out_reader)
            os.close(err_reader)
            raise NoRuntime(f"the sandbox's spawner is gone: {error.strerror}") from error
        finally:
            theirs.close()
            os.close(out_writer)
            os.close(err_writer)
        return ours, (out_reader, err_reader)


def _send(control: socket.socket, plan: bytes) -> None:
    try:
        control.sendall(PLAN_HEADER.pack(len(plan)) + plan)
    except (BrokenPipeError, ConnectionResetError):
        return  # cancelled, or the keeper failed: its answer, or the lack of one, tells


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
