"""A package that was found."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.record import field, frozen

__all__ = ["Package"]


@frozen
class Package:
    """A piece of software.

    `type` and `namespace` are those of package URLs, as are `qualifiers`; `license` is what it says of itself, "" for
    nothing; `supplier` is who made the package; `path` is where that was found, relative to the root.
    """

    type: str
    name: str
    version: str
    namespace: str = ""
    qualifiers: Mapping[str, str] = field(default_factory=dict)
    license: str = ""
    supplier: str = ""
    path: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What packages are sorted and told apart by."""
        qualifiers = "&".join(f"{name}={self.qualifiers[name]}" for name in sorted(self.qualifiers))
        return self.type, self.namespace, self.name, self.version, qualifiers
