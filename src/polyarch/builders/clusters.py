"""The endpoint of a node of the driver kubernetes, which tells what cluster its pods are in.

    kubernetes:///BUILDER?deployment=NODE&kubeconfig=FILES

The deployment makes endpoints of one builder differ, and says nothing: pods are found by the node's name. A `context`
of the kubeconfig is polyarch's own addition; docker buildx would take the current one.

Source: docker buildx, `builder/builder.go` and `driver/kubernetes/context/load.go`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import parse_qs, urlencode, urlsplit

from polyarch.record import frozen

__all__ = ["ClusterPlace", "cluster_endpoint", "read_cluster_endpoint"]

_SCHEME = "kubernetes"


@frozen
class ClusterPlace:
    """A cluster: kubeconfig's files as the variable KUBECONFIG has them, and a context in them; "" for the usual ones."""

    kubeconfig: str = ""
    context: str = ""


def cluster_endpoint(builder: str, node: str, context: str, environ: Mapping[str, str]) -> str:
    """Return the endpoint of a new node in the cluster that the user's kubeconfig leads to."""
    files = environ.get("KUBECONFIG", "")
    if files:
        # The command is called somewhere else the next time.
        files = os.pathsep.join(map(os.path.abspath, filter(None, files.split(os.pathsep))))
    query = {"deployment": node or _random_node(), "kubeconfig": files}
    first = {"context": context} if context else {}
    return f"{_SCHEME}:///{builder}?{urlencode({**first, **query})}"


def read_cluster_endpoint(endpoint: str) -> ClusterPlace:
    """Return the cluster of an endpoint; any other address stands for the usual one, as with docker buildx."""
    url = urlsplit(endpoint)
    if url.scheme != _SCHEME:
        return ClusterPlace()
    query = {key: values[-1] for key, values in parse_qs(url.query).items()}
    return ClusterPlace(kubeconfig=query.get("kubeconfig", ""), context=query.get("context", ""))


def _random_node() -> str:
    return f"buildkit-{os.urandom(16).hex()}-{os.urandom(3).hex()[:5]}"
