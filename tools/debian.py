"""Debian's packages of any architecture, fetched and unpacked without being installed or run.

apt works in a directory of its own, with the sources and keys of the machine, so neither the machine's
packages nor its lists change; an ordinary user may do this.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

__all__ = [
    "alone",
    "fetch",
    "fetch_kernel",
    "fetch_with_dependencies",
    "first_stage",
    "packages_directory",
    "unpack",
]

_DEBIAN_NAMES = {
    "amd64": "amd64",
    "arm64": "arm64",
    "arm": "armhf",
    "386": "i386",
    "s390x": "s390x",
    "ppc64le": "ppc64el",
}
"""Go's name of an architecture -> Debian's."""

_KERNELS = {
    "amd64": "linux-image-amd64",
    "arm64": "linux-image-arm64",
    "ppc64le": "linux-image-powerpc64le",
}
_INCOMING = "incoming"


def packages_directory() -> Path:
    """Return where packages are kept: `$POLYARCH_PACKAGES`, else a directory that git ignores."""
    chosen = os.environ.get("POLYARCH_PACKAGES")
    return Path(chosen) if chosen else Path(__file__).absolute().parent.parent / "build/packages"


def fetch(directory: Path, architecture: str, names: Iterable[str]) -> list[Path]:
    """Return the package files of `names` for Go's `architecture`, downloaded into `directory` once.

    May be called by several processes at a time. Raises CalledProcessError if a package can't be had.
    """
    directory = directory.absolute() / architecture
    directory.mkdir(parents=True, exist_ok=True)
    wanted = list(names)
    with alone(directory):
        missing = [name for name in wanted if not _find(directory, name)]
        if missing:
            # One index of several may be out of step on a mirror: what counts is the download.
            with contextlib.suppress(subprocess.CalledProcessError):
                _apt(directory, architecture, "update")
            _apt(directory, architecture, "download", *missing)
            # One that was cut short stays behind there, and is fetched again.
            for package in (directory / _INCOMING).glob("*.deb"):
                package.rename(directory / package.name)
        return [_find(directory, name)[-1] for name in wanted]


def fetch_with_dependencies(directory: Path, architecture: str, names: Iterable[str]) -> list[Path]:
    """Return the package files of `names` and of all that they depend on, downloaded below `directory`.

    Raises CalledProcessError if one can't be had.
    """
    directory = directory.absolute() / f"{architecture}-closed"
    directory.mkdir(parents=True, exist_ok=True)
    with alone(directory):
        with contextlib.suppress(subprocess.CalledProcessError):
            _apt(directory, architecture, "update")
        options = ["--download-only", "--yes", "--no-install-recommends"]
        _apt(directory, architecture, "install", *options, *names)
        return sorted((directory / "archives").glob("*.deb"))


def first_stage(directory: Path, architecture: str) -> None:
    """Make `directory` what debootstrap's first stage leaves: packages to configure, with all that configures them.

    They come from where apt of this machine gets its own. Raises CalledProcessError if they can't be had.
    """
    words = [
        "apt-get",
        "indextargets",
        "--format",
        "$(CODENAME) $(REPO_URI)",
        "Created-By: Packages",
    ]
    shown = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    # Updates and fixes of security have suites of their own.
    suite, uri = next(each.split() for each in shown.splitlines() if "-" not in each.split()[0])
    kind = ["--foreign", "--variant=minbase", f"--arch={_DEBIAN_NAMES[architecture]}"]
    subprocess.run(
        ["debootstrap", *kind, suite, str(directory), uri], check=True, stdout=subprocess.DEVNULL
    )


def fetch_kernel(directory: Path, architecture: str) -> Path:
    """Return the package with Debian's kernel for Go's `architecture`; the one of that name only depends on it."""
    (named,) = fetch(directory, architecture, [_KERNELS[architecture]])
    words = ["dpkg-deb", "--field", str(named), "Depends"]
    depends = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    (package,) = fetch(directory, architecture, [depends.split()[0]])
    return package


def unpack(package: Path, directory: Path, wanted: Callable[[str], bool] = lambda _: True) -> None:
    """Put the files of a package whose path (`usr/bin/go`) is `wanted` into `directory`, as the caller's."""
    words = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with (
        subprocess.Popen(words, stdout=subprocess.PIPE) as unpacker,
        tarfile.open(fileobj=unpacker.stdout, mode="r|") as archive,
    ):
        for member in archive:
            if wanted(member.name.removeprefix("./")):
                _place(archive, member, directory / member.name)
    if unpacker.returncode:
        raise subprocess.CalledProcessError(unpacker.returncode, words)


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        path.symlink_to(member.linkname)
    elif content := archive.extractfile(member):
        path.write_bytes(content.read())
        path.chmod(member.mode & 0o777)


def _find(directory: Path, name: str) -> list[Path]:
    return sorted(directory.glob(f"{name}_*.deb"))


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Keep other processes out of a directory that they enter in the same way."""
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _apt(directory: Path, architecture: str, command: str, *names: str) -> None:
    debian = _DEBIAN_NAMES[architecture]
    for name in ("lists/partial", "archives/partial", _INCOMING):
        (directory / name).mkdir(parents=True, exist_ok=True)
    options = {
        "APT::Architecture": debian,
        "APT::Architectures::": debian,
        "Dir::State::lists": f"{directory}/lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache::archives": f"{directory}/archives",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        # Root's apt would fetch as another user, who may not write here.
        "APT::Sandbox::User": "",
    }
    settings = [f"-o{name}={value}" for name, value in options.items()]
    subprocess.run(
        ["apt-get", "-qq", *settings, command, *names],
        cwd=directory / _INCOMING,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # What `update` complains of is of no interest as long as `download` succeeds.
        stderr=subprocess.DEVNULL if command == "update" else None,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
