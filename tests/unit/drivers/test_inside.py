"""What the BuildKit inside of Docker's engine is not asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polyarch.drivers.inside import check_inside
from polyarch.errors import InputError
from polyarch.platforms import parse_list
from polyarch.request.attestation import DEFAULT_PROVENANCE, Attestation
from polyarch.request.make import make_request
from polyarch.request.values import CacheEntry, Output

CONTAINERD = {"org.mobyproject.buildkit.worker.snapshotter": "overlayfs"}


@pytest.mark.parametrize(
    ("options", "feature"),
    [
        ({"platforms": parse_list(["linux/amd64,linux/arm64"])}, "Multi-platform build"),
        ({"cache_to": (CacheEntry(type="registry", attributes={"ref": "r"}),)}, "Cache export"),
        ({"attestations": (Attestation(type="sbom"),)}, "Attestation"),
        ({"outputs": (Output(type="oci", destination="x"),)}, "OCI exporter"),
        ({"outputs": (Output(type="docker", destination="x"),)}, "Docker exporter"),
    ],
)
def test_an_engine_with_its_old_store(
    tmp_path: Path, options: dict[str, Any], feature: str
) -> None:
    request = make_request(tmp_path, **options)

    check_inside(CONTAINERD, request)
    with pytest.raises(InputError, match=rf"^{feature} is not supported for the docker driver\."):
        check_inside({}, request)


def test_what_any_engine_can_do(tmp_path: Path) -> None:
    loaded = Output(type="docker", destination="")
    inline = CacheEntry(type="inline", attributes={})
    request = make_request(
        tmp_path,
        attestations=(DEFAULT_PROVENANCE, Attestation(type="sbom", disabled=True)),
        outputs=(loaded,),
        cache_to=(inline,),
    )

    check_inside({}, request)


def test_no_engine_pushes_without_a_name(tmp_path: Path) -> None:
    output = Output(type="image", destination="", attributes={"push-by-digest": "true"})

    with pytest.raises(InputError, match=r"^push-by-digest is currently not implemented"):
        check_inside(CONTAINERD, make_request(tmp_path, outputs=(output,)))
