"""Stand-in."""

from __future__ import annotations

from dataclasses import dataclass

from polyarch.digest import Digest

__all__ = ["Reference", "parse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def familiar(self) -> str:
        return f"{self.path}:{self.tag}"

    def __str__(self) -> str:
        return f"{self.domain}/{self.path}:{self.tag}"


def parse(text: str) -> Reference:
    name, _, tag = (
        text.rpartition(":") if ":" in text.rsplit("/", maxsplit=1)[-1] else (text, "", "latest")
    )
    domain, _, path = name.partition("/") if "/" in name else ("docker.io", "", "library/" + name)
    return Reference(domain=domain, path=path, tag=tag)
