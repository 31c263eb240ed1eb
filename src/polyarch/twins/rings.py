"""Which programs may have native twins: names that were looked at one by one, in rings.

(a) is what shell scripts start: shells, text tools, archivers, digests. (b) is what package managers start. What isn't
here isn't replaced, and what is here is replaced only if the two roots have the same version of it and everything in it
that names a machine can be exchanged. (c) is Go's toolchain (`gotools`). Left out, with the reasons:

- What prints `long double`s, of which CPUs have different ones: coreutils' printf, seq, numfmt, od.
- What has the machine's layout in files: who, users, pinky (utmp), localedef, ldconfig, iconvconfig.
- What is about the machine or loads things by itself: getconf, iconv, ldd, stdbuf, setarch, lscpu, ps and its kin.
- What changes the user: su, and everything setuid. chroot has a twin, so that it's known that a step goes to another root.
- openssl (its library names the CPU), locale.
- For 32-bit machines apt itself: its caches have the sizes of `time_t` and `long` in them. Its methods have no caches.
  perl runs some scripts only there (`scripts`).
- Python for others than arm64, and elsewhere than in /usr/bin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = [
    "DIRECTORIES",
    "RINGS",
    "SIBLING_PRIORITY",
    "fills_header",
    "is_python",
    "may_grow",
    "names_machine",
    "ring_of",
]

_SHELLS = "bash dash busybox"
_COREUTILS = """
[ arch b2sum base32 base64 basename basenc cat chcon chgrp chmod chown chroot cksum comm cp csplit cut date dd df dir
dircolors dirname du echo env expand expr factor false fmt fold groups head hostid id install join link ln
logname ls md5sum md5sum.textutils mkdir mkfifo mknod mktemp mv nice nl nohup nproc paste pathchk pr printenv ptx
pwd readlink realpath rm rmdir sha1sum sha224sum sha256sum sha384sum sha512sum shred shuf sleep sort split stat
stty sum sync tac tail tee test timeout touch tr true truncate tsort tty uname unexpand uniq unlink vdir wc
whoami yes coreutils
"""
_TEXT = """
find xargs grep sed mawk gawk diff diff3 sdiff cmp m4 patch make gmake git curl wget file-rename
getopt flock rev hostname run-parts tempfile
"""
_ARCHIVERS = """
tar gzip bzip2 bunzip2 bzcat bzip2recover xz xzdec lzmadec zstd cpio zip unzip
"""
_PACKAGES = """
dpkg dpkg-deb dpkg-split dpkg-query dpkg-divert dpkg-statoverride dpkg-trigger update-alternatives gpgv perl
start-stop-daemon
"""
_APT = "apt apt-get apt-cache apt-config apt-mark apt-extracttemplates"
_HELPERS = {
    "/usr/lib/apt": "apt-helper",
    "/usr/lib/apt/methods": "cdrom copy file gpgv http mirror rred store",
    "/usr/lib/apt/solvers": "apt dump",
    "/usr/lib/apt/planners": "apt dump",
}
"""What package managers start that lies elsewhere: all of ring (b), too."""
DIRECTORIES = ("/usr/bin", "/usr/sbin", "/bin", "/sbin", *_HELPERS)

RINGS: Mapping[str, frozenset[str]] = {
    "a": frozenset(f"{_SHELLS} {_COREUTILS} {_TEXT} {_ARCHIVERS}".split()),
    "b": frozenset(f"{_PACKAGES} {_APT}".split()),
}
"""The names of programs in directories for programs, by ring."""

_NOT_32 = frozenset(["date", "touch", "stat", "fold", *_APT.split()])
"""What shows the size of `time_t`, `long`, `size_t` or the memory, or writes it down: other on 32-bit machines."""

_NAMING_LIBRARIES = {"libapt-pkg.so": "_ZN8pkgCache6HeaderC1Ev", "libapt-private.so": ""}
"""Libraries that name the machine: which function of them fills the header of a file, if there is one."""

_SIMD = frozenset(["zstd"])
"""What makes other files on CPUs without registers of 128 bits: zstd looks for matches in another way there, and
small files of its levels 5 to 12 come out otherwise."""
_WITH_SIMD = frozenset(["arm64"])
"""Where distributions compile for such registers, as they do for x86-64; Debian's armhf is made for CPUs without."""

_PYTHON = re.compile(r"python3\.[0-9]+")
_WITH_PYTHON = frozenset(["arm64"])
"""Where it's known which of its results depend on the CPU."""

_GROWING = frozenset(["bash", "gpgv", "make", "perl"])
"""What is known to work, and tested, with texts of other lengths: compilers count constant texts beforehand."""

SIBLING_PRIORITY = ("true", "ls", "uname", "sha256sum", "sha512sum")
"""Of programs that the kernel can't tell apart, those that it starts the twin of; the others start by those."""


def ring_of(path: str, *, architecture: str, bits: int) -> str:
    """Return the ring of the program at a path of a root for a machine, of 32 or 64 bits; "" if it has none."""
    directory, _, name = path.rpartition("/")
    if directory not in DIRECTORIES or (bits == 32 and name in _NOT_32):
        return ""
    if name in _SIMD and architecture not in _WITH_SIMD:
        return ""
    if directory in _HELPERS:
        return "b" if name in _HELPERS[directory].split() else ""
    if is_python(path):
        return "b" if architecture in _WITH_PYTHON and directory == "/usr/bin" else ""
    return next((ring for ring, names in RINGS.items() if name in names), "")


def names_machine(library: str) -> bool:
    """Tell whether a library has the machine's name for its programs to act on: it's to be the foreign one's."""
    return library.partition(".so")[0] + ".so" in _NAMING_LIBRARIES


def fills_header(library: str) -> str:
    """Return the function of a library that names the machine which fills the header of a file; "" for none."""
    return _NAMING_LIBRARIES[library.partition(".so")[0] + ".so"]


def may_grow(path: str) -> bool:
    """Tell whether texts of the program at a path may become shorter or longer."""
    return path.rpartition("/")[2] in _GROWING or is_python(path)


def is_python(path: str) -> bool:
    """Tell whether the program at a path is Python."""
    return _PYTHON.fullmatch(path.rpartition("/")[2]) is not None
