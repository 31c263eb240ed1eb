"""What `--load` finds: docker's engine, else podman."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.engine import docker
from polyarch.engine.podman import find_podman
from polyarch.exporter.outputs import ImageEngine

__all__ = ["find_engine"]


def find_engine(environ: Mapping[str, str], context: str = "") -> ImageEngine | None:
    """Return what images are loaded into, None if there is nothing.

    Raises MachineError if the engine that was asked for doesn't listen, InputError, NotFound.
    """
    return docker.find_engine(environ, context) or find_podman(environ)
