"""Our own runtime: namespaces, mounts and a filter made by a process that is there already.

No program is started per step but the step's own, which is what makes many small steps fast. The same
`Step` goes in as for runc, and the same tests hold. See `spawner` for the processes.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

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
from polyarch.runtime.configuration import Config, Plan
from polyarch.runtime.oci import base_devices, bound_devices, oci_config
from polyarch.runtime.sandbox.devicegroup import DeviceGroup, DeviceGroups
from polyarch.runtime.sandbox.exchange import Start, exchange, how_it_ended
from polyarch.runtime.sandbox.spawner import Spawner
from polyarch.runtime.seccomp import Handed, call_number, compile_filter, handed_calls
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
        if not self._host.has_one_id:
            check_ids(step, self._host)
        step = bound_devices(step, self._host)
        try:
            return self._run(step, on_output, cancel, talk)
        except Refused as error:
            return refused_step(str(error), on_output)

    def _run(self, step: Step, on_output: OnOutput, cancel: CancelToken, talk: Talk) -> Ended:
        # Beside another step its root is there already, with what that one mounts.
        is_first = talk.beside is None
        with (
            mount_points(step) if is_first else contextlib.nullcontext(),
            make_cgroup(step, self._host) as cgroup,
            self._device_group(step, cgroup) as group,
        ):
            is_kept = (
                not is_first
                or bool(step.user_namespace)
                or self._host.has_one_id
                or self._host.is_covered
            )
            start = Start(
                plan=self._plan(step, cgroup, group, talk), cgroup=group.opened, is_kept=is_kept
            )
            answer = exchange(self._spawner, start, on_output, cancel, talk)
            cancel.check()
            out_of_memory = cgroup.out_of_memory()
        ended = how_it_ended(answer, out_of_memory, on_output)
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

    def _config(self, step: Step, talk: Talk) -> Config:
        """Return the configuration of a step, changed where the sandbox isn't what runc would be here."""
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
        if self._host.is_covered:
            _share_processes(config)
        if self._host.has_one_id:
            config["process"]["user"]["additionalGids"] = list(step.groups)
        return config

    def _plan(self, step: Step, cgroup: Cgroup, group: DeviceGroup, talk: Talk) -> bytes:
        handed = self._handed(step, group)
        program = b""
        if not step.insecure or handed is not None:
            program = compile_filter(handed=handed, is_open=step.insecure)
        plan: Plan = {
            "config": self._config(step, talk),
            "nodev": bool(group.trouble),
            "seccomp": program.hex(),
            "cgroups": [*cgroup.directories, *group.directories],
        }
        if talk.on_started is not None:
            plan["announced"] = True
        if talk.beside is not None:
            plan["beside"] = True
        if handed is not None:
            plan["handed"] = {
                "what": handed,
                "calls": handed_calls(handed),
                "listen": call_number("seccomp"),
                "namespace": step.user_namespace,
                "stat": {
                    "machine": os.uname().machine,
                    "newfstatat": call_number("newfstatat"),
                    "statx": call_number("statx"),
                },
            }
        return json.dumps(plan).encode()

    def _handed(self, step: Step, group: DeviceGroup) -> Handed | None:
        """Return which calls of a step somebody outside of it answers."""
        if self._host.has_one_id:
            return Handed.OWNERS
        if step.user_namespace and not group.trouble:
            return Handed.NODES
        return None


def _share_processes(config: Config) -> None:
    """Have a step in a container see that one's processes: what is covered of /proc the kernel shows to nobody."""
    linux = config["linux"]
    linux["namespaces"] = [each for each in linux["namespaces"] if each["type"] != "pid"]
    for mount in config["mounts"]:
        if mount["destination"] == "/proc":
            mount["type"], mount["source"] = "none", "/proc"
            mount["options"] = ["rbind", *mount["options"]]
