"""Root file systems to run steps in, made of Debian's busybox-static without running anything foreign.

The packages are fetched with apt into a folder of their own (`$POLYARCH_TEST_CACHE`, else one in the
folder for temporary files), so neither the machine's packages nor its sources change.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

__all__ = ["busybox", "make_rootfs"]

# A few applets are enough: each is a link to the one program.
APPLETS = [
    "sh",
    "ash",
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dd",
    "echo",
    "env",
    "false",
    "find",
    "grep",
    "head",
    "hostname",
    "id",
    "ip",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mknod",
    "mount",
    "mv",
    "ps",
    "pwd",
    "readlink",
    "rm",
    "rmdir",
    "sed",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "sync",
    "tail",
    "tar",
    "tee",
    "test",
    "touch",
    "tr",
    "true",
    "umount",
    "uname",
    "wc",
    "whoami",
    "yes",
]

DEBIAN = {"amd64": "amd64", "arm64": "arm64", "arm": "armhf", "386": "i386", "s390x": "s390x"}


def _cache() -> Path:
    chosen = os.environ.get("POLYARCH_TEST_CACHE")
    return Path(chosen) if chosen else Path(tempfile.gettempdir()) / "polyarch-test-cache"


def _apt(folder: Path, architecture: str, *words: str) -> None:
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    options = {
        "APT::Architecture": architecture,
        "APT::Architectures::": architecture,
        "Dir::State::lists": f"{folder}/lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache::archives": f"{folder}/archives",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "APT::Sandbox::User": "",
    }
    settings = [f"-o{name}={value}" for name, value in options.items()]
    subprocess.run(["apt-get", "-qq", *settings, *words], cwd=folder, check=True)


def busybox(architecture: str) -> Path:
    """Return a static busybox for a Go architecture, fetched once."""
    folder = _cache() / architecture
    program = folder / "busybox"
    if not program.exists():
        debian = DEBIAN[architecture]
        folder.mkdir(parents=True, exist_ok=True)
        # One index of several may be out of step on a mirror: what counts is the download.
        with contextlib.suppress(subprocess.CalledProcessError):
            _apt(folder, debian, "update")
        _apt(folder, debian, "download", f"busybox-static:{debian}")
        (package,) = folder.glob("busybox-static_*.deb")
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder / "x")], check=True)
        (folder / "x/bin/busybox").rename(program)
    return program


def make_rootfs(folder: Path, architecture: str = "amd64") -> Path:
    """Fill `folder` with a root file system: busybox, its applets, the accounts root and nobody."""
    for name in ("bin", "etc", "tmp"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "tmp").chmod(0o1777)
    program = folder / "bin/busybox"
    program.write_bytes(busybox(architecture).read_bytes())
    program.chmod(0o755)
    for applet in APPLETS:
        (folder / "bin" / applet).symlink_to("busybox")
    accounts = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
    (folder / "etc/passwd").write_text(accounts)
    (folder / "etc/group").write_text("root:x:0:\nnobody:x:65534:\n")
    return folder
