"""Small stand-ins for `alpine` and `golang:alpine`, made of Debian's packages for each platform.

Nothing foreign is run: packages are fetched and unpacked here, and polyarch itself makes images of
them, by a Dockerfile without RUN. The Go stand-in can build programs that import `fmt` and `runtime`:
it has those packages and what they import, compiled as Debian ships them, so that the build needn't
compile them again under emulation. Unlike golang's images it sets GO111MODULE=auto, so that a program
without go.mod builds, too, and CGO_ENABLED=0, as there is no C compiler.

`python -m demo.standins DIRECTORY` makes the build contexts of both.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from tools.busybox import make_rootfs
from tools.debian import fetch, packages_directory, unpack

__all__ = ["PLATFORMS", "imports", "make_alpine", "make_golang"]

_ARCHITECTURES = ("amd64", "arm64", "arm")
PLATFORMS = "linux/amd64,linux/arm64,linux/arm/v7"

_ALPINE = """\
FROM scratch
ARG TARGETARCH
COPY ${TARGETARCH} /
CMD ["/bin/sh"]
"""
_GOLANG = """\
FROM alpine
ARG TARGETARCH
COPY ${TARGETARCH} /
COPY source /usr/share/go-1.19/src
ENV PATH=/go/bin:/usr/lib/go-1.19/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV GOPATH=/go GO111MODULE=auto CGO_ENABLED=0
WORKDIR /go
"""
_GO = "usr/lib/go-1.19"
_SOURCE = "usr/share/go-1.19/src"
# `go build` runs the first two, and asks the third for its version.
_TOOLS = frozenset({"compile", "link", "asm"})
# The go command is linked with Debian's C library; its tools aren't.
_LIBC = re.compile(r"lib(64)?/([^/]+/)?(ld-linux[^/]*|libc\.so\.6|libpthread\.so\.0)")

_IMPORT = re.compile(r'^import\s+(?:\(([^)]*)\)|[^"\n(]*("[^"\n]+"))', re.MULTILINE)
_QUOTED = re.compile(r'"([^"]+)"')


def make_alpine(directory: Path, packages: Path) -> None:
    """Fill `directory` with the build context of the stand-in for `alpine`."""
    directory.mkdir(parents=True)
    (directory / "Dockerfile").write_text(_ALPINE)
    with ThreadPoolExecutor() as pool:
        made = [
            pool.submit(make_rootfs, directory / architecture, architecture, packages)
            for architecture in _ARCHITECTURES
        ]
    for each in made:
        each.result()


def make_golang(directory: Path, packages: Path) -> None:
    """Fill `directory` with the build context of the stand-in for `golang:alpine`."""
    directory.mkdir(parents=True)
    (directory / "Dockerfile").write_text(_GOLANG)
    (source,) = fetch(packages, _ARCHITECTURES[0], ["golang-1.19-src"])
    whole = directory / "whole"
    unpack(source, whole, lambda path: path.startswith(_SOURCE) and not path.endswith("_test.go"))
    needed = imports(whole / _SOURCE, ["fmt", "runtime"])
    for name in needed:
        _take_files(whole / _SOURCE / name, directory / "source" / name)
    shutil.rmtree(whole)
    with ThreadPoolExecutor() as pool:
        made = [
            pool.submit(_unpack_go, directory / architecture, architecture, needed, packages)
            for architecture in _ARCHITECTURES
        ]
    for each in made:
        each.result()


def imports(source: Path, names: Iterable[str]) -> frozenset[str]:
    """Return `names` and all packages below `source` that they import, on whichever platform."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found or not (source / name).is_dir():
            continue  # such as "C", or what a comment quotes
        found.add(name)
        for path in (source / name).glob("*.go"):
            text = path.read_text()
            if "\n//go:build ignore" in f"\n{text}":
                continue  # a generator, no part of the package
            for block, single in _IMPORT.findall(text):
                waiting += _QUOTED.findall(block or single)
    return frozenset(found)


def _take_files(origin: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in origin.iterdir():
        if path.is_file():
            path.rename(target / path.name)


def _unpack_go(directory: Path, architecture: str, needed: frozenset[str], packages: Path) -> None:
    go, libc = fetch(packages, architecture, ["golang-1.19-go", "libc6"])
    compiled = f"{_GO}/pkg/linux_{architecture}/"
    kept = {f"{compiled}{name}.a" for name in needed}
    kept |= {f"{_GO}/pkg/tool/linux_{architecture}/{tool}" for tool in _TOOLS}
    kept |= {f"{_GO}/{name}" for name in ("VERSION", "bin/go", "src")}
    directories = {
        f"{_SOURCE}/{name}" for name in needed
    }  # the files that differ are in this package
    unpack(
        go, directory, lambda path: path in kept or str(PurePosixPath(path).parent) in directories
    )
    unpack(libc, directory, lambda path: _LIBC.fullmatch(path) is not None)


if __name__ == "__main__":
    make_alpine(Path(sys.argv[1], "alpine"), packages_directory())
    make_golang(Path(sys.argv[1], "golang"), packages_directory())
