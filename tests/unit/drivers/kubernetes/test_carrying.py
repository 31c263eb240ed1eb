"""Bytes through an API server to a program in a pod and back."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.builders.clusters import ClusterPlace
from polyarch.buildkit.lastwords import LastWords, spoken
from polyarch.drivers.kubernetes.carrying import carry
from polyarch.drivers.kubernetes.cluster import Cluster, open_cluster
from polyarch.drivers.kubernetes.settings import read_cluster_settings
from tests.support.network.kubernetesapi import FakeCluster, fake_cluster, kubeconfig


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.objects["pods"]["builds/p"] = {"metadata": {"name": "p"}}
        yield cluster


@pytest.fixture(params=["v4", "v5"])
def cluster(
    server: FakeCluster, tmp_path: Path, request: pytest.FixtureRequest
) -> tuple[FakeCluster, Cluster]:
    server.protocols = (f"{request.param}.channel.k8s.io",)
    config = kubeconfig(server, tmp_path / "config")
    settings = read_cluster_settings(ClusterPlace(kubeconfig=str(config)), {})
    return server, open_cluster(settings)


def test_much_goes_both_ways_at_once(cluster: tuple[FakeCluster, Cluster]) -> None:
    far, api = cluster
    far.program = ("sh", "-c", "exec cat")
    sent = b"".join(number.to_bytes(4) for number in range(1 << 20))
    received = bytearray()

    with carry(api.run("p", "", ("buildctl", "x")), LastWords()) as near:
        writing = threading.Thread(target=near.sendall, args=(sent,))
        writing.start()
        while len(received) < len(sent):
            received += near.recv(1 << 16)
        writing.join()
    far.wait_for_programs()

    assert received == sent


def test_a_program_that_nobody_reads_waits(cluster: tuple[FakeCluster, Cluster]) -> None:
    far, api = cluster
    far.program = (sys.executable, "-c", "import sys; sys.stdout.buffer.write(bytes(1 << 23))")

    with carry(api.run("p", "buildkitd", ("x",)), LastWords()) as near:
        size = 0
        while data := near.recv(1 << 10 if size < 1 << 12 else 1 << 20):
            size += len(data)
    far.wait_for_programs()

    assert size == 1 << 23


def test_what_is_written_last_arrives(cluster: tuple[FakeCluster, Cluster], tmp_path: Path) -> None:
    far, api = cluster
    far.program = ("sh", "-c", f"cat >{tmp_path}/got", "sh")

    with carry(api.run("p", "", ("x",)), LastWords()) as near:
        near.sendall(b"x" * 100_000)
    far.wait_for_programs()

    assert (tmp_path / "got").stat().st_size == 100_000


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (
            "echo one >&2; printf 'error:\\033[1m no daemon\\n' >&2; exit 1",
            "one; error:[1m no daemon",
        ),
        ("exit 3", "command terminated with exit code 3"),
        ("kill -9 $$", "command terminated with exit code 137"),
        ("exit 0", ""),
    ],
)
def test_last_words(cluster: tuple[FakeCluster, Cluster], script: str, told: str) -> None:
    far, api = cluster
    far.program = ("sh", "-c", script, "sh")
    words = LastWords()

    with carry(api.run("p", "", ("x",)), words) as near:
        assert near.recv(1) == b""

    assert str(words) == told


def test_the_last_lines_are_what_counts() -> None:
    lines = b"".join(b"line %d\n\n" % number for number in range(100))

    assert spoken(lines) == "line 97; line 98; line 99"
    assert len(spoken(b"x" * 5000)) == 600
