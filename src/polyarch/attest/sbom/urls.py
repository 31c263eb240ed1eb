"""Package URLs of packages, made by the library of their specification."""

from __future__ import annotations

from packageurl import PackageURL

from polyarch.attest.sbom.package import Package

__all__ = ["package_url"]


def package_url(package: Package) -> PackageURL:
    """Return the URL of a package."""
    return PackageURL(
        type=package.type,
        namespace=package.namespace or None,
        name=package.name,
        version=package.version,
        qualifiers=dict(package.qualifiers) or None,
    )
