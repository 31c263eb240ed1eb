"""Stand-in."""

from __future__ import annotations

import json
from dataclasses import dataclass

from polyarch.oci.descriptor import Descriptor


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    config: Descriptor
    layers: tuple[Descriptor, ...]


def parse_manifest(data: bytes) -> Manifest:
    d = json.loads(data)
    return Manifest(
        config=Descriptor.from_json(d["config"]),
        layers=tuple(Descriptor.from_json(m) for m in d["layers"]),
    )
