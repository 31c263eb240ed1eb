"""What was found in a result and beside it -> what is said of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from polyarch.attest.options import SbomOptions
from polyarch.attest.sbom.spdx import spdx_document
from polyarch.attest.statement import CYCLONEDX, SPDX, Predicate
from polyarch.errors import MachineError
from polyarch.golang.time import time_of
from polyarch.graph.op import JSONObject

if TYPE_CHECKING:
    from polyarch.attest.sbom.scan import Scan

__all__ = ["CORE", "sbom_predicates"]

CORE = "sbom"
"""What the list of the result itself is called; those beside it have their names behind that."""


def sbom_predicates(
    scans: Mapping[str, Scan], options: SbomOptions, seconds: int
) -> Iterator[Predicate]:
    """Give the lists of software, that of the result first; `scans` are by name, "" for the result.

    `seconds` is when the result was made. Raises MachineError for a form whose library isn't installed.
    """
    created = time_of(seconds).rfc3339()
    for part in sorted(scans):
        name = f"{CORE}-{part}" if part else CORE
        for form in options.formats:
            if form == "spdx":
                content = spdx_document(name, scans[part], created)
                yield Predicate(type=SPDX, content=content, filename=f"{name}.spdx.json")
            else:
                content = _cyclonedx(name, scans[part], created)
                yield Predicate(type=CYCLONEDX, content=content, filename=f"{name}.cdx.json")


def _cyclonedx(name: str, scan: Scan, created: str) -> JSONObject:
    try:
        # For those who ask for it: see there.
        from polyarch.attest.sbom.cyclonedx import cyclonedx_document  # noqa: PLC0415
    except ImportError as error:
        raise MachineError(
            "lists in the form of CycloneDX need the library cyclonedx-python-lib",
            hint="install it with polyarch: pip install 'polyarch[cyclonedx]', or ask for format=spdx",
        ) from error
    return cyclonedx_document(name, scan, created)
