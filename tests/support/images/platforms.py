"""Platforms that tests are about."""

from __future__ import annotations

from polyarch.platforms import Platform, linux

__all__ = ["AMD64", "ARM64", "ARM_V7", "windows"]

AMD64, ARM64, ARM_V7 = linux("amd64"), linux("arm64"), linux("arm", "v7")


def windows(
    architecture: str = "amd64", version: str = "", features: tuple[str, ...] = ()
) -> Platform:
    """Return Windows on an architecture."""
    return Platform(
        os="windows", architecture=architecture, os_version=version, os_features=features
    )
