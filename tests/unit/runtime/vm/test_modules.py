from __future__ import annotations

import gzip
import lzma
from collections.abc import Mapping

import pytest

from polyarch.errors import MachineError
from polyarch.runtime.vm.modules import Modules, module_name, unpacked


def module(*needed: str) -> bytes:
    return b"\x7fELF\0license=GPL\0depends=" + ",".join(needed).encode() + b"\0name=x\0"


FILES = {
    "kernel/fs/9p/9p.ko": module("9pnet", "netfs"),
    "kernel/fs/netfs/netfs.ko": module(),
    "kernel/net/9p/9pnet.ko": module(),
    "kernel/net/9p/9pnet_virtio.ko.xz": lzma.compress(module("9pnet", "virtio-ring")),
    "kernel/drivers/virtio/virtio_ring.ko.gz": gzip.compress(module()),
    "kernel/round.ko": module("about"),
    "kernel/about.ko": module("round"),
    "modules.order": b"",
}


def modules(files: Mapping[str, bytes] = FILES) -> Modules:
    return Modules(files, ["kernel/fs/overlayfs/overlay.ko"], files.__getitem__)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("kernel/fs/9p/9p.ko", "9p"),
        ("kernel/a/snd-pcm.ko.zst", "snd_pcm"),
        ("modules.builtin", ""),
    ],
)
def test_the_name_of_a_module(path: str, name: str) -> None:
    assert module_name(path) == name


def test_what_is_needed_comes_first_and_once() -> None:
    found = modules().closure(["9p", "9pnet_virtio", "overlay", "nothing"])

    assert list(found) == ["9pnet", "netfs", "9p", "virtio_ring", "9pnet_virtio"]


def test_modules_are_unpacked() -> None:
    assert modules().closure(["9pnet_virtio"])["9pnet_virtio"] == module("9pnet", "virtio-ring")


def test_modules_that_need_each_other_end_somewhere() -> None:
    assert set(modules().closure(["round"])) == {"round", "about"}


def test_what_is_built_in_is_not_missing() -> None:
    assert modules().missing(["9p", "overlay", "virtio_pci"]) == ["virtio_pci"]


def test_a_damaged_module_is_named() -> None:
    with pytest.raises(MachineError, match=r"a/b\.ko\.xz can't be unpacked"):
        unpacked("a/b.ko.xz", b"nothing of the kind")
