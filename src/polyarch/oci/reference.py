"""Names of images: `[registry/]repository[:tag][@digest]`, with Docker's short forms.

"busybox" stands for "docker.io/library/busybox", "user/app" for "docker.io/user/app"; what is in front
of the first slash is a registry if it has a dot, a colon or a capital letter, or is "localhost".
The grammar is that of the reference package of the distribution project.
"""

from __future__ import annotations

import functools
import re

from polyarch.digest import Digest, parse_digest
from polyarch.errors import InvalidDigest, InvalidReference
from polyarch.record import frozen

__all__ = ["Reference", "parse"]

_DEFAULT_DOMAIN = "docker.io"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_MAX_PATH = 255
_HINT = "an image is named [registry/]repository[:tag][@sha256:digest], in lower case"

_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_COMPONENT}(?:\.{_COMPONENT})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"


@functools.cache
def _pattern() -> re.Pattern[str]:
    return re.compile(rf"(?:({_DOMAIN})/)?({_PATH})(?::({_TAG}))?(?:@({_DIGEST}))?\Z")


@frozen
class Reference:
    """The full name of an image.

    If it has both a tag and a digest, the digest decides and the tag is a remark. `domain` is empty
    for what looks like a registry's name but can't be one ("a_b.com/app"): nobody serves that.
    """

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def repository(self) -> str:
        """The full name without tag and digest."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    @property
    def familiar_name(self) -> str:
        """The name as people write it: without "docker.io/", and without "library/" there."""
        if self.domain != _DEFAULT_DOMAIN:
            return self.repository
        official = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in official else official

    @property
    def familiar(self) -> str:
        """The short form with tag and digest."""
        return self.familiar_name + self._suffix()

    @property
    def canonical(self) -> str:
        """The full form, with the tag "latest" if there is neither tag nor digest."""
        return str(self) if self.tag or self.digest else f"{self}:latest"

    @property
    def target(self) -> str:
        """What a registry is asked for: the digest if there is one, else the tag, or "latest"."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        return self.repository + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Read an image's name, short or full. Raises InvalidReference."""
    if re.fullmatch(r"[a-f0-9]{64}", text):
        raise InvalidReference(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings",
            hint=_HINT,
        )
    domain, rest = _split_domain(text)
    repository = rest.partition(":")[0]
    if repository != repository.lower():
        raise InvalidReference(
            f"invalid reference format: repository name ({repository}) must be lowercase",
            hint=_HINT,
        )
    match = _pattern().match(f"{domain}/{rest}")
    if match is None:
        raise InvalidReference("invalid reference format", hint=f"{text!r}: {_HINT}")
    if len(match[2]) > _MAX_PATH:
        raise InvalidReference(
            f"repository name must not be more than {_MAX_PATH} characters", hint=_HINT
        )
    return Reference(
        domain=match[1] or "",
        path=match[2],
        tag=match[3],
        digest=_checked(match[4]) if match[4] else None,
    )


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash:
        return _DEFAULT_DOMAIN, _OFFICIAL + text
    if first == _LEGACY_DOMAIN:
        domain = _DEFAULT_DOMAIN
    elif first == "localhost" or "." in first or ":" in first or first != first.lower():
        domain = first
    else:
        domain, rest = _DEFAULT_DOMAIN, text
    if domain == _DEFAULT_DOMAIN and "/" not in rest:
        rest = _OFFICIAL + rest
    return domain, rest


def _checked(text: str) -> Digest:
    algorithm, _, encoded = text.partition(":")
    lengths = {"sha256": 64, "sha384": 96, "sha512": 128}
    if algorithm not in lengths:
        raise InvalidReference("unsupported digest algorithm", hint=f"{text!r}: use sha256")
    if len(encoded) != lengths[algorithm]:
        raise InvalidReference(
            "invalid checksum digest length",
            hint=f"{text!r}: {algorithm} has {lengths[algorithm]} hex digits",
        )
    try:
        return parse_digest(text)
    except InvalidDigest as error:
        raise InvalidReference(
            "invalid checksum digest format", hint=f"{text!r}: write the hex digits in lower case"
        ) from error
