"""Policies of a build on a daemon: it asks of each source whether that may be used, through the session.

Source: BuildKit's `sourcepolicy/policysession`, `frontend/gateway/pb`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from polyarch.buildkit.messages import pairs, read_pairs
from polyarch.errors import IntegrityError
from polyarch.golang.json import read_json
from polyarch.platforms import Platform, from_words
from polyarch.policies.checking import require_news
from polyarch.policies.policy import Decision
from polyarch.policies.provenance import SLSA_0_2, SLSA_1
from polyarch.policies.told import Chain, Source, Told, ToldGit, ToldHttp, ToldImage, Wish
from polyarch.wire import Message, field, present

__all__ = ["Decider", "checker"]

_ALGORITHMS = ("sha256", "sha384", "sha512")
_PREDICATE = "in-toto.io/predicate-type"


class Decider(Protocol):
    """What decides on sources."""

    def decide(self, source: Source, told: Told) -> Decision | Wish:
        """Return a decision, or what has to be known for one. Raises InputError."""


def checker(decider: Decider, platform: Platform) -> Callable[[bytes], bytes]:
    """Return what answers a daemon's requests; `platform` is for images that it names none of.

    What was wished for once is wished for again with all that comes later: each answer of the daemon is to one request alone.
    """
    wishes: dict[str, Wish] = {}

    def check(data: bytes) -> bytes:
        request = Message(data)
        response = Message(request.bytes(2))
        operation = Message(response.bytes(1))
        source = Source(
            identifier=operation.text(1),
            attributes=read_pairs(operation, 2),
            platform=_platform(request, platform),
        )
        key = str(source)
        known = wishes.get(key, Wish())
        found = decider.decide(source, _told(response, known))
        if isinstance(found, Decision):
            # A decision may be one to allow, whose number is that of nothing.
            return present(1, _decision(found))
        require_news(source, found, known)
        wishes[key] = known | found
        return field(
            2, field(1, response.bytes(1)) + field(2, request.bytes(1)) + _request(wishes[key])
        )

    return check


def _platform(request: Message, default: Platform) -> Platform | None:
    if not request.all(1):
        return default
    told = Message(request.bytes(1))
    return from_words(told.text(2), told.text(1), told.text(3))


def _decision(found: Decision) -> bytes:
    update = b""
    if found.update is not None:
        update = field(3, field(1, found.update.identifier) + pairs(2, found.update.attributes))
    messages = b"".join(field(2, field(1, each)) for each in found.messages)
    return field(1, int(found.action)) + messages + update


def _request(wish: Wish) -> bytes:
    """Return what a daemon is to find out: fields of a ResolveSourceMetaRequest."""
    found = b""
    if any(each.startswith("git.") for each in wish.fields):
        found += present(5, field(1, wish.has_objects))
    if wish.has_config or wish.has_chain:
        statements = [field(3, each) for each in (SLSA_0_2, SLSA_1) if wish.has_provenance]
        asked = field(1, not wish.has_config) + field(2, wish.has_chain) + b"".join(statements)
        found += present(6, asked)
    if wish.checksum is not None:
        algorithm, suffix = wish.checksum
        asked = field(1, _ALGORITHMS.index(algorithm)) + field(2, suffix)
        found += field(7, present(1, asked))
    return found


# --- what a daemon has found out ---


def _told(response: Message, asked: Wish) -> Told:
    return Told(
        image=_image(Message(response.bytes(2)), asked) if response.all(2) else None,
        git=_git(Message(response.bytes(3))) if response.all(3) else None,
        http=_http(Message(response.bytes(4))) if response.all(4) else None,
    )


def _image(told: Message, asked: Wish) -> ToldImage:
    chain = Message(told.bytes(3)) if told.all(3) else None
    return ToldImage(
        digest=told.text(1),
        config=_json(told.bytes(2)) if told.bytes(2) else None,
        chain=None if chain is None else _chain(chain, asked),
    )


def _chain(told: Message, asked: Wish) -> Chain:
    statements = []
    for entry in told.messages(5):
        blob = Message(entry.bytes(2))
        annotations = read_pairs(Message(blob.bytes(1)), 5)
        if annotations.get(_PREDICATE) in {SLSA_0_2, SLSA_1} and blob.bytes(2):
            statements.append(_json(blob.bytes(2)))
    return Chain(
        has_attestations=bool(told.text(3)),
        statements=tuple(statements) if asked.has_provenance or not told.text(3) else None,
    )


def _json(data: bytes) -> object:
    try:
        return read_json(data)
    except ValueError as error:
        raise IntegrityError(f"the daemon tells of an image in damaged JSON: {error}") from error


def _git(told: Message) -> ToldGit:
    return ToldGit(
        ref=told.text(2),
        checksum=told.text(1),
        commit=told.text(3),
        commit_object=told.bytes(4),
        tag_object=told.bytes(5),
    )


def _http(told: Message) -> ToldHttp:
    signed = Message(told.bytes(4))
    return ToldHttp(checksum=told.text(1), signed=signed.text(1), suffix=signed.bytes(2))
