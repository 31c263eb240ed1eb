"""Package URLs of images, as BuildKit writes them: `pkg:docker/NAME@TAG?platform=...`.

Source: the specification of package URLs; BuildKit's `util/purl`.
"""

from __future__ import annotations

from urllib.parse import quote

from polyarch.errors import InputError
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform, normalize

__all__ = ["image_url"]


def image_url(reference: str, platform: Platform | None = None) -> str:
    """Return the URL of an image by its name, or by the address of a layout; its digest is a qualifier."""
    is_layout = reference.startswith(LAYOUT_SCHEME)
    bare = reference.removeprefix(LAYOUT_SCHEME)
    found = _parsed(bare.rpartition("/")[2] if is_layout else bare)
    tag = found.tag or ("" if found.digest else "latest")
    qualifiers = [f"digest={_escaped(found.digest)}"] if found.digest else []
    if platform is not None:
        qualifiers.append(f"platform={quote(str(normalize(platform)), safe='')}")
    kind = "oci" if is_layout else "docker"
    name = "/".join(quote(part, safe="") for part in found.familiar_name.split("/"))
    version = f"@{_escaped(tag)}" if tag else ""
    query = f"?{'&'.join(qualifiers)}" if qualifiers else ""
    return f"pkg:{kind}/{name}{version}{query}"


def _parsed(name: str) -> Reference:
    try:
        return parse_reference(name)
    except InputError:
        return Reference(domain="", path=name)  # a layout's directory may be called anything


def _escaped(text: str) -> str:
    return quote(text, safe=":")
