"""Builders as JSON: the form of docker buildx, and ours inside of it where both read the same file.

docker buildx fails over a driver that it doesn't know, whatever it was asked for. So a builder of ours
that lies among its own is a docker-container builder to it, which it could start and build with, and
stands as it is under a key that buildx doesn't know:

    {"Name": "b", "Driver": "docker-container", "Nodes": [...], "Dynamic": false,
     "Polyarch": {"Name": "b", "Driver": "polyarch", "Nodes": [...], "Dynamic": false}}

Whatever buildx changes, it writes without that key: what it has changed is its own from then on.

Source: docker buildx, the store's node groups.
"""

from __future__ import annotations

from polyarch.builders.values import LOCAL_ENDPOINT, BuilderNode, SavedBuilder
from polyarch.golang.json import compact
from polyarch.oci.fields import Fields, read_document
from polyarch.oci.platform import read_platform
from polyarch.platforms import Platform
from polyarch.record import replace

__all__ = ["STAND_IN_DRIVER", "decode", "encode", "encode_for_buildx"]

STAND_IN_DRIVER = "docker-container"
_OWN = "Polyarch"


def encode(builder: SavedBuilder) -> bytes:
    """Return a builder as it is kept in a directory of our own."""
    return compact(_document(builder))


def encode_for_buildx(builder: SavedBuilder, endpoint: str) -> bytes:
    """Return a builder as it is kept among those of docker buildx.

    `endpoint` is where buildx would start it: the current context of docker, or an address.
    """
    if not builder.is_local:
        return encode(builder)
    # Options of the driver are ours; buildx's driver refuses those that it doesn't know.
    nodes = (
        replace(
            node,
            endpoint=endpoint if node.endpoint == LOCAL_ENDPOINT else node.endpoint,
            driver_opts={},
        )
        for node in builder.nodes
    )
    shown = replace(builder, driver=STAND_IN_DRIVER, nodes=tuple(nodes))
    return compact({**_document(shown), _OWN: _document(builder)})


def decode(data: bytes) -> SavedBuilder:
    """Read a builder in either form. Raises IntegrityError."""
    fields = read_document(data)
    return _builder(fields.object(_OWN) if _OWN in fields else fields)


def _document(builder: SavedBuilder) -> dict[str, object]:
    return {
        "Name": builder.name,
        "Driver": builder.driver,
        "Nodes": [
            {
                "Name": node.name,
                "Endpoint": node.endpoint,
                "Platforms": [_platform_document(each) for each in node.platforms] or None,
                "DriverOpts": dict(node.driver_opts) or None,
                "Flags": list(node.flags) or None,
                "Files": dict(node.files) or None,
            }
            for node in builder.nodes
        ],
        "Dynamic": builder.dynamic,
    }


def _platform_document(platform: Platform) -> dict[str, object]:
    fields = {
        "architecture": platform.architecture,
        "os": platform.os,
        "os.version": platform.os_version,
        "os.features": list(platform.os_features),
        "variant": platform.variant,
    }
    return {key: value for key, value in fields.items() if value or key in {"architecture", "os"}}


def _builder(fields: Fields) -> SavedBuilder:
    return SavedBuilder(
        name=fields.text("Name"),
        driver=fields.text("Driver"),
        nodes=tuple(map(_node, fields.objects("Nodes"))),
        dynamic=fields.flag("Dynamic"),
    )


def _node(fields: Fields) -> BuilderNode:
    return BuilderNode(
        name=fields.text("Name"),
        endpoint=fields.text("Endpoint"),
        platforms=tuple(map(read_platform, fields.objects("Platforms"))),
        driver_opts=fields.text_map("DriverOpts"),
        flags=fields.texts("Flags"),
        files=fields.text_map("Files"),
    )
