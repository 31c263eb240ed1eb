"""What docker buildx leaves in its folder, for those who come from there."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["folder_of_buildx"]


def folder_of_buildx(home: Path, driver: str = "kubernetes") -> Path:
    """Write what is there after `docker buildx create --name theirs --driver DRIVER --use`."""
    folder = home / ".docker/buildx"
    (folder / "instances").mkdir(parents=True)
    node = {"Name": "theirs0", "Endpoint": f"{driver}:///theirs", "Platforms": None}
    document = {"Name": "theirs", "Driver": driver, "Nodes": [node], "Dynamic": False}
    (folder / "instances/theirs").write_text(json.dumps(document))
    chosen = {"Key": "unix:///var/run/docker.sock", "Name": "theirs", "Global": False}
    (folder / "current").write_text(json.dumps(chosen))
    return folder
