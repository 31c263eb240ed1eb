"""Root file systems to run steps in, made of Debian's busybox-static without running anything foreign."""

from __future__ import annotations

from pathlib import Path

from tools import busybox
from tools.debian import packages_directory

__all__ = ["make_rootfs"]


def make_rootfs(directory: Path, architecture: str = "amd64") -> Path:
    """Fill `directory` with a root file system: busybox, its applets, the accounts root and nobody."""
    return busybox.make_rootfs(directory, architecture, packages_directory())
