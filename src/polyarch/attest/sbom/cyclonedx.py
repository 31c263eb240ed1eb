"""Packages -> a document of CycloneDX 1.6, in JSON, written by the library of its project.

That is an extra, and takes a third of a second to load: who imports this module does so for those who ask for it.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime

from cyclonedx.model import Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseExpression
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion

from polyarch import __version__
from polyarch.attest.sbom.licenses import is_expression
from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.scan import Scan
from polyarch.attest.sbom.urls import package_url
from polyarch.digest import sha256
from polyarch.golang.json import compact
from polyarch.graph.op import JSONObject

__all__ = ["cyclonedx_document"]


def cyclonedx_document(name: str, found: Scan, created: str) -> JSONObject:
    """Return the document that lists what was found in `name`; `created` is a time, RFC 3339 to the second.

    Its serial number follows from the content.
    """
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
    url = package_url(package)
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
