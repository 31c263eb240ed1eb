"""Which cluster is meant, and as whom it is asked: kubeconfig as kubectl reads it, else what a pod is given by its own cluster.

Certificates and keys that stand in a kubeconfig itself are handed to OpenSSL by files that are in memory only.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes import client
from kubernetes.config import ConfigException, incluster_config, kube_config

from polyarch.builders.clusters import ClusterPlace
from polyarch.errors import InputError, MachineError, PolyarchError
from polyarch.golang.strconv import quote
from polyarch.record import frozen

__all__ = ["ClusterSettings", "read_cluster_settings"]

_IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT_NAMESPACE = "default"
_ONE_AT_A_TIME = threading.Lock()
"""The library remembers the files that it has written, and hands one to several."""
_FILES = ("ssl_ca_cert", "cert_file", "key_file")


@frozen
class ClusterSettings:
    """How a cluster is asked: the client library's configuration, and the namespace that is meant where none is named."""

    configuration: Any
    namespace: str


def read_cluster_settings(place: ClusterPlace, environ: Mapping[str, str]) -> ClusterSettings:
    """Find out how a cluster is asked. Raises MachineError, InputError for a context that there isn't."""
    home = environ.get("HOME") or os.path.expanduser("~")
    files = place.kubeconfig or environ.get("KUBECONFIG", "") or f"{home}/.kube/config"
    try:
        merged = kube_config.KubeConfigMerger(files)
        if merged.config is not None:
            return _from_files(merged, place.context, files)
        if not place.context and (_IN_CLUSTER / "token").exists():
            return _in_cluster(environ)
    except PolyarchError:
        raise
    except ConfigException as error:
        raise MachineError(
            f"the kubeconfig {files} can't be used: {error}",
            hint="look at it with: kubectl config view",
        ) from error
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise MachineError(f"the kubeconfig {files} can't be read: {error}") from error
    raise MachineError(
        f"there is no cluster: {files} doesn't exist, and this is no pod of one",
        hint="KUBECONFIG names a file that leads to a cluster",
    )


def _from_files(merged: Any, context: str, files: str) -> ClusterSettings:
    known = [each["name"] for each in merged.config.safe_get("contexts") or ()]
    if context and context not in known:
        raise InputError(
            f"the kubeconfig {files} has no context {quote(context)}",
            hint=f"it has {', '.join(map(str, known))}" if known else "",
        )
    configuration = _configuration()
    with _ONE_AT_A_TIME, tempfile.TemporaryDirectory(prefix="polyarch-") as directory:
        loader = kube_config.KubeConfigLoader(
            config_dict=merged.config,
            active_context=context or None,
            config_base_path=None,
            # A login that was renewed on the way is the one that counts from then on.
            config_persister=merged.save_changes,
            temp_file_path=directory,
        )
        loader.load_and_set(configuration)
        _take_into_memory(loader, configuration, directory)
    chosen = loader.current_context["context"]
    cluster = merged.config["clusters"].get_with_name(chosen["cluster"])["cluster"]
    if proxy := cluster.safe_get("proxy-url"):
        configuration.proxy, configuration.no_proxy = proxy, None
    return ClusterSettings(
        configuration=configuration, namespace=chosen.get("namespace") or _DEFAULT_NAMESPACE
    )


def _take_into_memory(loader: Any, configuration: Any, directory: str) -> None:
    """Put files that the library has written into memory; the loader names them again whenever it renews a login."""
    for name in _FILES:
        path = getattr(configuration, name)
        if path and path.startswith(f"{directory}/"):
            descriptor = os.memfd_create(name)
            os.write(descriptor, Path(path).read_bytes())
            weakref.finalize(configuration, os.close, descriptor)
            for holder in (loader, configuration):
                setattr(holder, name, f"/proc/self/fd/{descriptor}")


def _in_cluster(environ: Mapping[str, str]) -> ClusterSettings:
    configuration = _configuration()
    incluster_config.InClusterConfigLoader(
        token_filename=str(_IN_CLUSTER / "token"),
        cert_filename=str(_IN_CLUSTER / "ca.crt"),
        environ=environ,
    ).load_and_set(configuration)
    namespace = (_IN_CLUSTER / "namespace").read_text().strip()
    return ClusterSettings(configuration=configuration, namespace=namespace or _DEFAULT_NAMESPACE)


def _configuration() -> Any:
    configuration = client.Configuration()
    # A connection that has waited for a while may be found closed; what can't be connected to can't be a moment later.
    configuration.retries = urllib3.Retry(total=1, connect=0, other=0, redirect=0, status=0)
    return configuration
