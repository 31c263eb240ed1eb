"""Which cluster is meant: kubeconfig's files and contexts, and what a pod is given by its own cluster."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from polyarch.builders.clusters import ClusterPlace
from polyarch.drivers.kubernetes import settings
from polyarch.drivers.kubernetes.settings import read_cluster_settings
from polyarch.errors import InputError, MachineError


def write(path: Path, name: str, **more: object) -> Path:
    document = {
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}", **more}}],
        "users": [{"name": name, "user": {"token": f"token of {name}"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document))
    return path


def test_where_kubectl_looks(tmp_path: Path) -> None:
    usual = write(tmp_path / ".kube/config", "usual")
    a, b = (write(tmp_path / name, name) for name in ("a", "b"))
    home = {"HOME": str(tmp_path)}
    several = {**home, "KUBECONFIG": f"{a}{os.pathsep}{tmp_path}/none{os.pathsep}{b}"}

    places = (
        (ClusterPlace(), home, "usual"),
        (ClusterPlace(), several, "b"),
        (ClusterPlace(context="a"), several, "a"),
        (ClusterPlace(kubeconfig=str(usual)), several, "usual"),
    )
    for place, environ, expected in places:
        found = read_cluster_settings(place, environ)
        assert found.configuration.host == f"https://{expected}"
        assert found.configuration.api_key == {"BearerToken": f"Bearer token of {expected}"}
        assert found.namespace == "default"


def test_keys_in_a_kubeconfig_are_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    config = write(tmp_path / "config", "c", **{"certificate-authority-data": "Y2E="})

    for _ in range(2):
        found = read_cluster_settings(ClusterPlace(kubeconfig=str(config)), {})
        assert Path(found.configuration.ssl_ca_cert).read_bytes() == b"ca"
    assert os.listdir(tmp_path / "tmp") == []


def test_a_proxy_of_a_cluster(tmp_path: Path) -> None:
    config = write(tmp_path / "config", "c", **{"proxy-url": "http://proxy:1"})

    found = read_cluster_settings(ClusterPlace(kubeconfig=str(config)), {})

    assert (found.configuration.proxy, found.configuration.no_proxy) == ("http://proxy:1", None)


def test_in_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_IN_CLUSTER", tmp_path)
    for name, text in (("token", "t"), ("ca.crt", "c"), ("namespace", "builds\n")):
        (tmp_path / name).write_text(text)
    environ = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "::1"}

    found = read_cluster_settings(ClusterPlace(), {**environ, "KUBERNETES_SERVICE_PORT": "443"})
    assert (found.configuration.host, found.namespace) == ("https://[::1]:443", "builds")
    with pytest.raises(MachineError, match=r"can't be used: Service host/port is not set"):
        read_cluster_settings(ClusterPlace(), environ)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            None,
            MachineError,
            "there is no cluster: {path} doesn't exist, and this is no pod of one",
        ),
        ("", MachineError, "the kubeconfig {path} can't be used: Invalid kube-config."),
        ("contexts: [", MachineError, "the kubeconfig {path} can't be read: while parsing"),
        ("[]", MachineError, "the kubeconfig {path} can't be "),
        ("contexts: []", MachineError, "the kubeconfig {path} can't be used: "),
    ],
)
def test_what_leads_nowhere(
    tmp_path: Path, text: str | None, kind: type[Exception], message: str
) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)

    with pytest.raises(kind) as caught:
        read_cluster_settings(ClusterPlace(kubeconfig=str(path)), {})

    assert str(caught.value).startswith(message.format(path=path))


def test_a_context_that_there_is_not(tmp_path: Path) -> None:
    config = write(tmp_path / "config", "c")

    with pytest.raises(InputError) as caught:
        read_cluster_settings(ClusterPlace(kubeconfig=str(config), context="d"), {})

    assert str(caught.value) == f'the kubeconfig {config} has no context "d"'
    assert caught.value.hint == "it has c"
