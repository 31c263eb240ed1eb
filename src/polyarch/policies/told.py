"""Sources, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.platforms import Platform
from polyarch.record import field, frozen

__all__ = ["NOTHING", "Chain", "Source", "Told", "ToldGit", "ToldHttp", "ToldImage", "Wish"]


@frozen
class Source:
    """What a build takes from outside, as BuildKit names it: `docker-image://…`, `git://…`, `https://…`, `local://…`."""

    identifier: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None

    def __str__(self) -> str:
        """Write it as logs name it."""
        return self.identifier if self.platform is None else f"{self.identifier} ({self.platform})"


@frozen
class Chain:
    """What belongs to an image: whether it has attestations, and the statements that were asked for, as JSON has them."""

    has_attestations: bool
    statements: tuple[object, ...] | None = None
    """None if nobody has asked for them."""


@frozen
class ToldImage:
    """An image: the digest of its name, and the config as JSON has it, None if it wasn't asked for."""

    digest: str
    config: object = None
    chain: Chain | None = None


@frozen
class ToldGit:
    """What an address means at its server; objects are their bytes, b"" if they weren't asked for."""

    ref: str
    checksum: str
    commit: str = ""
    commit_object: bytes = b""
    tag_object: bytes = b""


@frozen
class ToldHttp:
    """A file of a web server: its digest, and that of it with `suffix` behind, for signatures."""

    checksum: str
    signed: str = ""
    suffix: bytes = b""


@frozen
class Told:
    """What is known of a source."""

    image: ToldImage | None = None
    git: ToldGit | None = None
    http: ToldHttp | None = None


NOTHING = Told()


@frozen
class Wish:
    """What a policy has to know of a source before it can decide."""

    fields: frozenset[str] = frozenset()
    """Fields of the input that are asked for: `image.labels`."""
    checksum: tuple[str, bytes] | None = None
    """The algorithm of another digest of a file, and what it is of behind the file."""

    def __or__(self, other: Wish) -> Wish:
        """Wish for both."""
        return Wish(fields=self.fields | other.fields, checksum=other.checksum or self.checksum)

    @property
    def has_config(self) -> bool:
        """Whether the config, or the digest, of an image is wanted."""
        return any(each.startswith("image.") and not self._is_chained(each) for each in self.fields)

    @property
    def has_chain(self) -> bool:
        """Whether it is wanted what belongs to an image."""
        return any(map(self._is_chained, self.fields))

    @property
    def has_provenance(self) -> bool:
        """Whether statements on where an image comes from are wanted."""
        return "image.provenance" in self.fields

    @property
    def has_objects(self) -> bool:
        """Whether commits and tags are wanted."""
        return bool(self.fields & {"git.commit", "git.tag"})

    @staticmethod
    def _is_chained(name: str) -> bool:
        return name in {"image.hasProvenance", "image.provenance", "image.signatures"}

    def __str__(self) -> str:
        """Write it as logs show it."""
        return "[" + " ".join(sorted(self.fields)) + "]"
