"""What the BuildKit inside of Docker's engine can't do while the engine keeps images as it used to.

With containerd's store of images it can do all of it; it says so by a label of its worker.

Source: docker buildx, `build/opt.go`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from polyarch.errors import InputError
from polyarch.golang.strconv import find_bool
from polyarch.request.attestation import DEFAULT_PROVENANCE
from polyarch.request.values import BuildRequest, OutputType

__all__ = ["check_inside"]

_LABEL = "org.mobyproject.buildkit.worker.snapshotter"
_DOCS = "https://docs.docker.com/go"


def check_inside(labels: Mapping[str, str], request: BuildRequest) -> None:
    """Raise InputError for what of a request an engine can't do whose worker has these labels."""
    for output in request.outputs:
        if find_bool(output.attributes.get("push-by-digest", "")):
            raise InputError(
                "push-by-digest is currently not implemented for docker driver, please create a new builder instance"
            )
    if _LABEL in labels:
        return
    for feature, page in _lacking(request):
        raise InputError(
            f"{feature} is not supported for the docker driver.\n"
            "Switch to a different driver, or turn on the containerd image store, and try again.\n"
            f"Learn more at {_DOCS}/{page}/"
        )


def _lacking(request: BuildRequest) -> Iterator[tuple[str, str]]:
    if any(each.type != "inline" for each in request.cache_to):
        yield "Cache export", "build-cache-backends"
    if any(each != DEFAULT_PROVENANCE and not each.disabled for each in request.attestations):
        yield "Attestation", "attestations"
    if any(each.type == OutputType.OCI for each in request.outputs):
        yield "OCI exporter", "build-exporters"
    if any(each.type == OutputType.DOCKER and each.destination for each in request.outputs):
        yield "Docker exporter", "build-exporters"
    if len(request.platforms) > 1:
        yield "Multi-platform build", "build-multi-platform"
