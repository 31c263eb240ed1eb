"""Podman, which has no engine that listens: images are given to the program, as its user would.

An ordinary user's podman makes a user namespace for itself. Here it is in one already, the engine's, with the same
ids in it, and is told so in the way in which it tells that to itself.

Source: podman-load(1), podman-manifest(1); containers/storage, `pkg/unshare`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from polyarch.errors import MachineError
from polyarch.exporter.outputs import EngineKind
from polyarch.oci.reference import Reference
from polyarch.platforms import Platform, host
from polyarch.process import Child
from polyarch.record import field, frozen

__all__ = ["Podman", "find_podman"]

_LOADED = "Loaded image"


@frozen
class Podman:
    """The program. `user` is the number of the user outside of our namespace."""

    program: str
    environ: Mapping[str, str] = field(repr=False)
    user: int = 0
    name: str = "podman"

    def kind(self) -> EngineKind:
        """Images are loaded one by one, and a manifest list is made of them."""
        return EngineKind.LISTS

    def platform(self) -> Platform:
        """Return what runs here by itself."""
        return host()

    def load(self, archive: BinaryIO, size: int) -> str:
        """Give it an archive of one image, and return that one's ID. Raises MachineError."""
        del size  # it is a file, which knows its own
        said = self._run("load", "--quiet", stdin=archive.fileno())
        for line in said.splitlines():
            if line.startswith(_LOADED):
                return line.rpartition("sha256:")[2].strip()
        raise MachineError(f"podman loaded the image, but said {said.strip()!r} in place of its ID")

    def give_names(self, names: Sequence[Reference], images: Sequence[str]) -> None:
        """Let names stand for an image, or for a manifest list of several. Raises MachineError."""
        if len(images) == 1:
            for name in names:
                self._run("tag", images[0], name.canonical)
            return
        for name in names:
            # A name that stands for something else is taken from it.
            if not self._succeeds("manifest", "rm", name.canonical):
                self._succeeds("untag", name.canonical, name.canonical)
            self._run("manifest", "create", name.canonical)
            for image in images:
                self._run("manifest", "add", name.canonical, f"containers-storage:{image}")

    def _succeeds(self, *words: str) -> bool:
        try:
            self._run(*words)
        except MachineError:
            return False
        return True

    def _run(self, *words: str, stdin: int | bytes = b"") -> str:
        printed: dict[int, list[bytes]] = {1: [], 2: []}
        child = Child(
            [self.program, *words],
            env={**self.environ, **self._inside()},
            stdin=stdin,
            on_output=lambda stream, data: printed[stream].append(data),
        )
        status = child.wait().status
        if status:
            said = b"".join(printed[2]).decode("utf-8", "replace").strip()
            raise MachineError(f"podman {words[0]} failed: {said or f'status {status}'}")
        return b"".join(printed[1]).decode("utf-8", "replace")

    def _inside(self) -> dict[str, str]:
        if not self.user:
            return {}
        return {
            "_CONTAINERS_USERNS_CONFIGURED": "done",
            "_CONTAINERS_ROOTLESS_UID": str(self.user),
            "_CONTAINERS_ROOTLESS_GID": str(self.user),
        }


def find_podman(environ: Mapping[str, str]) -> Podman | None:
    """Return podman, if it is installed."""
    program = shutil.which("podman", path=environ.get("PATH", os.defpath))
    if program is None:
        return None
    return Podman(program=program, environ=environ, user=_user_outside())


def _user_outside() -> int:
    """Return which user of the machine our root is; 0 where it is root itself."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        inside, outside, _ = map(int, file.readline().split())
    return outside if inside == 0 else os.getuid()
