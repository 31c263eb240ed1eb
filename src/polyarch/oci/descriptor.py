"""Descriptors (a stand-in for a moment)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from polyarch.digest import Digest
from polyarch.platforms import Platform

__all__ = ["Descriptor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Stand-in."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None

    def to_json(self) -> dict[str, object]:
        """Stand-in."""
        out: dict[str, object] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.annotations:
            out["annotations"] = dict(self.annotations)
        if self.platform:
            p = {"architecture": self.platform.architecture, "os": self.platform.os}
            if self.platform.variant:
                p["variant"] = self.platform.variant
            out["platform"] = p
        return out

    @staticmethod
    def from_json(fields: object) -> Descriptor:
        """Stand-in."""
        assert isinstance(fields, dict)
        return Descriptor(
            media_type=fields["mediaType"], digest=fields["digest"], size=fields["size"]
        )
