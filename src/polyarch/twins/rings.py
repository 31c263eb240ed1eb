"""Which programs may have native twins: names that were looked at one by one, in rings.

(a) is what shell scripts start: shells, text tools, archivers, digests. (b) is what package managers start. What isn't
here isn't replaced, and what is here is replaced only if the two roots have the same version of it and everything in it
that names a machine can be exchanged. (c) is Go's toolchain (`gotools`). Left out, with the reasons:

- What prints `long double`s, of which CPUs have different ones: coreutils' printf, seq, numfmt, od.
- What has the machine's layout in files: who, users, pinky (utmp), localedef, ldconfig, iconvconfig.
- What is about the machine or loads things by itself: getconf, iconv, ldd, stdbuf, setarch, lscpu, ps and its kin.
- What changes the root or the user: chroot (there are no twins in another root), su, and everything setuid.
- openssl (its library names the CPU), locale, the apt programs (their library has the architecture).
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["DIRECTORIES", "RINGS", "SIBLING_PRIORITY", "may_grow", "ring_of"]

_SHELLS = "bash dash busybox"
_COREUTILS = """
[ arch b2sum base32 base64 basename basenc cat chcon chgrp chmod chown cksum comm cp csplit cut date dd df dir
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
"""
DIRECTORIES = ("/usr/bin", "/usr/sbin", "/bin", "/sbin")

RINGS: Mapping[str, frozenset[str]] = {
    "a": frozenset(f"{_SHELLS} {_COREUTILS} {_TEXT} {_ARCHIVERS}".split()),
    "b": frozenset(_PACKAGES.split()),
}
"""The names of programs in directories for programs, by ring."""

_NOT_32 = frozenset(["date", "touch", "stat", "perl"])
"""What shows the size of `time_t`, `long` or the memory: other on 32-bit machines."""

_SIMD = frozenset(["zstd"])
"""What makes other files on CPUs without registers of 128 bits: zstd looks for matches in another way there, and
small files of its levels 5 to 12 come out otherwise."""
_WITH_SIMD = frozenset(["arm64"])
"""Where distributions compile for such registers, as they do for x86-64; Debian's armhf is made for CPUs without."""

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
    return next((ring for ring, names in RINGS.items() if name in names), "")


def may_grow(path: str) -> bool:
    """Tell whether texts of the program at a path may become shorter or longer."""
    return path.rpartition("/")[2] in _GROWING
