"""The kernel of a machine: found, and made ready as two files that QEMU takes.

Where one comes from is said by `POLYARCH_VM_KERNEL`, a list `[ARCHITECTURE=]PATH,...`; a path is

- a package of Debian's or Ubuntu's (`linux-image-*.deb`), as apt-get download fetches it,
- a directory laid out as a root file system, with `boot/vmlinuz-VERSION` and `lib/modules/VERSION`, or
- a kernel that has all drivers built in.

Without one, the kernel of this machine is taken for its own architecture. From any of these an initial root file
system is made, with the agent and those modules without which there is no root: they are not the step's business,
which has a root of its own. Both files are kept, as unpacking a package takes seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from polyarch.emulation.facts import stamp
from polyarch.errors import InputError, NoRuntime
from polyarch.paths import replacing
from polyarch.record import frozen
from polyarch.runtime.vm.agent import Agent
from polyarch.runtime.vm.architecture import ARCHITECTURES, Architecture
from polyarch.runtime.vm.cpio import device, directory, file, write_cpio
from polyarch.runtime.vm.debian import open_package
from polyarch.runtime.vm.modules import Modules

__all__ = ["KERNEL_VARIABLE", "Bootable", "find_source", "make_bootable"]

KERNEL_VARIABLE = "POLYARCH_VM_KERNEL"

_NEEDED = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")
"""Without these there is no talk with the machine, or no root for a step."""
_USEFUL = ("virtio_net", "virtio_blk")
_IMAGE = re.compile(
    r"(?:boot/vmlinu[xz]-(?P<one>[^/]+)|(?:usr/)?lib/modules/(?P<two>[^/]+)/vmlinuz)"
)
_BUILT_IN = re.compile(r"(?:usr/)?lib/modules/[^/]+/modules\.builtin")
_MONTH = 30 * 86400


@frozen
class Bootable:
    """What a machine is started with."""

    kernel: Path
    initramfs: Path


@frozen
class _Tree:
    """Files by their paths, and how one is read."""

    paths: Sequence[str]
    read: Callable[[str], bytes]


def find_source(architecture: Architecture, setting: str, *, native: str) -> Path:
    """Return where the kernel comes from; `native` is the machine's own architecture.

    Raises InputError for a setting that can't be meant, NoRuntime if nothing is known of a kernel.
    """
    for each in filter(None, setting.split(",")):
        name, _, path = each.rpartition("=")
        if name not in {"", *ARCHITECTURES}:
            raise InputError(
                f"{KERNEL_VARIABLE}: {name}: no such architecture",
                hint=f"there are {', '.join(ARCHITECTURES)}",
            )
        if name == architecture.name or (not name and native == architecture.name):
            if not os.path.exists(path):
                raise InputError(f"{KERNEL_VARIABLE}: {path}: no such file or directory")
            return Path(path).absolute()
    if native == architecture.name and any(_images(_own_paths())):
        return Path("/")
    raise NoRuntime(
        f"there is no kernel for a virtual machine for {architecture.name}",
        hint=f"fetch one and name it: apt-get download {architecture.kernel_package} (of that "
        f"architecture, and the package that it depends on), then {KERNEL_VARIABLE}="
        f"{architecture.name}=linux-image-VERSION.deb",
    )


def make_bootable(architecture: Architecture, source: Path, place: Path) -> Bootable:
    """Return the kernel from `source` and an initial root file system for it, both below `place`.

    They are made if they aren't there. Raises InputError, NoRuntime, OSError.
    """
    key = f"{architecture.name} {_stamp(source)} {Agent(architecture).elf().hex()}"
    target = place / hashlib.sha256(key.encode()).hexdigest()[:16]
    made = Bootable(kernel=target / "kernel", initramfs=target / "initramfs")
    if made.kernel.exists() and made.initramfs.exists():
        os.utime(target)
        return made
    target.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _opened(source, target) as tree:
        kernel, modules = _chosen(tree, source)
        _check(architecture, modules, source)
        initramfs = _initramfs(architecture, modules)
    for path, content in ((made.initramfs, initramfs), (made.kernel, kernel)):
        with replacing(path) as aside:
            aside.write_bytes(content)
    for other in set(place.iterdir()) - {target}:
        # Those of kernels that were replaced since.
        if other.stat().st_mtime < time.time() - _MONTH:
            shutil.rmtree(other, ignore_errors=True)
    return made


def _stamp(source: Path) -> str:
    """Return a text that changes when the kernel or its modules do."""
    if source.is_dir():
        return " ".join(
            stamp(str(source / each)) for each in ("boot", "lib/modules", "usr/lib/modules")
        )
    return stamp(str(source))


# --- where the files are ---


@contextlib.contextmanager
def _opened(source: Path, scratch: Path) -> Iterator[_Tree]:
    if source.suffix == ".deb":
        with open_package(source, scratch) as package:
            yield _Tree(paths=package.paths(), read=package.read)
    elif source.is_dir():
        paths = _own_paths() if source == Path("/") else _paths(source, ("boot", "lib", "usr/lib"))
        yield _Tree(paths=list(paths), read=lambda path: (source / path).read_bytes())
    else:
        yield _Tree(paths=["boot/vmlinuz-"], read=lambda _path: source.read_bytes())


def _own_paths() -> list[str]:
    """Return where this machine has kernels, and the modules of the one that is chosen."""
    return [
        path
        for path in _paths(Path("/"), ("boot", "usr/lib/modules", "lib/modules"))
        if os.access(f"/{path}", os.R_OK)
    ]


def _paths(root: Path, below: Sequence[str]) -> Iterator[str]:
    for each in below:
        for top, _, names in os.walk(root / each):
            relative = os.path.relpath(top, root)
            yield from (f"{relative}/{name}" for name in names)


def _images(paths: Sequence[str]) -> dict[str, str]:
    """Return the kernels among `paths`, by version."""
    found = (
        (_IMAGE.fullmatch(path) or re.fullmatch("boot/vmlinuz-()", path), path) for path in paths
    )
    return {next(filter(None, match.groups()), ""): path for match, path in found if match}


def _chosen(tree: _Tree, source: Path) -> tuple[bytes, Modules | None]:
    """Return the newest kernel of a tree, with its modules if there are any. Raises InputError."""
    images = _images(tree.paths)
    if not images:
        raise InputError(
            f"{source} holds no kernel",
            hint="a root file system has it as boot/vmlinuz-VERSION, with lib/modules/VERSION; a package "
            "that only depends on that of the kernel has neither: fetch the latter",
        )
    version = max(images, key=_ordered)
    prefixes = (f"lib/modules/{version}/", f"usr/lib/modules/{version}/")
    own = [path for path in tree.paths if path.startswith(prefixes)]
    kernel = tree.read(images[version])
    if not own:
        return kernel, None
    lists = [path for path in own if _BUILT_IN.fullmatch(path)]
    built_in = tree.read(lists[0]).decode(errors="replace").splitlines() if lists else []
    return kernel, Modules(own, built_in, tree.read)


def _ordered(version: str) -> list[tuple[int, str]]:
    return [(int(each or 0), text) for text, each in re.findall(r"(\D*)(\d*)", version)]


# --- the initial root file system ---


def _check(architecture: Architecture, modules: Modules | None, source: Path) -> None:
    """Raise NoRuntime for a kernel that lacks what a machine needs."""
    missing = modules.missing(_NEEDED) if modules is not None else []
    if missing:
        raise NoRuntime(
            f"the kernel of {source} has no {', '.join(missing)}: a virtual machine can't do without",
            hint=f"Debian's {architecture.kernel_package} has it all; its cloud flavour lacks 9p",
        )


def _initramfs(architecture: Architecture, modules: Modules | None) -> bytes:
    """Return a file system with the agent as init, and with modules."""
    loaded = modules.closure((*_NEEDED, *_USEFUL)) if modules is not None else {}
    paths = [f"/modules/{name}.ko" for name in loaded]
    agent = Agent(architecture, modules=paths)
    entries = [
        *(directory("dev"), device("dev/console", 5, 1), directory("modules"), directory("new")),
        file("init", agent.elf(), 0o755),
        *(file(f"modules/{name}.ko", content) for name, content in loaded.items()),
    ]
    return write_cpio(entries)
