"""Roots as Debian's base images are: packages unpacked over a merged /usr, with dpkg's database of them."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.debian import alone, fetch, packages_directory

__all__ = ["APT", "PYTHON_ALONE", "TOOLS", "make_debian_root"]

APT = (
    "apt",
    "libapt-pkg6.0",
    "libcap2",
    "libgcc-s1",
    "libgcrypt20",
    "libgpg-error0",
    "liblz4-1",
    "libseccomp2",
    "libstdc++6",
    "libsystemd0",
    "libudev1",
    "libxxhash0",
)
"""What apt needs besides, to fetch from a directory."""

TOOLS = (
    *(
        "bash",
        "coreutils",
        "dash",
        "debianutils",
        "dpkg",
        "findutils",
        "grep",
        "gzip",
        "sed",
        "tar",
    ),
    *(
        "libacl1",
        "libattr1",
        "libbz2-1.0",
        "libc6",
        "libgmp10",
        "liblzma5",
        "libmd0",
        "libpcre2-8-0",
    ),
    *(
        "libselinux1",
        "libtinfo6",
        "libzstd1",
        "libcrypt1",
        "make",
        "perl-base",
        "xz-utils",
        "zlib1g",
    ),
)
PYTHON_ALONE = (
    *("coreutils", "dash", "libacl1", "libattr1", "libbz2-1.0", "libc6", "libexpat1", "libgmp10"),
    *("libffi8", "liblzma5", "libpcre2-8-0", "libselinux1", "zlib1g"),
    *("libpython3.11-minimal", "libpython3.11-stdlib", "python3.11-minimal"),
)
"""Python without what most of its modules are linked to."""
_MERGED = ("bin", "sbin", "lib", "lib64")
_DEBIAN_NAMES = {"arm": "armhf"}


def make_debian_root(directory: Path, architecture: str, packages: Sequence[str] = TOOLS) -> Path:
    """Fill `directory` with packages for Go's `architecture`, without running anything of them.

    They are unpacked once for all processes and runs: that takes seconds of a processor, and a copy a tenth of one.
    """
    found = fetch(packages_directory(), architecture, packages)
    names = "\n".join((architecture, *(each.name for each in found)))
    state = hashlib.sha256(names.encode() + Path(__file__).read_bytes()).hexdigest()
    kept = packages_directory() / "roots"
    kept.mkdir(parents=True, exist_ok=True)
    archive = kept / f"{architecture}-{state[:16]}.tar"
    with alone(kept):
        if not archive.exists():
            _fill(directory, architecture, found)
            incoming = archive.with_suffix(".incoming")
            subprocess.run(["tar", "-c", "-f", incoming, "-C", directory, "."], check=True)
            incoming.rename(archive)
            return directory
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-x", "-p", "-f", archive, "-C", directory], check=True)
    return directory


def _fill(directory: Path, architecture: str, packages: Sequence[Path]) -> None:
    for name in _MERGED:
        (directory / "usr" / name).mkdir(parents=True)
        (directory / name).symlink_to(f"usr/{name}")
    for name in ("etc", "root", "tmp", "var/lib/dpkg/info"):
        (directory / name).mkdir(parents=True)
    directory.chmod(0o755)
    (directory / "var/lib/dpkg/info/format").write_text("1\n")
    (directory / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (directory / "etc/group").write_text("root:x:0:\n")
    stanzas = [_install(directory, package, architecture) for package in packages]
    (directory / "var/lib/dpkg/status").write_text("\n".join(stanzas))


def _install(directory: Path, package: Path, architecture: str) -> str:
    """Unpack a package, write the list of its files, and return what the status says of it."""
    fields = _output("--field", package)
    kind = f":{_DEBIAN_NAMES.get(architecture, architecture)}"
    name = f"{package.name.partition('_')[0]}{kind if 'Multi-Arch: same' in fields else ''}"
    archive = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", package], check=True, stdout=subprocess.PIPE
    ).stdout
    words: list[str | Path] = [
        "tar",
        "-x",
        "--keep-directory-symlink",
        # All but what dpkg needs to know of machines.
        "--exclude=./usr/share/[!d]*",
        "--exclude=./usr/share/d[!p]*",
        "-C",
        directory,
    ]
    subprocess.run(words, input=archive, check=True)
    listed = subprocess.run(["tar", "-t"], input=archive, check=True, stdout=subprocess.PIPE).stdout
    paths = [line.removeprefix(".").rstrip("/") or "/." for line in listed.decode().splitlines()]
    (directory / f"var/lib/dpkg/info/{name}.list").write_text("\n".join(paths) + "\n")
    first, _, rest = fields.partition("\n")
    return f"{first}\nStatus: install ok installed\n{rest}"


def _output(option: str, package: Path) -> str:
    return subprocess.run(
        ["dpkg-deb", option, package], check=True, text=True, stdout=subprocess.PIPE
    ).stdout
