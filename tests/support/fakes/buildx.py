"""What docker buildx leaves in its directory, for those who come from there."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["directory_of_buildx"]


def directory_of_buildx(home: Path, driver: str = "cloud") -> Path:
    """Write what is there after `docker buildx create --name theirs --driver DRIVER --use`."""
    directory = home / ".docker/buildx"
    (directory / "instances").mkdir(parents=True)
    node = {"Name": "theirs0", "Endpoint": f"{driver}:///theirs", "Platforms": None}
    document = {"Name": "theirs", "Driver": driver, "Nodes": [node], "Dynamic": False}
    (directory / "instances/theirs").write_text(json.dumps(document))
    chosen = {"Key": "unix:///var/run/docker.sock", "Name": "theirs", "Global": False}
    (directory / "current").write_text(json.dumps(chosen))
    return directory
