"""Packages -> a document of SPDX 2.3, in JSON. Source: the SPDX specification 2.3 and its JSON schema.

It is written here, as the library that the project of SPDX has for it brings a dozen others along; that one checks the
documents in the tests.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence

from polyarch import __version__
from polyarch.attest.sbom.licenses import is_expression, reference
from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.scan import Scan
from polyarch.attest.sbom.urls import package_url
from polyarch.digest import sha256
from polyarch.golang.json import compact
from polyarch.graph.op import JSONObject

__all__ = ["spdx_document"]

_NOTHING = "NOASSERTION"
_ROOT = "SPDXRef-DocumentRoot"
_NAMESPACE = "https://spdx.org/spdxdocs"


def spdx_document(name: str, found: Scan, created: str) -> JSONObject:
    """Return the document that lists what was found in `name`; `created` is a time, RFC 3339 to the second.

    Its namespace follows from the content, so that equal scans give equal documents.
    """
    packages = [_package(each, number) for number, each in enumerate(found.packages, 1)]
    texts = {each.license for each in found.packages if each.license}
    extracted = [
        {"licenseId": reference(text), "extractedText": text} for text in sorted(_distinct(texts))
    ]
    identity = uuid.uuid5(uuid.NAMESPACE_URL, sha256(compact([name, packages, created])))
    root: JSONObject = {
        "SPDXID": _ROOT,
        "name": name,
        "downloadLocation": _NOTHING,
        "filesAnalyzed": False,
        "copyrightText": _NOTHING,
        "licenseConcluded": _NOTHING,
        "licenseDeclared": _NOTHING,
        "primaryPackagePurpose": "CONTAINER",
    }
    document: JSONObject = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"{_NAMESPACE}/{_plain(name)}-{identity}",
        "creationInfo": {"creators": [f"Tool: polyarch-{__version__}"], "created": created},
        "packages": [root, *packages],
        "relationships": _relationships(packages),
    }
    if extracted:
        document["hasExtractedLicensingInfos"] = extracted
    return document


def _relationships(packages: Sequence[JSONObject]) -> list[JSONObject]:
    described: JSONObject = {
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": _ROOT,
    }
    contained = [
        {
            "spdxElementId": _ROOT,
            "relationshipType": "CONTAINS",
            "relatedSpdxElement": each["SPDXID"],
        }
        for each in packages
    ]
    return [described, *contained]


def _distinct(texts: set[str]) -> list[str]:
    """Return the texts that aren't expressions, one for each name that they get."""
    by_name = {reference(text): text for text in sorted(texts) if not is_expression(text)}
    return list(by_name.values())


def _package(package: Package, number: int) -> JSONObject:
    license_ = package.license
    declared = license_ if is_expression(license_) else reference(license_) if license_ else ""
    full = f"{package.namespace}/{package.name}" if _has_long_name(package) else package.name
    made: JSONObject = {
        "SPDXID": f"SPDXRef-Package-{package.type}-{_plain(full)}-{number}",
        "name": full,
        "versionInfo": package.version,
        "supplier": _supplier(package.supplier),
        "downloadLocation": _NOTHING,
        "filesAnalyzed": False,
        "copyrightText": _NOTHING,
        "licenseConcluded": _NOTHING,
        "licenseDeclared": declared or _NOTHING,
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package_url(package).to_string(),
            }
        ],
    }
    if package.path:
        made["sourceInfo"] = f"found in /{package.path}"
    return made


def _has_long_name(package: Package) -> bool:
    return bool(package.namespace) and package.type in {"npm", "golang"}


def _supplier(text: str) -> str:
    """Return who supplies a package, as the specification has persons: name and address."""
    name, _, rest = text.replace("\n", " ").partition("<")
    name = name.strip().strip('"').replace("(", "").replace(")", "").strip()
    mail = rest.partition(">")[0].strip()
    if not name:
        return _NOTHING
    return (
        f"Person: {name} ({mail})" if "@" in mail and " " not in mail else f"Organization: {name}"
    )


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-") or "unnamed"
