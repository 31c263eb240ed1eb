"""Platforms and base images to lower Dockerfiles with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from polyarch.digest import sha256
from polyarch.errors import NotFound
from polyarch.oci.base import BaseImage
from polyarch.oci.config import ImageConfig
from polyarch.platforms import Platform, linux

__all__ = ["AMD64", "ARM", "ARM64", "IMAGES", "PATH", "Images"]

AMD64 = linux("amd64")
ARM64 = linux("arm64")
ARM = linux("arm", "v7")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Images:
    """Base images by name; whoever isn't there is refused."""

    configs: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def resolve(self, reference: str, platform: Platform) -> BaseImage:
        if reference not in self.configs:
            raise NotFound(f"{reference}: not found")
        seed = f"{reference} {platform}".encode()
        run: dict[str, object] = {"Env": [PATH], "Cmd": ["sh"], **self.configs[reference]}
        config = {
            "architecture": platform.architecture,
            "os": platform.os,
            "config": run,
            "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "base"}],
            "rootfs": {"diff_ids": [sha256(seed + b" layer")]},
        }
        return BaseImage(
            reference=reference, digest=sha256(seed), config=ImageConfig.from_json(config)
        )


IMAGES = Images({"base": {}, "onbuild": {"OnBuild": ["RUN one", "COPY . /x"]}})
