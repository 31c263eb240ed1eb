"""Runs pieces of Python as the engine, in a process of their own: as root or as a fresh ordinary user.

A script finds `engine` (the namespaces entered), `host`, `spawner`, `facts`, `run(step)` and `report`;
what it reports comes back as JSON. The user gets an interpreter that it may read.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "ROOT",
    "SOURCE",
    "User",
    "command",
    "fresh_user",
    "in_engine",
    "interpreter",
    "module_path",
]

SOURCE = Path(__file__).parents[3] / "src"
_DEPENDENCIES = ("backports", "isal", "rich")

PROLOGUE = """
import atexit, json, os, sys, tempfile
from pathlib import Path
from polyarch.namespaces.userns import enter_engine
engine = enter_engine()
from polyarch.emulation.facts import Facts
from polyarch.progress import CancelToken
from polyarch.runtime.choose import choose_runtime, find_host
from polyarch.runtime.foreign import ForeignSteps
from polyarch.runtime.sandbox.spawner import Spawner
from polyarch.request.limits import Resources, Ulimit
from polyarch.request.talk import SILENCE, Talk
from polyarch.runtime.step import *
host = find_host(rootless=engine.rootless, mapped_ids=engine.mapped_ids)
spawner = Spawner()
atexit.register(spawner.close)
facts = Facts(None)
arguments = json.loads(sys.argv[1])
token = CancelToken()
if arguments.get("runtime"):
    with tempfile.TemporaryDirectory() as directory:
        runtime = choose_runtime(
            arguments["runtime"], host=host, spawner=spawner, facts=facts,
            temporary=lambda: Path(directory, "probe"),
        )
def run(*argv, on_output=None, talk=SILENCE, **more):
    printed = {1: b"", 2: b""}
    def keep(stream, data):
        printed[stream] += data
    more = {"rootfs": arguments["rootfs"], "env": ("PATH=/bin",), **more}
    with tempfile.TemporaryDirectory() as directory:
        ended = runtime.run(
            Step(argv=argv, **more),
            directory=Path(directory), on_output=on_output or keep, cancel=token,
            talk=talk,
        )
    return {
        "status": ended.status, "refused": ended.refused, "oom": ended.out_of_memory,
        **({"cpu": ended.cpu_seconds} if arguments.get("cpu") else {}),
        "stdout": printed[1].decode(errors="replace"), "stderr": printed[2].decode(errors="replace"),
    }
def report(value):
    print(json.dumps(value), flush=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who an engine is started by."""

    name: str
    uid: int
    gid: int
    home: Path


ROOT = User(name="root", uid=0, gid=0, home=Path("/root"))


@contextlib.contextmanager
def fresh_user(*, subordinate_ids: bool) -> Iterator[User]:
    """Make an ordinary user for the time of the block."""
    # Several of one process are there at once, and a killed one's may be there still.
    unique = f"{os.getpid()}-{os.urandom(2).hex()}"
    name = f"polyarch-test-{unique}-{'many' if subordinate_ids else 'one'}"
    # Only users that aren't of the system's are given subordinate ids.
    kind = [] if subordinate_ids else ["--system"]
    subprocess.run(["useradd", *kind, "--create-home", "--user-group", name], check=True)
    try:
        entry = pwd.getpwnam(name)
        home = Path(entry.pw_dir)
        yield User(name=name, uid=entry.pw_uid, gid=entry.pw_gid, home=home)
    finally:
        subprocess.run(["userdel", "--remove", name], check=True, stderr=subprocess.DEVNULL)


def interpreter(user: User) -> str:
    """Return a Python that `user` may run: root's own may lie in root's home."""
    program = Path(sys.executable)
    if user.uid == 0 or (_is_reachable(program) and _is_reachable(program.resolve())):
        return sys.executable
    found = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    assert found, "an ordinary user needs a Python in /usr"
    return found


@functools.cache
def module_path() -> str:
    """Return a PYTHONPATH by which any user imports polyarch and what it depends on.

    A checkout in root's home can't be read by others: they get a copy.
    """
    packages = Path(sysconfig.get_paths()["purelib"])
    if _is_reachable(SOURCE) and _is_reachable(packages):
        return f"{SOURCE}:{packages}"
    directory = Path(tempfile.mkdtemp(prefix="polyarch-tests-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    directory.chmod(0o755)
    for origin in (SOURCE / "polyarch", *(packages / name for name in _DEPENDENCIES)):
        if origin.exists():
            shutil.copytree(origin, directory / origin.name)
    return str(directory)


def _is_reachable(program: Path) -> bool:
    return all(directory.stat().st_mode & 0o001 for directory in (program, *program.parents))


def command(user: User, script: str, **arguments: object) -> list[str]:
    """Return the command line that runs `script` as an engine of `user`."""
    ids = [f"--reuid={user.uid}", f"--regid={user.gid}", "--init-groups"]
    become = ["setpriv", *ids, "--"] if user.uid else []
    return [*become, interpreter(user), "-B", "-c", PROLOGUE + script, json.dumps(arguments)]


def in_engine(user: User, script: str, **arguments: object) -> Any:
    """Run `script` as an engine of `user` and return what it reported."""
    ended = subprocess.run(
        command(user, script, **arguments),
        env={"PATH": os.environ["PATH"], "HOME": str(user.home), "PYTHONPATH": module_path()},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=180,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return json.loads(ended.stdout)
