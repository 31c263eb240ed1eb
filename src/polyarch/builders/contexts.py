"""Docker's contexts as builders: each is the BuildKit inside of the engine that it leads to.

The context `default` is none here: that name is this machine's own builder.

Source: docker's `cli/context/store`; docker buildx, `store/storeutil`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from polyarch.builders.values import DEFAULT_NAME, DOCKER_DRIVER, BuilderNode, SavedBuilder
from polyarch.errors import IntegrityError
from polyarch.oci.fields import read_document
from polyarch.paths import docker_config_directory

__all__ = ["context_builders"]


def context_builders(environ: Mapping[str, str]) -> dict[str, SavedBuilder]:
    """Return the builders by their names; files that can't be read are passed over."""
    found = {}
    for path in sorted((docker_config_directory(environ) / "contexts/meta").glob("*/meta.json")):
        with suppress(OSError, IntegrityError):
            name = read_document(path.read_bytes()).text("Name")
            if name and name != DEFAULT_NAME:
                found[name] = SavedBuilder(
                    name=name,
                    driver=DOCKER_DRIVER,
                    nodes=(BuilderNode(name=name, endpoint=name),),
                    is_foreign=True,
                    is_context=True,
                )
    return found
