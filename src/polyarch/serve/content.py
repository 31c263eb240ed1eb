"""A client's stores of content: layouts that builds start from, caches in directories, images that aren't archives.

Source: containerd's `content.proto`, BuildKit's `session/content`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from polyarch.digest import Digest, hasher, hex_of, parse_digest
from polyarch.errors import IntegrityError
from polyarch.golang.json import read_json
from polyarch.images.layout import blob_path, index_json
from polyarch.oci.base import REF_NAME
from polyarch.serve.sessions import Session
from polyarch.wire import Message, field

__all__ = ["fetch_layout", "read_manifest_entry", "send_layout"]

_CONTENT = "/containerd.services.content.v1.Content"
_STORE = "buildkit-attachable-store-id"
_CHUNK = 1 << 20
_WRITE, _COMMIT = 1, 2
_SMALL = 4 << 20
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_NESTED = 4
"""Indexes in indexes that are followed, at most."""


async def send_layout(session: Session, store: str, directory: Path) -> None:
    """Send the client's store all blobs of a layout that it lacks."""
    for path in sorted((directory / "blobs").glob("*/*")):
        digest = f"{path.parent.name}:{path.name}"
        if not await _has(session, store, digest):
            await _write(session, store, digest, path)


async def _has(session: Session, store: str, digest: str) -> bool:
    try:
        async with session.stream(f"{_CONTENT}/Info", [(_STORE, store)]) as stream:
            await stream.send_message(field(1, digest), end=True)
            return await stream.recv_message() is not None
    except GRPCError as error:
        if error.status is Status.NOT_FOUND:
            return False
        raise


async def _write(session: Session, store: str, digest: str, path: Path) -> None:
    told = field(2, f"polyarch-{digest}") + field(3, os.stat(path).st_size) + field(4, digest)
    async with session.stream(f"{_CONTENT}/Write", [(_STORE, store)]) as stream:
        await stream.send_request()
        offset = 0
        with path.open("rb") as file:
            while data := file.read(_CHUNK):
                await stream.send_message(
                    field(1, _WRITE) + told + field(5, offset) + field(6, data)
                )
                await _answered(stream)
                offset += len(data)
        await stream.send_message(field(1, _COMMIT) + told + field(5, offset), end=True)
        await _answered(stream)


async def _answered(stream: Any) -> None:
    if await stream.recv_message() is None:
        raise IntegrityError("the client's store of content ended a transfer")


async def fetch_layout(
    session: Session, store: str, root: Digest, directory: Path, tag: str
) -> None:
    """Bring what a digest of the client's store reaches into a fresh layout, under `tag`.

    Raises IntegrityError for what isn't what its digest says, and what gRPC raises.
    """
    os.mkdir(directory, mode=0o700)
    (directory / "oci-layout").write_bytes(_LAYOUT)
    document = await _fetch_all(session, store, root, directory, _NESTED)
    entry = {
        "mediaType": document.get("mediaType", "application/vnd.oci.image.manifest.v1+json"),
        "digest": root,
        "size": (directory / blob_path(root)).stat().st_size,
        "annotations": {REF_NAME: tag},
    }
    (directory / "index.json").write_bytes(index_json([entry]))


async def _fetch_all(
    session: Session, store: str, root: Digest, directory: Path, nested: int
) -> dict[str, Any]:
    path = directory / blob_path(root)
    await _fetch(session, store, root, path)
    document = _document(path)
    for child in _children(document):
        digest = parse_digest(str(child.get("digest", "")))
        if (directory / blob_path(digest)).exists():
            continue
        if "+json" in str(child.get("mediaType", "")) and nested and _is_manifest(child):
            await _fetch_all(session, store, digest, directory, nested - 1)
        else:
            await _fetch(session, store, digest, directory / blob_path(digest))
    return document


def _is_manifest(entry: dict[str, Any]) -> bool:
    kind = str(entry.get("mediaType", ""))
    return "manifest" in kind or "index" in kind


def _document(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _SMALL:
        raise IntegrityError(f"{path.name} is too large to be a manifest")
    found = read_json(path.read_bytes())
    if not isinstance(found, dict):
        raise IntegrityError(f"{path.name} isn't a manifest")
    return found


def _children(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    config = document.get("config")
    for each in (*document.get("manifests", ()), config, *document.get("layers", ())):
        if isinstance(each, dict):
            yield each


async def _fetch(session: Session, store: str, digest: Digest, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    found = hasher(digest)
    with path.open("xb") as file:
        async with session.stream(f"{_CONTENT}/Read", [(_STORE, store)]) as stream:
            await stream.send_message(field(1, digest), end=True)
            async for message in stream:
                data = Message(message).bytes(2)
                found.update(data)
                file.write(data)
    if found.hexdigest() != hex_of(digest):
        os.unlink(path)
        raise IntegrityError(f"the client's store has other bytes for {digest}")


def read_manifest_entry(directory: Path) -> str:
    """Return the entry of a layout's only manifest as JSON, "" for a layout that has none."""
    index = directory / "index.json"
    found = _document(index).get("manifests", []) if index.exists() else []
    if not found:
        return ""
    entry = {name: value for name, value in found[-1].items() if name != "annotations"}
    return json.dumps(entry, separators=(",", ":"))
