from __future__ import annotations

import io
import lzma
import tarfile
from pathlib import Path

import pytest

from polyarch.errors import InputError, NoRuntime
from polyarch.runtime.vm.architecture import ARCHITECTURES
from polyarch.runtime.vm.kernel import find_source, make_bootable

ARM64 = ARCHITECTURES["arm64"]
NEEDED = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")


def tree(directory: Path, version: str, *names: str) -> Path:
    """Lay out a root file system with a kernel."""
    (directory / "boot").mkdir(parents=True, exist_ok=True)
    (directory / "boot" / f"vmlinuz-{version}").write_bytes(version.encode())
    place = directory / "lib/modules" / version / "kernel"
    place.mkdir(parents=True)
    for name in names:
        (place / f"{name}.ko").write_bytes(b"\0depends=\0" + name.encode())
    return directory


def package(path: Path, source: Path) -> Path:
    """Pack a directory as Debian does."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(source, arcname=".")
    data = lzma.compress(packed.getvalue(), preset=0)
    members = (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", data))
    with open(path, "wb") as file:
        file.write(b"!<arch>\n")
        for name, content in members:
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode())
            file.write(content + b"\n" * (len(content) % 2))
    return path


def test_the_newest_kernel_of_a_directory_is_taken_with_its_modules(tmp_path: Path) -> None:
    tree(tmp_path / "root", "6.1.0-9-arm64", *NEEDED)
    source = tree(tmp_path / "root", "6.1.0-56-arm64", *NEEDED, "virtio_net", "sound")

    made = make_bootable(ARM64, source, tmp_path / "place")

    initramfs = made.initramfs.read_bytes()
    assert made.kernel.read_bytes() == b"6.1.0-56-arm64"
    assert [name in initramfs for name in (b"modules/9p.ko", b"modules/virtio_net.ko")] == [
        True
    ] * 2
    assert b"sound" not in initramfs


def test_a_package_holds_the_same_as_a_directory(tmp_path: Path) -> None:
    source = tree(tmp_path / "root", "6.1.0-56-arm64", *NEEDED)
    unpacked = make_bootable(ARM64, source, tmp_path / "place")

    made = make_bootable(ARM64, package(tmp_path / "a.deb", source), tmp_path / "place")

    assert made.kernel.read_bytes() == unpacked.kernel.read_bytes()
    assert sorted(made.initramfs.read_bytes()) == sorted(unpacked.initramfs.read_bytes())


def test_what_was_made_is_kept_until_the_kernel_changes(tmp_path: Path) -> None:
    source = tmp_path / "vmlinuz"
    source.write_bytes(b"one")
    first = make_bootable(ARM64, source, tmp_path / "place")
    inode = first.kernel.stat().st_ino

    again = make_bootable(ARM64, source, tmp_path / "place")
    source.write_bytes(b"another")
    changed = make_bootable(ARM64, source, tmp_path / "place")

    assert (again, again.kernel.stat().st_ino) == (first, inode)
    assert changed.kernel.read_bytes() == b"another"


def test_a_kernel_without_9p_is_refused(tmp_path: Path) -> None:
    source = tree(
        tmp_path / "root", "6.1.0-56-cloud-arm64", "virtio_pci", "virtio_console", "overlay"
    )

    with pytest.raises(NoRuntime) as caught:
        make_bootable(ARM64, source, tmp_path / "place")

    assert str(caught.value) == (
        f"the kernel of {source} has no 9pnet_virtio, 9p: a virtual machine can't do without"
    )
    assert caught.value.hint == "Debian's linux-image-arm64 has it all; its cloud flavour lacks 9p"


def test_a_package_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.deb").write_bytes(b"hello")

    with pytest.raises(
        InputError, match=r"a\.deb is no package of Debian's: it doesn't begin as one"
    ):
        make_bootable(ARM64, tmp_path / "a.deb", tmp_path / "place")


def test_a_package_without_a_kernel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root/usr").mkdir(parents=True)

    with pytest.raises(InputError, match=r"a\.deb holds no kernel"):
        make_bootable(ARM64, package(tmp_path / "a.deb", tmp_path / "root"), tmp_path / "place")


@pytest.mark.parametrize("setting", ["arm64={0}", "amd64=/none,arm64={0}", "{0}"])
def test_the_setting_names_a_kernel_for_an_architecture(tmp_path: Path, setting: str) -> None:
    assert find_source(ARM64, setting.format(tmp_path), native="arm64") == tmp_path


def test_without_a_kernel_the_error_says_how_to_get_one() -> None:
    with pytest.raises(NoRuntime) as caught:
        find_source(ARM64, "", native="amd64")

    assert str(caught.value) == "there is no kernel for a virtual machine for arm64"
    assert caught.value.hint == (
        "fetch one and name it: apt-get download linux-image-arm64 (of that architecture, and the package "
        "that it depends on), then POLYARCH_VM_KERNEL=arm64=linux-image-VERSION.deb"
    )


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("arm46=/x", "POLYARCH_VM_KERNEL: arm46: no such architecture"),
        ("arm64=/none", "POLYARCH_VM_KERNEL: /none: no such file or directory"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(setting: str, complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        find_source(ARM64, setting, native="amd64")

    assert str(caught.value) == complaint
