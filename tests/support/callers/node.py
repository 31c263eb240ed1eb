"""Node packages for tests, installed by npm into the project's build directory."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from pathlib import Path

__all__ = ["node_package"]

_DIRECTORY = Path(__file__).parents[3] / "build/node"


def node_package(name: str, version: str) -> Path:
    """Return a directory whose `node_modules` has a package; it is installed if it isn't there."""
    directory = _DIRECTORY / f"{name.replace('/', '_')}-{version}"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "done").exists():
            npm = shutil.which("npm")
            assert npm, "npm is missing: make test installs it"
            (directory / "package.json").write_text(json.dumps({"private": True, "type": "module"}))
            quiet = (
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--no-package-lock",
                "--omit=optional",
            )
            subprocess.run(
                [npm, "install", *quiet, "--loglevel=error", f"{name}@{version}"],
                cwd=directory,
                check=True,
                capture_output=True,
            )
            (directory / "done").touch()
    return directory
