"""What clients ask for, read from the messages of BuildKit's API. Source: BuildKit's `control.proto`, `gateway.proto`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from polyarch.attest.given import Given
from polyarch.buildkit.messages import read_pairs
from polyarch.errors import IntegrityError
from polyarch.golang.json import read_json
from polyarch.oci.fields import Fields
from polyarch.record import field, frozen
from polyarch.request.values import CacheEntry
from polyarch.wire import Message

__all__ = [
    "CONFIG",
    "EPOCH",
    "Attested",
    "Exported",
    "SolveRequest",
    "cache_imports",
    "read_input_metadata",
    "read_solve_request",
    "typed",
]

CONFIG = "containerimage.config"
"""What the config of an image is called, in metadata of results and attributes of exporters."""


EPOCH = "source.date.epoch"
"""What the date of a result is called there, in seconds."""


@frozen
class Exported:
    """An output as a client asks for it: the exporter's type, and its attributes."""

    type: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@frozen
class Attested:
    """What a frontend attests, and the definition of the tree that has it."""

    given: Given
    definition: bytes


@frozen
class SolveRequest:
    """What `Control.Solve` is asked for; `definition` is an LLB definition as it came.

    Without a definition (`has_definition`: an empty one is there) and a frontend, a program of the client's decides.

    `inputs` are definitions, too, by the name of the context that they are; `definitions`, by platform, are those that a
    frontend at the client has returned, `metadata` is what it said of them, and `attested` what it attests of each. With
    `is_nothing` there is nothing to be built. `policies` are documents, beside those of whom the client has an eye on it.
    """

    ref: str
    session: str
    frontend: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    definition: bytes = b""
    has_definition: bool = False
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    exporters: tuple[Exported, ...] = ()
    cache_to: tuple[CacheEntry, ...] = ()
    cache_from: tuple[CacheEntry, ...] = ()
    entitlements: tuple[str, ...] = ()
    is_internal: bool = False
    policies: tuple[bytes, ...] = ()
    policy_session: str = ""
    definitions: Mapping[str, bytes] = field(default_factory=dict)
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    attested: Mapping[str, tuple[Attested, ...]] = field(default_factory=dict)
    is_nothing: bool = False


def read_solve_request(data: bytes) -> SolveRequest:
    """Read a SolveRequest, and what clients before 0.13 say in other fields. Raises IntegrityError."""
    message = Message(data)
    cache = Message(message.bytes(8))
    exporters = tuple(Exported(type=kind, attributes=found) for kind, found in typed(message, 13))
    if not exporters and message.text(3):
        exporters = (Exported(type=message.text(3), attributes=read_pairs(message, 4)),)
    old = tuple(CacheEntry(type="registry", attributes={"ref": each}) for each in cache.texts(2))
    old_to: tuple[CacheEntry, ...] = ()
    if cache.text(1):
        attributes = {**read_pairs(cache, 3), "ref": cache.text(1)}
        old_to = (CacheEntry(type="registry", attributes=attributes),)
    return SolveRequest(
        ref=message.text(1),
        session=message.text(5),
        frontend=message.text(6),
        attributes=read_pairs(message, 7),
        definition=message.bytes(2),
        has_definition=bool(message.all(2)),
        inputs={each.text(1): each.bytes(2) for each in message.messages(10)},
        exporters=exporters,
        cache_to=(*_entries(cache, 4), *old_to),
        cache_from=(*_entries(cache, 5), *old),
        entitlements=message.texts(9),
        is_internal=bool(message.integer(11)),
        policies=tuple(message.all(12)),
        policy_session=message.text(15),
    )


def typed(message: Message, number: int) -> list[tuple[str, dict[str, str]]]:
    """Return the messages of a field that are a type and its attributes."""
    return [(each.text(1), read_pairs(each, 2)) for each in message.messages(number)]


def _entries(message: Message, number: int) -> tuple[CacheEntry, ...]:
    return tuple(CacheEntry(type=kind, attributes=found) for kind, found in typed(message, number))


def cache_imports(attributes: Mapping[str, str]) -> tuple[CacheEntry, ...]:
    """Return the caches that a frontend is told of, in JSON, or as names of images. Raises IntegrityError."""
    listed = read_json(attributes.get("cache-imports", "") or "[]")
    if not isinstance(listed, list):
        raise IntegrityError("the caches to read are no list")
    entries = [Fields(each, "cache-imports") for each in listed]
    return (
        *(CacheEntry(type=e.text("Type"), attributes=e.text_map("Attrs")) for e in entries),
        *(
            CacheEntry(type="registry", attributes={"ref": name})
            for name in attributes.get("cache-from", "").split(",")
            if name
        ),
    )


def read_input_metadata(text: str) -> dict[str, bytes]:
    """Read what is told of a context that is a result: JSON with bytes in base64. Raises IntegrityError."""
    fields = Fields(read_json(text) if text else {}, "input-metadata")
    try:
        return {name: base64.b64decode(fields.text(name)) for name in fields.rest(())}
    except binascii.Error as error:
        raise IntegrityError("what is told of a context is no base64") from error
