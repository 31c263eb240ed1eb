"""Package URLs of packages, written by the library of their specification."""

from __future__ import annotations

from polyarch.attest.sbom.package import Package

__all__ = ["package_url"]


def package_url(package: Package) -> str:
    """Return the URL of a package."""
    # Only lists of software have any.
    from packageurl import PackageURL  # noqa: PLC0415

    return PackageURL(
        type=package.type,
        namespace=package.namespace or None,
        name=package.name,
        version=package.version,
        qualifiers=dict(package.qualifiers) or None,
    ).to_string()
