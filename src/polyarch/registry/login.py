"""Whether a registry knows a user."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping

from polyarch.progress import CancelToken
from polyarch.registry.client import Client
from polyarch.registry.credentials import HUB_KEY, Credentials
from polyarch.registry.hosts import load_hosts
from polyarch.registry.transport import Transport

__all__ = ["check_credentials"]

_HUB_DOMAIN = "docker.io"


def check_credentials(environ: Mapping[str, str], key: str, user: str, password: str) -> None:
    """Ask a registry whether it knows the user. Raises RegistryError.

    `key` is what docker's configuration calls the registry.
    """
    auth = b64encode(f"{user}:{password}".encode()).decode()
    only_these = {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {key: {"auth": auth}}})}
    credentials = Credentials({**environ, **only_these})
    domain = _HUB_DOMAIN if key == HUB_KEY else key
    with Transport(load_hosts(environ), credentials) as transport:
        Client(transport, CancelToken()).log_in(domain)
