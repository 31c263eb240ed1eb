"""Scripts that perl's twin runs on machines of 32 bits: looked at one by one, and as they are in the base image.

A perl of 64 bits has other sizes there than the foreign one: `pack "l!"`, `%ld`, Storable's files, POSIX::LONG_MAX. None of
these scripts, and of the modules that come with them, does anything with such; they work on texts, files and
other programs. Debian's packages start them while they are installed: debconf's, init-system-helpers', adduser's, PAM's.
"""

from __future__ import annotations

from pathlib import Path

from polyarch import inroot

__all__ = ["find_scripts", "runs_some_scripts"]

_PERL = [
    "/usr/bin/deb-systemd-helper",
    "/usr/bin/deb-systemd-invoke",
    "/usr/sbin/update-rc.d",
    "/usr/bin/debconf",
    "/usr/bin/debconf-communicate",
    "/usr/bin/debconf-copydb",
    "/usr/bin/debconf-escape",
    "/usr/bin/debconf-set-selections",
    "/usr/bin/debconf-show",
    "/usr/sbin/dpkg-preconfigure",
    "/usr/sbin/dpkg-reconfigure",
    "/usr/share/debconf/fix_db.pl",
    "/usr/share/debconf/frontend",
    "/usr/sbin/adduser",
    "/usr/sbin/deluser",
    "/usr/sbin/pam-auth-update",
]


def runs_some_scripts(path: str) -> bool:
    """Tell whether the program at a path is trusted with some scripts only, on machines of 32 bits."""
    return path.rpartition("/")[2] == "perl"


def find_scripts(root: Path) -> dict[str, int]:
    """Return the paths and the sizes, in bytes, of those scripts that a root has."""
    found = {}
    for path in _PERL:
        place = inroot.resolve(root, path)
        if place.is_file() and place == root / path.lstrip("/"):
            found[path] = place.stat().st_size
    return found
