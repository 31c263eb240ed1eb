"""Packages -> a document of CycloneDX 1.6, in JSON, written by the library of its project."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

from polyarch import __version__
from polyarch.attest.sbom.licenses import is_expression
from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.scan import Scan
from polyarch.digest import sha256
from polyarch.errors import MachineError
from polyarch.golang.json import compact
from polyarch.graph.op import JSONObject

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

__all__ = ["cyclonedx_document"]


def cyclonedx_document(name: str, found: Scan, created: str) -> JSONObject:
    """Return the document that lists what was found in `name`; `created` is a time, RFC 3339 to the second.

    Raises MachineError if the library isn't installed. Its serial number follows from the content.
    """
    # The library takes a third of a second to load; nobody else needs it.
    try:
        from cyclonedx.model.bom import Bom, BomMetaData  # noqa: PLC0415
        from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415
        from cyclonedx.model.tool import ToolRepository  # noqa: PLC0415
        from cyclonedx.output import make_outputter  # noqa: PLC0415
        from cyclonedx.schema import OutputFormat, SchemaVersion  # noqa: PLC0415
    except ImportError as error:
        raise MachineError(
            "lists in the form of CycloneDX need the library cyclonedx-python-lib",
            hint="install it with polyarch: pip install 'polyarch[cyclonedx]', or ask for format=spdx",
        ) from error
    from datetime import datetime  # noqa: PLC0415 - as above

    tool = Component(name="polyarch", version=__version__, type=ComponentType.APPLICATION)
    root = Component(name=name, type=ComponentType.CONTAINER, bom_ref="root")
    metadata = BomMetaData(
        component=root,
        timestamp=datetime.fromisoformat(created),
        tools=ToolRepository(components=(tool,)),
    )
    components = [_component(each, number) for number, each in enumerate(found.packages, 1)]
    content = compact([name, created, [each.key for each in found.packages]])
    bom = Bom(
        components=components,
        metadata=metadata,
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, sha256(content)),
    )
    bom.register_dependency(root, components)
    written = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()
    document: JSONObject = json.loads(written)
    return document


def _component(package: Package, number: int) -> Component:
    from cyclonedx.model import Property  # noqa: PLC0415 - as above
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415
    from cyclonedx.model.contact import OrganizationalEntity  # noqa: PLC0415
    from cyclonedx.model.license import DisjunctiveLicense, License, LicenseExpression  # noqa: PLC0415
    from packageurl import PackageURL  # noqa: PLC0415

    url = PackageURL(
        type=package.type,
        namespace=package.namespace or None,
        name=package.name,
        version=package.version,
        qualifiers=dict(package.qualifiers) or None,
    )
    told = package.license
    licenses: list[License] = []
    if told:
        known = is_expression(told)
        licenses.append(LicenseExpression(told) if known else DisjunctiveLicense(name=told))
    return Component(
        type=ComponentType.LIBRARY,
        bom_ref=f"{url.to_string()}#{number}",
        group=package.namespace or None,
        name=package.name,
        version=package.version,
        purl=url,
        licenses=licenses,
        supplier=OrganizationalEntity(name=package.supplier) if package.supplier else None,
        properties=(Property(name="polyarch:path", value=f"/{package.path}"),),
    )
