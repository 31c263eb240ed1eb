"""Steps run as an attacker would want them: by every runtime, native and emulated, with something to be had.

`Stepper.script` runs a piece of Python as the engine, as `engines.in_engine` does, where `step(*argv, **more)`
runs one step of the wanted platform. The engine has a directory of its caller's open, which is what the step
is after.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.machine.engines import User, command, module_path

__all__ = ["RUNTIMES", "Stepper"]

RUNTIMES = ("sandbox", "runc", "crun")
_UNIFIED = "/sys/fs/cgroup/unified"

PROLOGUE = """
from polyarch.platforms import linux
emulation = None
if arguments["architecture"] != "amd64":
    foreign = ForeignSteps(host=host, spawner=spawner, facts=facts)
    emulation = foreign.prepare(linux(arguments["architecture"]))
def step(*argv, **more):
    if emulation is not None:
        more.setdefault("user_namespace", emulation.user_namespace)
    return run(*argv, **more)
def shell(text, **more):
    return step("sh", "-c", text, **more)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepper:
    """Who runs steps, by which runtime and for which architecture, in which root.

    `host` is a directory that stands for the machine: nothing of it may be seen or changed by a step.
    """

    user: User
    runtime: str
    architecture: str
    rootfs: Path
    host: Path

    def script(
        self,
        text: str,
        *,
        prefix: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        **arguments: object,
    ) -> Any:
        """Run `text` as the engine, behind `prefix` and with more variables, and return what it reported."""
        known = {"runtime": self.runtime, "architecture": self.architecture}
        opened = os.open(self.host, os.O_RDONLY)
        words = command(
            self.user,
            PROLOGUE + text,
            **known,
            rootfs=str(self.rootfs),
            host=str(self.host),
            leaked=opened,
            **arguments,
        )
        try:
            ended = subprocess.run(
                [*(prefix or self._prefix()), *words],
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.user.home),
                    "PYTHONPATH": module_path(),
                    **(environ or {}),
                },
                cwd="/",
                stdin=subprocess.DEVNULL,
                pass_fds=[opened],
                capture_output=True,
                check=False,
                timeout=120,
            )
        finally:
            os.close(opened)
        assert ended.returncode == 0, ended.stderr.decode()
        return json.loads(ended.stdout)

    def _prefix(self) -> list[str]:
        """Return what leads to where a runtime works: crun knows the unified hierarchy of cgroups only."""
        if self.runtime != "crun" or not Path(_UNIFIED).exists():
            return []
        script = f'mount --bind {_UNIFIED} /sys/fs/cgroup && exec "$@"'
        return ["unshare", "--mount", "--propagation=slave", "sh", "-c", script, "sh"]
