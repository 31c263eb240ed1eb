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
