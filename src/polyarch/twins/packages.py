"""Which package, in which version, a file of a root belongs to: by the databases of dpkg and apk.

Versions of one source are compared, so Debian's rebuilds for one architecture (`1.2-3+b1`) are left out of them.
A root without a database, or with an empty one, as debootstrap's first stage leaves it, has no versions. Sources: deb(5), dpkg(1), /lib/apk/db/installed of apk-tools.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from polyarch import inroot
from polyarch.errors import InputError
from polyarch.record import field, frozen

__all__ = ["Package", "Packages", "read_packages"]

_DPKG_STATUS, _DPKG_FILES = "/var/lib/dpkg/status", "/var/lib/dpkg/info"
_APK_DATABASES = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
_LARGEST = 64 << 20
_REBUILD = re.compile(r"\+b\d+$")
_MERGED = re.compile(r"^/(s?bin|lib\w*)(?=/)")
"""The directories that a merged /usr has in /usr, whatever a package says."""


@frozen
class Package:
    """An installed package."""

    name: str
    version: str


@frozen
class Packages:
    """The packages of a root; `kind` is "dpkg", "apk" or, where there is none, ""."""

    kind: str
    versions: Mapping[str, str]
    owners: Mapping[str, str]
    """The name of the package of each file, whose path begins with /usr if it may."""
    architectures: Mapping[str, str] = field(default_factory=dict)
    """What Debian calls the machine that a package is for ("arm64", "all"), by its name."""

    def find(self, path: str) -> Package | None:
        """Return the package that a file comes from; `path` is absolute in the root."""
        name = self.owners.get(_MERGED.sub(r"/usr/\1", path))
        version = self.versions.get(name or "")
        return Package(name=name, version=version) if name and version else None


def read_packages(root: Path) -> Packages:
    """Return the packages of a root. Raises InputError for a database that isn't readable text, OSError."""
    status = _read(root, _DPKG_STATUS)
    if status is not None:
        known = list(_dpkg_installed(status))
        if known:
            return Packages(
                kind="dpkg",
                versions={name: version for name, version, _ in known},
                owners=dict(_dpkg_files(root)),
                architectures={name: architecture for name, _, architecture in known},
            )
    for path in _APK_DATABASES:
        installed = _read(root, path)
        if installed is not None:
            return _apk(installed)
    return Packages(kind="", versions={}, owners={})


def _read(root: Path, path: str) -> str | None:
    try:
        data = inroot.read_small(path, _LARGEST, "database of packages", root=root)
        return data.decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} of the image is no text") from error


def _dpkg_installed(status: str) -> Iterator[tuple[str, str, str]]:
    """Give names, versions and architectures of installed packages; of several of one name, the last one counts."""
    for stanza in status.split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in stanza.splitlines()
            if ": " in line and not line.startswith(" ")
        )
        if fields.get("Status", "").endswith(" installed") and "Version" in fields:
            version = _REBUILD.sub("", fields["Version"])
            yield fields.get("Package", ""), version, fields.get("Architecture", "")


def _dpkg_files(root: Path) -> Iterator[tuple[str, str]]:
    directory = inroot.resolve(root, _DPKG_FILES)
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        stem, ending = os.path.splitext(name)
        if ending != ".list":
            continue
        package, _, _ = stem.partition(":")
        for path in (_read(root, f"{_DPKG_FILES}/{name}") or "").splitlines():
            yield _MERGED.sub(r"/usr/\1", path), package


def _apk(installed: str) -> Packages:
    versions: dict[str, str] = {}
    owners: dict[str, str] = {}
    for stanza in installed.split("\n\n"):
        name = directory = ""
        for line in stanza.splitlines():
            key, _, value = line.partition(":")
            if key == "P":
                name = value
            elif key == "V":
                versions[name] = value
            elif key == "F":
                directory = value
            elif key == "R":
                owners[_MERGED.sub(r"/usr/\1", f"/{directory}/{value}")] = name
    return Packages(kind="apk", versions=versions, owners=owners)
