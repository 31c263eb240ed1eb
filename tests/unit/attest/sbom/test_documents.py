"""Lists of software pass the validators of those who specified them."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from polyarch.attest.options import SbomOptions
from polyarch.attest.sbom.documents import sbom_predicates
from polyarch.attest.sbom.licenses import is_expression, reference
from polyarch.attest.sbom.package import Package
from polyarch.attest.sbom.scan import Scan
from polyarch.errors import MachineError
from polyarch.golang.json import compact

MOMENT = 1_700_000_000
SCAN = Scan(
    packages=(
        Package(
            type="deb",
            namespace="debian",
            name="libc6",
            version="2.41-1",
            qualifiers={"arch": "amd64", "distro": "debian-13"},
            supplier='"GNU (Libc)" Maintainers <libc@example.test>',
            path="var/lib/dpkg/status",
        ),
        Package(
            type="apk", name="musl", version="1.2", license="MIT", supplier="Natanael <not a mail>"
        ),
        Package(type="npm", namespace="@s", name="c", version="1", license="(MIT OR Apache-2.0)"),
        Package(type="rpm", name="bash", version="5", license="GPLv3+ and public domain"),
        Package(type="pypi", name="ä b", version="1 !", license="A\nlong: licence\ttext"),
        Package(type="golang", name="stdlib", version="1.25", license="x" * 3000),
    )
)
FORMS = SbomOptions(formats=("spdx", "cyclonedx"))


def written(scan: Scan) -> dict[str, bytes]:
    made = sbom_predicates({"": scan}, FORMS, MOMENT)
    return {each.filename: compact(each.content) for each in made}


@pytest.mark.parametrize("scan", [SCAN, Scan(packages=())], ids=["some", "none"])
def test_documents_are_valid(tmp_path: Path, scan: Scan) -> None:
    # Imported here, since the grammars that they make first take seconds of every process that collects.
    cyclonedx = importlib.import_module("cyclonedx.validation.json")
    version = importlib.import_module("cyclonedx.schema").SchemaVersion.V1_6
    spdx = importlib.import_module("spdx_tools.spdx.validation.document_validator")
    parser = importlib.import_module("spdx_tools.spdx.parser.parse_anything")
    found = written(scan)

    path = tmp_path / "sbom.spdx.json"
    path.write_bytes(found["sbom.spdx.json"])
    document = parser.parse_file(str(path))
    assert [each.validation_message for each in spdx.validate_full_spdx_document(document)] == []
    assert len(document.packages) == len(scan.packages) + 1
    validator = cyclonedx.JsonStrictValidator(version)
    assert validator.validate_str(found["sbom.cdx.json"].decode()) is None
    assert len(json.loads(found["sbom.cdx.json"]).get("components", ())) == len(scan.packages)


def test_equal_scans_give_equal_documents() -> None:
    assert written(SCAN) == written(SCAN)
    assert written(SCAN) != written(Scan(packages=SCAN.packages[1:]))


def test_what_is_beside_the_result_has_a_name() -> None:
    scans = {"build": SCAN, "": SCAN}

    found = list(sbom_predicates(scans, SbomOptions(), MOMENT))

    assert [(each.type, each.filename) for each in found] == [
        ("https://spdx.dev/Document", "sbom.spdx.json"),
        ("https://spdx.dev/Document", "sbom-build.spdx.json"),
    ]


def test_a_form_whose_library_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "polyarch.attest.sbom.cyclonedx", raising=False)
    monkeypatch.setitem(sys.modules, "cyclonedx.model.bom", None)

    with pytest.raises(MachineError, match="need the library cyclonedx-python-lib") as caught:
        list(sbom_predicates({"": SCAN}, FORMS, MOMENT))

    assert "pip install 'polyarch[cyclonedx]'" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "is_known"),
    [
        ("MIT", True),
        ("MIT OR (Apache-2.0 AND Zlib)", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", True),
        ("GPL-2.0-only WITH MIT", False),
        ("MIT OR", False),
        ("(MIT", False),
        ("MIT)", False),
        ("MIT MIT", False),
        ("GPLv2+", False),
        ("", False),
    ],
)
def test_expressions_of_licenses(text: str, is_known: bool) -> None:
    assert is_expression(text) is is_known


def test_names_of_other_licenses() -> None:
    assert reference("GPLv3+ and public domain") == "LicenseRef-GPLv3-and-public-domain"
    assert reference("***") == "LicenseRef-unknown"
