"""What a builder's settings, and the variables beside them, say of how it builds.

`--driver-opt` has three settings of ours: `jobs=NUMBER`, `emulation=MODE`, and `qemu-image=ADDRESS`, where emulators
are fetched from. Of the file of `--buildkitd-config`, the number of steps at once is
heeded: `max-parallelism` of the OCI worker.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping

from polyarch.builders.values import BuilderNode
from polyarch.emulation.kept import IMAGE_VARIABLE
from polyarch.errors import InputError
from polyarch.golang.strconv import parse_int
from polyarch.paths import read_toml
from polyarch.request.emulation import EMULATION_VARIABLE, read_emulation

__all__ = [
    "JOBS_VARIABLE",
    "emulation_of",
    "jobs_of",
    "with_emulators",
]

JOBS_VARIABLE = "POLYARCH_JOBS"
_CONFIG = "buildkitd.toml"
_PARALLELISM = "max-parallelism"


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
    config = b64decode(encoded)
    if _PARALLELISM.encode() not in config:
        return 0

    try:
        document: object = read_toml(config.decode())
    except ValueError as error:
        raise InputError(f"{_CONFIG} of the builder can't be read: {error}") from error
    for key in ("worker", "oci", _PARALLELISM):
        document = document.get(key) if isinstance(document, dict) else None
    return max(0, document) if isinstance(document, int) else 0


def with_emulators(node: BuilderNode, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment with the builder's image of emulators in it, where the environment has none."""
    image = node.driver_opts.get("qemu-image", "")
    if not image or environ.get(IMAGE_VARIABLE):
        return environ
    return {**environ, IMAGE_VARIABLE: image}
