"""A cluster that is in memory, for the tests of what speaks with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.network.kubernetesapi import FakeCluster, fake_cluster, kubeconfig


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(
    server: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeCluster]:
    kubeconfig(server, tmp_path / "config")
    monkeypatch.setattr("polyarch.drivers.kubernetes.driver._PAUSE", 0.0)
    monkeypatch.setattr("polyarch.drivers.kubernetes.persisting._PAUSE", 0.0)
    yield server
    server.forbidden, server.waiting, server.notes = set(), "", ()
    server.state, server.printed, server.troubles = None, "", []
    for found in server.objects.values():
        found.clear()
