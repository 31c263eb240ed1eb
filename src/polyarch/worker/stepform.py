"""A process of an image -> the step that a runtime runs: its user, its variables, its files of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from polyarch.record import frozen
from polyarch.runtime.network import hosts_file
from polyarch.runtime.step import Bind, Mount, Network, Step
from polyarch.worker.copy import make_directories
from polyarch.worker.users import Owner, account

__all__ = ["LOCKED", "Process", "make_step", "network_mounts", "network_of"]

LOCKED = ("nosuid", "nodev", "noexec")
"""Restrictions of files that are lent to a step."""


@frozen
class Process:
    """A process as an image or a Dockerfile describes it; `user` is looked up in the root.

    `cwd` is made if it isn't there. `env` stands above the HOME that the user's entry has.
    """

    argv: tuple[str, ...]
    user: str
    cwd: str
    env: Mapping[str, str]
    hostname: str
    network: str = "default"


def make_step(
    process: Process, root: Path, mounts: Sequence[Mount], *, user_namespace: str = ""
) -> Step:
    """Return the step that runs `process` in `root`, in which its working directory is made.

    Raises InputError for a user that isn't there.
    """
    who = account(root, process.user)
    make_directories(root, process.cwd, Owner(uid=who.uid, gid=who.gid))
    # HOME comes last, as where runc adds it: a program that writes its environment down makes the same layer.
    env = {**process.env}
    env.setdefault("HOME", who.home)
    return Step(
        argv=process.argv,
        rootfs=str(root),
        env=tuple(f"{name}={value}" for name, value in env.items()),
        cwd=process.cwd,
        uid=who.uid,
        gid=who.gid,
        # The primary group is among the others, as with BuildKit and docker run.
        groups=(who.gid, *who.groups),
        hostname=process.hostname,
        network=network_of(process.network),
        mounts=tuple(mounts),
        user_namespace=user_namespace,
    )


def network_of(name: str) -> Network:
    """Return which network a Dockerfile or a command line means: "none", or else the host's."""
    return Network.NONE if name == "none" else Network.HOST


def network_mounts(
    directory: Path,
    hostname: str,
    *,
    resolv_conf: str,
    extra_hosts: tuple[tuple[str, str], ...] = (),
    read_only: bool,
) -> list[Mount]:
    """Write a step's `/etc/hosts` and `/etc/resolv.conf` into `directory`, and return what mounts them."""
    texts = {"resolv.conf": resolv_conf, "hosts": hosts_file(hostname, extra_hosts)}
    for name, text in texts.items():
        path = directory / name
        path.write_text(text)
        path.chmod(0o644)  # every user of the step reads them, whatever the umask says
    return [
        Bind(source=str(directory / name), target=f"/etc/{name}", read_only=read_only, flags=LOCKED)
        for name in texts
    ]
