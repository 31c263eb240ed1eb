"""What a builder's settings, and the variables beside them, say of how it builds.

`--driver-opt` has three settings of ours: `jobs=NUMBER`, `emulation=MODE`, and `qemu-image=ADDRESS`, where emulators
are fetched from. Of the file of `--buildkitd-config`, the number of steps at once is
heeded: `max-parallelism` of the OCI worker; and `proxyNetwork`, which may be one of `--buildkitd-flags` as well.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping

from polyarch.builders.values import BuilderNode
from polyarch.emulation.kept import IMAGE_VARIABLE
from polyarch.errors import InputError
from polyarch.golang.strconv import parse_int
from polyarch.http.proxied import PROXY_VARIABLE
from polyarch.paths import read_toml
from polyarch.request.emulation import EMULATION_VARIABLE, read_emulation

__all__ = [
    "JOBS_VARIABLE",
    "emulation_of",
    "jobs_of",
    "with_settings",
]

JOBS_VARIABLE = "POLYARCH_JOBS"
_CONFIG = "buildkitd.toml"
_PARALLELISM = "max-parallelism"
_PROXY_NETWORK = "proxyNetwork"
_PROXY_FLAG = "--proxy-network"


def jobs_of(node: BuilderNode, environ: Mapping[str, str]) -> int:
    """Return how many steps run at once, 0 for no limit: by the variable, or the builder's settings.

    Raises InputError.
    """
    if text := environ.get(JOBS_VARIABLE):
        return _number(text, JOBS_VARIABLE)
    if text := node.driver_opts.get("jobs"):
        return _number(text, "the driver's option jobs")
    return _parallelism(node.files[_CONFIG]) if _CONFIG in node.files else 0


def emulation_of(node: BuilderNode, environ: Mapping[str, str]) -> str:
    """Return how steps are emulated, "" if nothing is said of it: by the variable, or the builder's settings.

    Raises InputError.
    """
    if text := environ.get(EMULATION_VARIABLE):
        return read_emulation(text, EMULATION_VARIABLE)
    text = node.driver_opts.get("emulation", "")
    return read_emulation(text, "the driver's option emulation") if text else ""


def _number(text: str, origin: str) -> int:
    try:
        number = parse_int(text)
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error
    return max(0, number)


def _parallelism(encoded: str) -> int:
    config = _setting(encoded, "worker", "oci", _PARALLELISM)
    return max(0, config) if isinstance(config, int) else 0


def _setting(encoded: str, *keys: str) -> object:
    """Return a setting of a file of buildkitd's, None if it isn't there."""
    config = b64decode(encoded)
    if keys[-1].encode() not in config:
        return None
    try:
        document: object = read_toml(config.decode())
    except ValueError as error:
        raise InputError(f"{_CONFIG} of the builder can't be read: {error}") from error
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def with_settings(node: BuilderNode, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment with what the builder says of emulators and networks, where the environment says nothing.

    Raises InputError.
    """
    found: dict[str, str] = {}
    if image := node.driver_opts.get("qemu-image", ""):
        found[IMAGE_VARIABLE] = image
    is_told = _CONFIG in node.files and _setting(node.files[_CONFIG], _PROXY_NETWORK) is True
    if is_told or _PROXY_FLAG in node.flags:
        found[PROXY_VARIABLE] = "1"
    return {**environ, **{name: text for name, text in found.items() if not environ.get(name)}}
