"""The types that templates of `imagetools inspect` see: OCI's documents as Go has them, and buildx's own.

Source: the Go types of OCI's image-spec v1.1; buildx's documentation of `imagetools inspect --format`.
"""

from __future__ import annotations

from polyarch.golang.template.structs import (
    ANY,
    BOOL,
    INT,
    STRING,
    TIME,
    GoField,
    ListOf,
    MapOf,
    Pointer,
    Struct,
)

__all__ = ["DESCRIPTOR", "IMAGE", "INDEX", "MANY", "ONE", "PROVENANCE", "SBOM"]

_OPEN = "interface {}"  # how Go calls the type of what a field of any type holds

_EMPTY = Struct("struct {}", ())
_PLATFORM = Struct(
    "v1.Platform",
    (
        GoField(name="Architecture", key="architecture", type=STRING),
        GoField(name="OS", key="os", type=STRING),
        GoField(name="OSVersion", key="os.version", type=STRING, omits=True),
        GoField(name="OSFeatures", key="os.features", type=ListOf(STRING), omits=True),
        GoField(name="Variant", key="variant", type=STRING, omits=True),
    ),
)
_CONFIG = Struct(
    "v1.ImageConfig",
    (
        GoField(name="User", key="User", type=STRING, omits=True),
        GoField(name="ExposedPorts", key="ExposedPorts", type=MapOf(_EMPTY), omits=True),
        GoField(name="Env", key="Env", type=ListOf(STRING), omits=True),
        GoField(name="Entrypoint", key="Entrypoint", type=ListOf(STRING), omits=True),
        GoField(name="Cmd", key="Cmd", type=ListOf(STRING), omits=True),
        GoField(name="Volumes", key="Volumes", type=MapOf(_EMPTY), omits=True),
        GoField(name="WorkingDir", key="WorkingDir", type=STRING, omits=True),
        GoField(name="Labels", key="Labels", type=MapOf(STRING), omits=True),
        GoField(name="StopSignal", key="StopSignal", type=STRING, omits=True),
        GoField(name="ArgsEscaped", key="ArgsEscaped", type=BOOL, omits=True),
    ),
)
_ROOTFS = Struct(
    "v1.RootFS",
    (
        GoField(name="Type", key="type", type=STRING),
        GoField(name="DiffIDs", key="diff_ids", type=ListOf(STRING)),
    ),
)
_HISTORY = Struct(
    "v1.History",
    (
        GoField(name="Created", key="created", type=TIME, omits=True),
        GoField(name="CreatedBy", key="created_by", type=STRING, omits=True),
        GoField(name="Author", key="author", type=STRING, omits=True),
        GoField(name="Comment", key="comment", type=STRING, omits=True),
        GoField(name="EmptyLayer", key="empty_layer", type=BOOL, omits=True),
    ),
)
IMAGE = Struct(
    "v1.Image",
    (
        GoField(name="Created", key="created", type=TIME, omits=True),
        GoField(name="Author", key="author", type=STRING, omits=True),
        GoField(name="Platform", type=_PLATFORM),
        GoField(name="Config", key="config", type=_CONFIG),
        GoField(name="RootFS", key="rootfs", type=_ROOTFS),
        GoField(name="History", key="history", type=ListOf(_HISTORY), omits=True),
    ),
)

_DESCRIBED = (
    GoField(name="MediaType", key="mediaType", type=STRING),
    GoField(name="Digest", key="digest", type=STRING),
    GoField(name="Size", key="size", type=INT),
    GoField(name="URLs", key="urls", type=ListOf(STRING), omits=True),
    GoField(name="Annotations", key="annotations", type=MapOf(STRING), omits=True),
    GoField(name="Data", key="data", type=STRING, omits=True),
    GoField(name="Platform", key="platform", type=Pointer(_PLATFORM), omits=True),
    GoField(name="ArtifactType", key="artifactType", type=STRING, omits=True),
)
DESCRIPTOR = Struct(_OPEN, _DESCRIBED)
INDEX = Struct(
    _OPEN,
    (
        GoField(name="SchemaVersion", key="schemaVersion", type=INT),
        GoField(name="MediaType", key="mediaType", type=STRING, omits=True),
        GoField(name="Digest", key="digest", type=STRING),
        GoField(name="Size", key="size", type=INT),
        GoField(
            name="Manifests", key="manifests", type=ListOf(Struct("v1.Descriptor", _DESCRIBED))
        ),
        GoField(name="Annotations", key="annotations", type=MapOf(STRING), omits=True),
    ),
)

SBOM = Struct(
    "imagetools.sbomStub",
    (
        GoField(name="SPDX", key="SPDX", type=ANY, omits=True),
        GoField(name="AdditionalSPDXs", key="AdditionalSPDXs", type=ListOf(ANY), omits=True),
    ),
)
PROVENANCE = Struct(
    "imagetools.provenanceStub", (GoField(name="SLSA", key="SLSA", type=ANY, omits=True),)
)


def _inputs(name: str) -> Struct:
    return Struct(
        name,
        tuple(
            GoField(name=each, key=each.lower(), type=ANY, omits=True)
            for each in ("Name", "Manifest", "Image")
        ),
    )


ONE = _inputs("imagetools.tplInput")
"""What a template sees of an image for one platform; SBOM and Provenance are methods."""
MANY = _inputs("imagetools.tplInputs")
"""... and for several: its parts are by platform."""
