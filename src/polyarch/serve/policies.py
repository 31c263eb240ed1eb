"""Policies of a client: it is asked of each source of a build whether that may be used.

Images are described by their digests and configs if it wants to know more; of other sources nothing is known before they are
fetched. A source that the client wants to be replaced by another one is refused: it is resolved already.

Source: BuildKit's `sourcepolicy/policysession`, `solver/llbsolver/policy.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from polyarch.buildkit.messages import pairs
from polyarch.digest import Digest
from polyarch.errors import InputError
from polyarch.golang.json import compact
from polyarch.golang.strconv import quote
from polyarch.graph.graph import Graph
from polyarch.graph.op import GitOp, HttpOp, ImageOp, LocalOp
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import IMAGE_SCHEME
from polyarch.oci.config import ImageConfig
from polyarch.platforms import Platform
from polyarch.record import field as record_field
from polyarch.record import frozen
from polyarch.serve.asking import Client
from polyarch.text.giturl import parse_git_reference
from polyarch.wire import Message, field

__all__ = ["Policy"]

_CHECK = "/moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy"
_ALLOW, _DENY, _CONVERT = range(3)
_ACTIONS = {_DENY: "DENY", _CONVERT: "CONVERT"}

Resolve = Callable[[str, Platform], tuple[Digest, ImageConfig]]


@frozen
class _Source:
    """A source as BuildKit calls it; `platform` of an image."""

    identifier: str
    attributes: Mapping[str, str] = record_field(default_factory=dict)
    platform: Platform | None = None

    def message(self) -> bytes:
        """Return a SourceOp."""
        return field(1, self.identifier) + pairs(2, self.attributes)


@frozen
class Policy:
    """What a client says of sources; `resolve` knows images."""

    client: Client
    resolve: Resolve

    def check(self, graph: Graph) -> None:
        """Ask of all sources of a graph. Raises InputError for one that isn't allowed, RemoteError."""
        for vertex in graph.vertices():
            source = _source(vertex)
            if source is not None:
                self._check(source)

    def check_address(self, address: str) -> None:
        """Ask of a build context that is elsewhere. Raises as `check`."""
        reference = parse_git_reference(address)
        if reference is None:
            self._check(_Source(identifier=address))
            return
        # As BuildKit calls repositories: their address is an attribute.
        rest = address.partition("://")[2] or address
        full = address.partition("#")[0]
        self._check(_Source(identifier=f"git://{rest}", attributes={"git.fullurl": full}))

    def _check(self, source: _Source) -> None:
        answer = self._ask(source, b"")
        if answer.all(2):
            answer = self._ask(source, self._more(source, Message(answer.bytes(2))))
        if not answer.all(1):
            raise InputError(
                f"the policy wants to know more of {source.identifier} than can be told yet"
            )
        decision = Message(answer.bytes(1))
        action = decision.integer(1)
        if action != _ALLOW:
            named = _ACTIONS.get(action, str(action))
            told = "".join(f": {each.text(1)}" for each in decision.messages(2))
            raise InputError(
                f"source {quote(source.identifier)} not allowed by policy: action {named}{told}"
            )

    def _ask(self, source: _Source, more: bytes) -> Message:
        platform = b""
        if source.platform is not None:
            told = source.platform
            platform = field(1, told.architecture) + field(2, told.os) + field(3, told.variant)
        described = field(1, source.message()) + more
        return Message(self.client.ask(_CHECK, field(1, platform) + field(2, described)))

    def _more(self, source: _Source, wanted: Message) -> bytes:
        """Return what is known of an image beside its name. Raises InputError for what isn't known."""
        image = Message(wanted.bytes(6))
        if source.platform is None or image.integer(2) or image.all(3):
            raise InputError(
                f"the policy wants to know more of {source.identifier} than can be told yet",
                hint="digests and configs of images are; signatures, attestations and commits aren't",
            )
        name = source.identifier.removeprefix(IMAGE_SCHEME)
        digest, config = self.resolve(name, source.platform)
        return field(2, field(1, digest) + field(2, compact(config.to_json())))


def _source(vertex: Vertex) -> _Source | None:
    """Return what a vertex takes from outside, None for nothing."""
    match vertex.op:
        case ImageOp(reference=name, platform=platform) if "://" not in name:
            return _Source(identifier=f"{IMAGE_SCHEME}{name}", platform=platform)
        case HttpOp(url=url):
            return _Source(identifier=url)
        case GitOp(remote=remote, ref=ref, subdir=subdir):
            rest = remote.partition("://")[2] or remote
            end = f"#{ref}" + (f":{subdir}" if subdir else "") if ref or subdir else ""
            attributes = {"git.fullurl": remote}
            return _Source(identifier=f"git://{rest}{end}", attributes=attributes)
        case LocalOp(name=name):
            return _Source(identifier=f"local://{name.partition('@')[0]}")
    return None
