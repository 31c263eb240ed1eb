"""Platforms: operating system, architecture, variant."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Platform"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What a program runs on, in the words of the OCI image spec."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


def parse(text: str) -> Platform:
    """Stand-in."""
    os_, arch, *rest = text.split("/")
    return Platform(os=os_, architecture=arch, variant=rest[0] if rest else "")


def normalize(platform: Platform) -> Platform:
    """Stand-in."""
    return platform


def host() -> Platform:
    """Stand-in."""
    return Platform(os="linux", architecture="amd64")
