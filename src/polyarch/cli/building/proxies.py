"""Proxies of docker's config.json, as build arguments."""

from __future__ import annotations

from collections.abc import Container, Mapping

from polyarch.builders.saved import docker_endpoint
from polyarch.errors import IntegrityError
from polyarch.oci.fields import read_document
from polyarch.paths import docker_config_directory

__all__ = ["proxy_args"]

_NAMES = {
    "HTTP_PROXY": "httpProxy",
    "HTTPS_PROXY": "httpsProxy",
    "NO_PROXY": "noProxy",
    "FTP_PROXY": "ftpProxy",
    "ALL_PROXY": "allProxy",
}


def proxy_args(environ: Mapping[str, str], given: Container[str]) -> dict[str, str]:
    """Return the build arguments that docker's settings add, in both cases, to those `given`.

    Settings that can't be read add none: that is for the commands that are about them to say.
    """
    try:
        document = read_document((docker_config_directory(environ) / "config.json").read_bytes())
        if "proxies" not in document:
            return {}
        proxies = document.object("proxies")
        key = docker_endpoint(environ)
        settings = proxies.text_map(key if key in proxies else "default")
    except (OSError, IntegrityError):
        return {}
    found = {}
    for name, key in _NAMES.items():
        for argument in (name, name.lower()):
            if settings.get(key) and argument not in given:
                found[argument] = settings[key]
    return found
