"""A root file system of one program: Debian's static busybox, with its applets as links."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from tools.debian import fetch, unpack

__all__ = ["make_rootfs"]

# Named here, since a foreign busybox can't be asked without running it. A shell's usual needs.
_APPLETS = """
ash cat chmod chown cp cut date dd echo env false find grep head hostname id ip kill ln ls mkdir
mknod mount mv ps pwd readlink rm rmdir sed sh sha256sum sleep sort stat sync tail tar tee test
touch tr true umount uname wc whoami yes
"""


def make_rootfs(directory: Path, architecture: str, packages: Path) -> Path:
    """Fill `directory`, which must not exist: busybox of Go's `architecture`, accounts root and nobody.

    `packages` is where Debian's packages are kept.
    """
    for name in ("bin", "etc", "tmp"):
        (directory / name).mkdir(parents=True)
    directory.chmod(0o755)
    (directory / "tmp").chmod(0o1777)
    program = directory / "bin/busybox"
    program.write_bytes(_program(packages, architecture))
    program.chmod(0o755)
    for applet in _APPLETS.split():
        (directory / "bin" / applet).symlink_to("busybox")
    accounts = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
    (directory / "etc/passwd").write_text(accounts)
    (directory / "etc/group").write_text("root:x:0:\nnobody:x:65534:\n")
    return directory


@functools.cache
def _program(packages: Path, architecture: str) -> bytes:
    """Return the program: hundreds of tests have a root of their own, and a package takes a while to unpack."""
    (package,) = fetch(packages, architecture, ["busybox-static"])
    with tempfile.TemporaryDirectory() as name:
        unpack(package, Path(name), lambda path: path == "bin/busybox")
        return (Path(name) / "bin/busybox").read_bytes()
