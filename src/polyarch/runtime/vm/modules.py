"""Kernel modules: which files a machine needs to be given, in the order in which they are loaded.

A package of Debian's has no modules.dep, which depmod makes when it is installed; so each module is asked itself.
It says what it depends on in its section `.modinfo`, as `depends=NAME,NAME`.

Source: modinfo(8), modules.builtin(5); include/linux/moduleinfo.h of Linux.
"""

from __future__ import annotations

import gzip
import lzma
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import IO, Protocol, cast

from polyarch.errors import MachineError

__all__ = ["Modules", "Zstd", "module_name", "unpacked", "zstd"]

_SUFFIXES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")


def module_name(path: str) -> str:
    """Return the name of the module in a file, or an empty text if it is none by its name."""
    name = path.rpartition("/")[2]
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix).replace("-", "_")
    return ""


def unpacked(path: str, content: bytes) -> bytes:
    """Return a module as the kernel takes it. Raises MachineError if it is damaged."""
    try:
        if path.endswith(".xz"):
            return lzma.decompress(content)
        if path.endswith(".gz"):
            return gzip.decompress(content)
        if path.endswith(".zst"):
            return bytes(zstd().decompress(content))
    except (lzma.LZMAError, OSError, ValueError, EOFError) as error:
        raise MachineError(f"{path} can't be unpacked: {error}") from error
    return content


class Zstd(Protocol):
    """Of Python's module for zstd what is used here."""

    def decompress(self, data: bytes, /) -> bytes:
        """Unpack the whole."""

    def open(self, file: IO[bytes], /) -> IO[bytes]:
        """Return a stream of what is packed in another."""


def zstd() -> Zstd:
    """Return Python's module for zstd: only kernels of some distributions need it."""
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return cast("Zstd", import_module(name))


class Modules:
    """The modules of one kernel: where the file of each is, by name, and which are built in.

    `read` returns the content of a file.
    """

    def __init__(
        self, paths: Iterable[str], built_in: Iterable[str], read: Callable[[str], bytes]
    ) -> None:
        self._paths: Mapping[str, str] = {
            name: path for path in paths if (name := module_name(path))
        }
        self._built_in = {module_name(path) for path in built_in}
        self._read = read

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return which of `names` the kernel has in no way."""
        return [each for each in names if each not in self._paths and each not in self._built_in]

    def closure(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the modules `names` and all that they need, by name, each before those that need it.

        Those that are built in, or not there, are left out.
        """
        found: dict[str, bytes] = {}
        for name in names:
            self._add(name, found, ())
        return found

    def _add(self, name: str, found: dict[str, bytes], way: tuple[str, ...]) -> None:
        if name in found or name in way or name not in self._paths:
            return
        path = self._paths[name]
        content = unpacked(path, self._read(path))
        for needed in _dependencies(content):
            self._add(needed, found, (*way, name))
        found[name] = content


def _dependencies(content: bytes) -> list[str]:
    _, found, rest = content.partition(b"\0depends=")
    names = rest.partition(b"\0")[0].decode(errors="replace") if found else ""
    return [each.replace("-", "_") for each in names.split(",") if each]
