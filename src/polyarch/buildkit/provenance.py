"""Records of builds as daemons tell of them, and what they say of where results come from.

Source: BuildKit's `control.proto` (BuildHistoryRecord).
"""

from __future__ import annotations

import json

from polyarch.attest.provenance import older
from polyarch.attest.statement import IN_TOTO, PREDICATE_TYPE
from polyarch.buildkit.api import Api
from polyarch.buildkit.messages import read_pairs
from polyarch.digest import Digest, parse_digest, sha256
from polyarch.errors import IntegrityError
from polyarch.history.record import BuildError, BuildRecord, Counts, Exporter, ResultInfo
from polyarch.oci.descriptor import Descriptor
from polyarch.wire import Message

__all__ = ["blob_of", "provenance_of", "read_build"]

_PROVENANCE = "https://slsa.dev/provenance/"


async def blob_of(api: Api, digest: Digest) -> bytes:
    """Return a document that a daemon keeps with a record. Raises IntegrityError."""
    data = await api.content(digest)
    if sha256(data) != digest:
        raise IntegrityError(f"the builder's {digest} is other bytes than its digest says")
    return data


def read_build(data: bytes) -> BuildRecord:
    """Read a BuildHistoryRecord. Raises IntegrityError."""
    message = Message(data)
    results = {each.text(1): _result(Message(each.bytes(2))) for each in message.messages(11)}
    error = next(message.messages(5), None)
    return BuildRecord(
        ref=message.text(1),
        attributes=read_pairs(message, 3),
        exporters=tuple(
            Exporter(type=each.text(1), attributes=read_pairs(each, 2))
            for each in message.messages(4)
        ),
        created=message.time(6) or 0.0,
        completed=message.time(7),
        error=BuildError(code=error.integer(1), message=error.text(2)) if error else None,
        logs=_descriptor(next(message.messages(8), None)),
        response=read_pairs(message, 9),
        result=next(map(_result, message.messages(10)), None),
        results=results,
        trace=_descriptor(next(message.messages(13), None)),
        counts=Counts(
            cached=message.integer(15),
            total=message.integer(16),
            completed=message.integer(17),
            warnings=message.integer(19),
        ),
    )


def _result(message: Message) -> ResultInfo:
    single = [_descriptor(each) for each in message.messages(1)]
    listed = [_descriptor(next(each.messages(2), None)) for each in message.messages(3)]
    return ResultInfo(
        attestations=tuple(filter(None, map(_descriptor, message.messages(2)))),
        results=tuple(each for each in listed or single if each is not None),
    )


def _descriptor(message: Message | None) -> Descriptor | None:
    if message is None or not message.text(2):
        return None
    return Descriptor(
        media_type=message.text(1),
        digest=parse_digest(message.text(2)),
        size=message.integer(3),
        annotations=read_pairs(message, 5),
    )


# --- where results come from ---


async def provenance_of(api: Api, ref: str, mode: str) -> dict[str, str]:
    """Return what a daemon's record says of where results come from, in SLSA v0.2's JSON, by platform ("" for the only one).

    With the mode "min" it has neither steps nor times, as with docker buildx. Nothing is raised for a record that says nothing.
    """
    for data in await api.history(ref):
        record = read_build(data)
        parts = record.results or ({"": record.result} if record.result is not None else {})
        found = {}
        for name, info in parts.items():
            for each in info.attestations:
                kind = each.annotations.get(PREDICATE_TYPE, "")
                if each.media_type == IN_TOTO and kind.startswith(_PROVENANCE):
                    found[name] = _told(await blob_of(api, each.digest), kind, mode)
                    break
        return found
    return {}


def _told(data: bytes, kind: str, mode: str) -> str:
    predicate = json.loads(data)
    if not kind.startswith(f"{_PROVENANCE}v0."):
        predicate = older(predicate)
    if mode == "min":
        predicate.pop("buildConfig", None)
        predicate.pop("metadata", None)
    return json.dumps(predicate, separators=(",", ":"))
