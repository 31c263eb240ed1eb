"""Media types of images: those of the OCI image spec, and Docker's older names for the same."""

from __future__ import annotations

__all__ = [
    "DOCKER_CONFIG",
    "DOCKER_FOREIGN_LAYER_GZIP",
    "DOCKER_INDEX",
    "DOCKER_LAYER",
    "DOCKER_LAYER_GZIP",
    "DOCKER_LAYER_ZSTD",
    "DOCKER_MANIFEST",
    "EMPTY",
    "OCI_CONFIG",
    "OCI_INDEX",
    "OCI_LAYER",
    "OCI_LAYER_GZIP",
    "OCI_LAYER_ZSTD",
    "OCI_MANIFEST",
    "distributable",
    "docker_type",
    "is_config",
    "is_index",
    "is_manifest",
    "is_nondistributable",
    "nondistributable",
    "oci_type",
]

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"

DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_LAYER_ZSTD = DOCKER_LAYER + ".zstd"
DOCKER_FOREIGN_LAYER_GZIP = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

EMPTY = "application/vnd.oci.empty.v1+json"
"""The type of the config of what is no image."""


def is_config(media_type: str) -> bool:
    """Return whether a blob of this type is the config of an image."""
    return media_type in {OCI_CONFIG, DOCKER_CONFIG}


def is_index(media_type: str) -> bool:
    """Return whether a document of this type names manifests."""
    return media_type in {OCI_INDEX, DOCKER_INDEX}


def is_manifest(media_type: str) -> bool:
    """Return whether a document of this type names a config and layers."""
    return media_type in {OCI_MANIFEST, DOCKER_MANIFEST}


def is_nondistributable(media_type: str) -> bool:
    """Return whether a layer of this type stays where it is: never pushed, fetched from its URLs."""
    return ".nondistributable." in media_type or ".foreign." in media_type


_OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
_BOTH = (
    (OCI_CONFIG, DOCKER_CONFIG),
    (OCI_INDEX, DOCKER_INDEX),
    (OCI_MANIFEST, DOCKER_MANIFEST),
    (OCI_LAYER, DOCKER_LAYER),
    (OCI_LAYER_GZIP, DOCKER_LAYER_GZIP),
    (OCI_LAYER_ZSTD, DOCKER_LAYER_ZSTD),
    (_OCI_FOREIGN, _DOCKER_FOREIGN),
    (_OCI_FOREIGN + "+gzip", DOCKER_FOREIGN_LAYER_GZIP),
)
_TO_DOCKER = dict(_BOTH)
_TO_OCI = {docker: oci for oci, docker in _BOTH}


def oci_type(media_type: str) -> str:
    """Return OCI's name for a type; another type as it is."""
    return _TO_OCI.get(media_type, media_type)


def docker_type(media_type: str) -> str:
    """Return Docker's name for a type; another type as it is."""
    return _TO_DOCKER.get(media_type, media_type)


def distributable(media_type: str) -> str:
    """Return the type of a layer that anybody may be given."""
    return media_type.replace(".nondistributable.", ".").replace(".foreign.", ".")


def nondistributable(media_type: str) -> str:
    """Return the type of a layer that is fetched from its URLs alone."""
    if is_nondistributable(media_type):
        return media_type
    return media_type.replace(".layer.", ".layer.nondistributable.").replace(
        ".rootfs.", ".rootfs.foreign."
    )
