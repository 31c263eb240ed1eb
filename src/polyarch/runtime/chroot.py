"""Steps in containers that allow no namespaces and no mounts, as those of Docker and Kubernetes by default: chroot.

A step is root of its container with another root directory. It sees the container's processes and network, and isn't
kept from them, but by what the container is kept from; whoever builds what others wrote wants a container for
each build. What a step mounts is put into its root instead (see `placing`).
"""

from __future__ import annotations

import json
from pathlib import Path

from polyarch.errors import NoRuntime
from polyarch.progress import CancelToken
from polyarch.request.talk import SILENCE, Talk
from polyarch.runtime.base import Ended, OnOutput, Refused, check_talk, refused_step
from polyarch.runtime.bundle import mount_points
from polyarch.runtime.capability import DEFAULT_CAPABILITIES, capability_names
from polyarch.runtime.configuration import Plan
from polyarch.runtime.oci import oci_config
from polyarch.runtime.placing import placed
from polyarch.runtime.sandbox.exchange import Start, exchange, how_it_ended
from polyarch.runtime.sandbox.spawner import Spawner
from polyarch.runtime.step import Host, Network, Step

__all__ = ["ChrootRuntime"]


class ChrootRuntime:
    """Runs steps through a spawner, which it doesn't own."""

    name = "chroot"

    def __init__(self, host: Host, spawner: Spawner) -> None:
        self._host = host
        self._spawner = spawner

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
                "no terminal can be had where nothing can be mounted", hint="leave -t out"
            )
        check_talk(talk, self.name)
        cancel.check()
        aside = directory / "aside"
        aside.mkdir()
        try:
            _check(step)
            with mount_points(step), placed(step, aside):
                plan = json.dumps(self._plan(step)).encode()
                start = Start(plan=plan, is_kept=True)
                answer = exchange(self._spawner, start, on_output, cancel, talk)
        except Refused as error:
            return refused_step(str(error), on_output)
        cancel.check()
        return how_it_ended(answer, False, on_output)

    def _plan(self, step: Step) -> Plan:
        config = oci_config(step, self._host, seccomp=False)
        bits = self._host.capabilities & (-1 if step.insecure else DEFAULT_CAPABILITIES)
        names = capability_names(bits)
        config["process"]["capabilities"] = {
            "bounding": None,
            "effective": names,
            "permitted": names,
            "inheritable": [],
            "ambient": [],
        }
        config["linux"]["namespaces"] = []
        return {"config": config, "nodev": False, "seccomp": "", "cgroups": [], "chroot": True}


def _check(step: Step) -> None:
    """Raise Refused for what a step can't have without namespaces, mounts and cgroups."""
    lacking = {
        "a network of its own (--network=none)": step.network is Network.NONE,
        "limits of a cgroup": step.needs_cgroup,
        "devices": bool(step.devices),
    }
    for what, is_wanted in lacking.items():
        if is_wanted:
            raise Refused(
                f"the step wants {what}, which there are none of where the kernel refuses namespaces"
            )
