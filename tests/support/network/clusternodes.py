"""A node of a builder in a cluster of the tests."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from polyarch.builders.clusters import cluster_endpoint
from polyarch.builders.values import BuilderNode, SavedBuilder
from polyarch.drivers.driver import NodeDriver
from polyarch.drivers.nodes import driver_of
from tests.support.machine import bridge
from tests.support.network.kubernetesapi import FakeCluster

__all__ = ["BRIDGE", "driver"]

BRIDGE = (sys.executable, str(bridge.__file__))
"""A program for pods, which leads to a daemon."""


def driver(
    cluster: FakeCluster,
    tmp_path: Path,
    context: str = "",
    files: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> NodeDriver:
    """Return a node `b0` in the namespace `builds`, by the kubeconfig in `tmp_path`."""
    environ = {"KUBECONFIG": str(tmp_path / "config"), "DOCKER_CONFIG": "/nonexistent"}
    node = BuilderNode(
        name="b0",
        endpoint=cluster_endpoint("b", "", context, environ),
        driver_opts=options or {},
        files=files or {},
    )
    builder = SavedBuilder(name="b", driver="kubernetes", nodes=(node,))
    return driver_of(builder, node, environ, key="/here")
