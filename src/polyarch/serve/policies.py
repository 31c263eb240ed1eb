"""Policies of a client: it is asked of each source of a build whether that may be used.

If it wants to know more, sources are described as far as they can be before they are used. One that the client wants to be
replaced by another one is, in graphs; those of Dockerfiles are resolved already, which is refused.

Source: BuildKit's `sourcepolicy/policysession`, `solver/llbsolver/policy.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from polyarch.buildkit.messages import pairs, read_pairs
from polyarch.errors import InputError
from polyarch.golang.json import compact
from polyarch.golang.strconv import quote
from polyarch.graph.graph import Graph
from polyarch.graph.op import GitOp, HttpOp, ImageOp, LocalOp
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import IMAGE_SCHEME
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform
from polyarch.record import field as record_field
from polyarch.record import frozen, replace
from polyarch.serve.asking import Client
from polyarch.serve.calls import Detailed
from polyarch.serve.metadata import AskedSource
from polyarch.serve.rules import NO_RULES, Rules
from polyarch.text.giturl import parse_git_reference
from polyarch.wire import Message, field

__all__ = ["Policy"]

_CHECK = "/moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy"
_ALLOW, _DENY, _CONVERT = range(3)
_DECISION = "github.com/moby/buildkit/policysession.DecisionResponse+json"
_MOST_CHANGES = 10
_MOST_AT_ONCE = 16
_ACTIONS = {_DENY: "DENY", _CONVERT: "CONVERT"}

Replaced = tuple[str, Mapping[str, str]]

Tell = Callable[[AskedSource], bytes]
"""Returns what can be told of a source: a ResolveSourceMetaResponse."""


@frozen
class _Source:
    """A source as BuildKit calls it; `platform` of an image."""

    identifier: str
    attributes: Mapping[str, str] = record_field(default_factory=dict)
    platform: Platform | None = None

    def message(self) -> bytes:
        """Return a SourceOp."""
        return field(1, self.identifier) + pairs(2, self.attributes)

    def platform_message(self) -> bytes:
        """Return a Platform, b"" for none."""
        told = self.platform
        if told is None:
            return b""
        return field(1, told.architecture) + field(2, told.os) + field(3, told.variant)


@frozen
class Policy:
    """What a client says of sources: by `rules` that it sent, and, if it `is_asked`, of each; `tell` knows more of them."""

    client: Client
    tell: Tell
    rules: Rules = NO_RULES
    is_asked: bool = True
    _foreseen: dict[bytes, Future[Replaced]] = record_field(default_factory=dict, repr=False)

    def check(self, graph: Graph) -> None:
        """Ask of all sources of a graph at once. Raises InputError for one that isn't allowed, RemoteError."""
        found = map(_source, graph.vertices())
        sources = [each for each in found if each is not None]
        with ThreadPoolExecutor(_MOST_AT_ONCE) as threads:
            list(threads.map(self._check, sources))

    def foresee(self, sources: Iterable[tuple[str, Mapping[str, str], Platform]]) -> None:
        """Ask at once of sources that `replaced` will be asked for: a policy may wait for one before it allows another."""
        with ThreadPoolExecutor(_MOST_AT_ONCE) as threads:
            for identifier, attributes, platform in sources:
                source = _Source(identifier=identifier, attributes=attributes, platform=platform)
                key = _key(source)
                if key not in self._foreseen:
                    self._foreseen[key] = threads.submit(self._replaced, source)

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

    def check_source(self, asked: AskedSource) -> None:
        """Ask of a source that the client itself wants to know more of. Raises as `check`."""
        told = asked.source
        self._check(
            _Source(
                identifier=told.text(1),
                attributes=read_pairs(told, 2),
                platform=asked.platform,
            )
        )

    def replaced(
        self, identifier: str, attributes: Mapping[str, str], platform: Platform
    ) -> Replaced:
        """Return what a source of a graph is to be, which may be another one. Raises as `check`."""
        source = _Source(identifier=identifier, attributes=attributes, platform=platform)
        foreseen = self._foreseen.get(_key(source))
        return foreseen.result() if foreseen is not None else self._replaced(source)

    def image(self, name: str) -> str:
        """Return the name of the image that a Dockerfile is to have for one of this name, by the rules. Raises InputError."""
        told = f"{IMAGE_SCHEME}{name}"
        identifier, _ = self.rules.replaced(told, {})
        if identifier == told:
            return name
        if not identifier.startswith(IMAGE_SCHEME):
            raise _unlike(told, identifier)
        return parse_reference(identifier.removeprefix(IMAGE_SCHEME)).canonical

    def _replaced(self, source: _Source) -> Replaced:
        identifier, attributes = self.rules.replaced(source.identifier, source.attributes)
        source = replace(source, identifier=identifier, attributes=attributes)
        if not self.is_asked:
            return identifier, attributes
        for _ in range(_MOST_CHANGES):
            decision = self._decision(source)
            if decision.integer(1) != _CONVERT or not decision.all(3):
                _require(source, decision)
                return source.identifier, source.attributes
            update = Message(decision.bytes(3))
            changed = read_pairs(update, 2) if update.all(2) else source.attributes
            source = replace(
                source, identifier=update.text(1) or source.identifier, attributes=changed
            )
        raise InputError(
            f"too many policy requests on {identifier}",
            hint="the policy replaces it again and again",
        )

    def _check(self, source: _Source) -> None:
        found = self.rules.replaced(source.identifier, source.attributes)
        if found != (source.identifier, source.attributes):
            raise _unlike(source.identifier, found[0])
        if self.is_asked:
            _require(source, self._decision(source))

    def _decision(self, source: _Source) -> Message:
        answer = self._ask(source, b"")
        if answer.all(2):
            answer = self._ask(source, self._more(source, answer.bytes(2)))
        if not answer.all(1):
            raise InputError(
                f"the policy wants to know more of {source.identifier} than can be told yet"
            )
        return Message(answer.bytes(1))

    def _ask(self, source: _Source, more: bytes) -> Message:
        platform = source.platform_message()
        described = field(1, source.message()) + more
        return Message(self.client.ask(_CHECK, field(1, platform) + field(2, described)))

    def _more(self, source: _Source, wanted: bytes) -> bytes:
        """Return what is known of a source beside its name. Raises InputError for what isn't known."""
        platform = field(2, source.platform_message()) if source.platform is not None else b""
        request = Message(wanted + field(1, source.message()) + platform)
        told = Message(self.tell(AskedSource(message=request)))
        return b"".join(field(number, told.bytes(number)) for number in (2, 3, 4))


def _unlike(name: str, other: str) -> InputError:
    return InputError(
        f"a policy replaces {name} by {other}, which isn't supported for Dockerfiles yet",
        hint="name it in the Dockerfile, or as a named context",
    )


def _key(source: _Source) -> bytes:
    return field(1, source.message()) + field(2, source.platform_message())


def _require(source: _Source, decision: Message) -> None:
    """Raise InputError, with the policy's own words as details, for a source that isn't allowed as it is."""
    action = decision.integer(1)
    if action == _ALLOW:
        return
    named = _ACTIONS.get(action, str(action))
    words = [each.text(1) for each in decision.messages(2)]
    told = {"action": action, "denyMessages": [{"message": each} for each in words]}
    raise Detailed(
        f"source {quote(source.identifier)} not allowed by policy: action {named}"
        + "".join(f": {each}" for each in words),
        field(3, field(1, _DECISION) + field(2, compact(told))),
    )


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
        case LocalOp(name=name, source=source):
            return _Source(identifier=f"local://{source or name.partition('@')[0]}")
    return None
