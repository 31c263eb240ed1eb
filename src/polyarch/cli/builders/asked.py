"""What `create` is asked for of a daemon: one that runs already, one in a container of Docker's engine, or one in pods of a cluster.

The rules and their messages are docker buildx's (`builder/builder.go`).
"""

from __future__ import annotations

import os
import shlex
import tomllib
from base64 import b64decode
from collections.abc import Mapping
from itertools import pairwise

from polyarch.builders.clusters import cluster_endpoint
from polyarch.builders.collecting import CONFIG_NAME
from polyarch.builders.configfiles import config_files
from polyarch.builders.saved import docker_endpoint
from polyarch.builders.values import LOCAL_ENDPOINT, NodeChange
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.flags import Options
from polyarch.errors import InputError
from polyarch.golang.csv import csv_fields
from polyarch.golang.strconv import quote
from polyarch.paths import buildx_directory, stands_in_for_buildx
from polyarch.platforms import parse_list

__all__ = [
    "cluster_change",
    "container_change",
    "driver_opts",
    "opts_with_files",
    "remote_change",
]

_FILES = ("cacert", "cert", "key")
_DEFAULT_CONFIG = "buildkitd.default.toml"
_ENTITLEMENT = "--allow-insecure-entitlement"
_NETWORK = "network.host"


def driver_opts(values: tuple[str, ...]) -> Mapping[str, str] | None:
    """Return the options of a driver by their names, None if there are none. Raises InputError."""
    found: dict[str, str] = {}
    for value in values:
        for text in csv_fields(value):
            key, equals, setting = text.partition("=")
            if not equals:
                raise InputError(f"invalid value {quote(text)}, expecting k=v")
            found[key] = setting
    return found or None


def opts_with_files(values: tuple[str, ...]) -> Mapping[str, str] | None:
    """Return the options of a driver, of which some name certificates: in full, as the next command is called elsewhere.

    Raises InputError.
    """
    found = dict(driver_opts(values) or {})
    found |= {name: os.path.abspath(found[name]) for name in _FILES if found.get(name)}
    return found or None


def remote_change(options: Options, endpoint: str, context: Context) -> NodeChange:
    """Return what is asked for of a daemon that runs already. Raises InputError."""
    endpoint = endpoint or context.environ.get("BUILDKIT_HOST", "")
    if not endpoint:
        raise InputError("no remote endpoint provided", hint="give its address: tcp://HOST:PORT")
    if endpoint != LOCAL_ENDPOINT and options.text("buildkitd-flags"):
        raise InputError("setting buildkit flags is not supported for remote driver")
    if endpoint != LOCAL_ENDPOINT and (options.text("buildkitd-config") or options.text("config")):
        raise InputError("setting config file is not supported for remote driver")
    return NodeChange(
        name=options.text("node"),
        endpoint=endpoint,
        platforms=parse_list(options.values("platform")),
        driver_opts=opts_with_files(options.values("driver-opt")),
        append=options.is_set("append"),
    )


def container_change(options: Options, endpoint: str, context: Context) -> NodeChange:
    """Return what is asked for of a daemon in a container; without an endpoint, that isn't changed. Raises InputError."""
    return _change(options, endpoint, context, usual=docker_endpoint(context.environ))


def cluster_change(options: Options, name: str, endpoint: str, context: Context) -> NodeChange:
    """Return what is asked for of daemons in a cluster, of which an endpoint names the kubeconfig's context.

    `name` is the builder's. Raises InputError.
    """
    if endpoint == LOCAL_ENDPOINT:
        return _change(options, endpoint, context)
    if endpoint and stands_in_for_buildx(context.environ):
        raise InputError(f"kubernetes driver does not support endpoint args {quote(endpoint)}")
    whole = cluster_endpoint(name, options.text("node"), endpoint, context.environ)
    return _change(options, whole if endpoint else "", context, usual=whole)


def _change(
    options: Options, endpoint: str, context: Context, *, usual: str = LOCAL_ENDPOINT
) -> NodeChange:
    given = driver_opts(options.values("driver-opt"))
    config = options.text("buildkitd-config") or options.text("config")
    default = buildx_directory(context.environ) / _DEFAULT_CONFIG
    if not config and default.exists():
        config = str(default)
    files = config_files(config) if config and endpoint != LOCAL_ENDPOINT else None
    return NodeChange(
        name=options.text("node"),
        endpoint=endpoint or None,
        platforms=parse_list(options.values("platform")),
        driver_opts=given,
        flags=_flags(options.text("buildkitd-flags"), given or {}, files or {}),
        files=files,
        append=options.is_set("append"),
        usual=usual,
    )


def _flags(text: str, given: Mapping[str, str], files: Mapping[str, str]) -> tuple[str, ...]:
    """Return the flags of the daemon: the container is apart from the machine, so its network is no risk."""
    try:
        flags = shlex.split(text)
    except ValueError as error:
        raise InputError(f"failed to parse buildkit flags: {error}") from error
    allowed = [after for flag, after in pairwise([*flags, ""]) if flag == _ENTITLEMENT]
    allowed += [flag.partition("=")[2] for flag in flags if flag.startswith(f"{_ENTITLEMENT}=")]
    wants_network = given.get("network") == "host" and _NETWORK not in allowed
    if wants_network or (not allowed and not _allows_network(files)):
        flags.append(f"{_ENTITLEMENT}={_NETWORK}")
    return tuple(flags)


def _allows_network(files: Mapping[str, str]) -> bool:
    if CONFIG_NAME not in files:
        return False
    allowed = tomllib.loads(b64decode(files[CONFIG_NAME]).decode()).get("insecure-entitlements")
    return isinstance(allowed, list) and _NETWORK in allowed
