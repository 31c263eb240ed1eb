"""What a client's frontend attests of its results, read from what it returns.

Source: BuildKit's `gateway.proto`, `exporter/attestation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from polyarch.attest.given import Given, check_given
from polyarch.attest.statement import Named
from polyarch.errors import InputError
from polyarch.serve.messages import Attested
from polyarch.wire import Message

__all__ = ["read_attestations"]

_BUNDLE = 1
_SELF, _RAW = range(2)
_CORE = "sbom-core"


def read_attestations(
    result: Message, find: Callable[[str], bytes]
) -> Mapping[str, tuple[Attested, ...]]:
    """Return the attestations of a gateway's Result by platform; `find` gives the definition of a ref. Raises InputError."""
    return {
        entry.text(1): tuple(_attested(each, find) for each in Message(entry.bytes(2)).messages(1))
        for entry in result.messages(12)
    }


def _attested(message: Message, find: Callable[[str], bytes]) -> Attested:
    told = {each.text(1): each.bytes(2) for each in message.messages(2)}
    given = Given(
        path=message.text(4),
        type=message.text(5),
        is_bundle=message.integer(1) == _BUNDLE,
        subjects=tuple(map(_subject, message.messages(6))),
        core=told.get(_CORE, b"").decode("utf-8", "replace"),
    )
    ref = Message(message.bytes(3)).text(1)
    check_given(given, has_tree=bool(ref))
    return Attested(given=given, definition=find(ref))


def _subject(message: Message) -> Named:
    kind = message.integer(1)
    if kind == _SELF:
        return Named(name=message.text(3))
    if kind != _RAW:
        raise InputError(f"unknown attestation subject type {kind}")
    digests = (each.partition(":") for each in message.texts(2))
    return Named(name=message.text(3), digests={name: value for name, _, value in digests})
