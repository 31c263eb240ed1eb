"""Layers that are looked through once: what is found is what a scan of the whole finds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from polyarch.attest.sbom.layered import Layer, ScanMemory, scan_layers
from polyarch.attest.sbom.scan import Scan, scan
from polyarch.store.store import Store


def status(*names: str) -> str:
    stanza = "Package: {}\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n"
    return "\n".join(map(stanza.format, names))


def manifest(name: str) -> str:
    return f'{{"name": "{name}", "version": "1"}}'


class Stacked:
    """Layers in directories, and the tree that is made of them: `files` of "" is a removed one."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.root.mkdir()
        self.opened: list[str] = []
        self.layers: list[Layer] = []
        self._directory = directory
        self._memory = ScanMemory(Store(directory / "store").database)

    def add(self, files: dict[str, str]) -> None:
        """Add a layer; a path that ends with @ is a link to what it says."""
        name = f"layer{len(self.layers)}"
        layer = self._directory / name
        for place in (layer, self.root):
            for path, text in files.items():
                target = place / path.rstrip("@")
                target.parent.mkdir(parents=True, exist_ok=True)
                if place is self.root and os.path.lexists(target):
                    shutil.rmtree(target) if target.is_dir() else target.unlink()
                if path.endswith("@"):
                    target.symlink_to(text)
                elif text:
                    target.write_text(text)
        layer.mkdir(exist_ok=True)
        self.layers.append(Layer(name=name, opened=self._opener(name, layer)))

    def _opener(self, name: str, layer: Path) -> Callable[[], AbstractContextManager[Path]]:
        def opened() -> AbstractContextManager[Path]:
            self.opened.append(name)
            return nullcontext(layer)

        return opened

    def scan(self) -> Scan:
        found = scan_layers(self.root, self.layers, self._memory)
        assert found == scan(self.root)
        return found

    def names(self) -> list[str]:
        return [each.name for each in self.scan().packages]


@pytest.fixture
def stacked(tmp_path: Path) -> Stacked:
    found = Stacked(tmp_path)
    found.add(
        {
            "etc/os-release": "ID=debian\nVERSION_ID=13\n",
            "var/lib/dpkg/status": status("libc6"),
            "app/node_modules/left/package.json": manifest("left"),
            "Cargo.lock": '[[package]]\nname = "serde"\nversion = "1"\n',
        }
    )
    return found


def test_a_layer_is_looked_through_once(stacked: Stacked) -> None:
    assert stacked.names() == ["serde", "libc6", "left"]
    stacked.add({"var/lib/dpkg/status": status("libc6", "curl")})
    assert stacked.names() == ["serde", "curl", "libc6", "left"]

    assert stacked.opened == ["layer0", "layer1"]
    assert stacked.names() == ["serde", "curl", "libc6", "left"]
    assert stacked.opened == ["layer0", "layer1"]


def test_what_higher_layers_hide_does_not_count(stacked: Stacked) -> None:
    stacked.scan()
    # Removed; replaced by one that says nothing, as long as the old one; and a directory by a link.
    lock = (stacked.root / "Cargo.lock").read_text()
    stacked.add({"Cargo.lock": "#" * len(lock)})
    assert stacked.names() == ["libc6", "left"]
    stacked.add({"var/lib/dpkg/status": ""})
    assert stacked.names() == ["left"]
    stacked.add({"elsewhere/left/package.json": manifest("left")})
    stacked.add({"app/node_modules@": "../elsewhere"})
    assert stacked.names() == []


def test_links_are_followed_anew(stacked: Stacked) -> None:
    stacked.add({"app/node_modules/own@": "../../own", "own/package.json": manifest("own")})
    assert stacked.names() == ["serde", "libc6", "left", "own"]
    stacked.add({"own/package.json": manifest("renamed")})

    assert stacked.names() == ["serde", "libc6", "left", "renamed"]


def test_another_distribution_is_another_name(stacked: Stacked) -> None:
    before = stacked.scan()
    stacked.add({"etc/os-release": "ID=debian\nVERSION_ID=14\n"})

    assert stacked.scan().packages != before.packages
    assert stacked.scan().release.version == "14"
