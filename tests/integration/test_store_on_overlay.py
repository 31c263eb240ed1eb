"""A store in what is overlayfs itself, as the directories of most containers are: nothing is mounted over that."""

from __future__ import annotations

import os
import tarfile

import pytest

from polyarch import syscalls
from tests.support.images.soundness import faults
from tests.support.machine.namespaces import in_mount_namespace
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

DOCKERFILE = """\
FROM {base} AS one
RUN mkdir -p /d/in /e && touch /d/gone /d/in/file /e/old
FROM one
RUN rm /d/gone && rm -r /d/in && mkdir /d/in && touch /d/in/new && rm -r /e
RUN test ! -e /d/gone && test ! -e /e && ls /d/in > /listed
"""


def test_builds_remove_what_lower_layers_have(who: Person, registry: RealRegistry) -> None:
    who.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
    who.root.mkdir()

    def work() -> None:
        owner = f"uid={who.user.uid},gid={who.user.gid},mode=700"
        syscalls.mount("tmpfs", str(who.root), "tmpfs", 0, f"size=200m,{owner}")
        parts = {name: who.root / name for name in ("lower", "upper", "work")}
        for path in parts.values():
            path.mkdir(mode=0o700)
            os.chown(path, who.user.uid, who.user.gid)
        options = ",".join(
            f"{key}={path}"
            for key, path in zip(("lowerdir", "upperdir", "workdir"), parts.values(), strict=True)
        )
        syscalls.mount("overlay", str(who.root), "overlay", 0, options)

        who.run("build", "-t", "app", "-o", "type=tar,dest=app.tar", ".").check()
        who.run("build", "-t", "app", ".").check()
        who.run("save", "-o", "saved.tar", "app").check()
        who.run("rmi", "app").check()
        who.run("prune", "--all", "--force").check()
        who.run("load", "-i", "saved.tar").check()
        # Whiteouts of a layer that comes as an archive.
        shown = who.run("run", "--rm", "app", "ls", "/", "/d", "/d/in").check()
        assert "gone" not in shown.out
        assert shown.out.split()[-1] == "new"
        assert "POLYARCH_ROOT=DIRECTORY" in who.run("doctor").out
        assert faults(who) == [[], []]

    in_mount_namespace(work)

    with tarfile.open(who.work / "app.tar") as archive:
        names = set(archive.getnames())
    assert {"listed", "d/in/new"} <= names
    assert names.isdisjoint({"d/gone", "d/in/file", "e", "e/old"})
