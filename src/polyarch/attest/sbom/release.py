"""Which distribution a root is of. Source: os-release(5)."""

from __future__ import annotations

from polyarch.attest.sbom.tree import Tree
from polyarch.record import frozen

__all__ = ["Release", "read_release"]

_PLACES = ("etc/os-release", "usr/lib/os-release")


@frozen
class Release:
    """A distribution as it calls itself: `debian`, `13`; "" for nothing."""

    id: str = ""
    version: str = ""

    def qualifiers(self, **more: str) -> dict[str, str]:
        """Return the qualifiers of a package's URL: those that have a value, and the distribution."""
        distribution = f"{self.id}-{self.version}" if self.id and self.version else self.id
        return {name: value for name, value in {**more, "distro": distribution}.items() if value}


def read_release(tree: Tree) -> Release:
    """Return the distribution that a root says it is of."""
    for place in _PLACES:
        fields = {}
        for line in tree.text(place).splitlines():
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith("#"):
                fields[name] = value.strip("\"'")
        if fields:
            return Release(id=fields.get("ID", "").lower(), version=fields.get("VERSION_ID", ""))
    return Release()
