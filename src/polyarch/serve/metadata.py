"""What can be told of a source before it is used: `ResolveSourceMeta`, and what policies want to know.

Source: BuildKit's `gateway.proto`, `client/llb/sourceresolver`, `source/git`, `source/http`.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from polyarch.buildkit.messages import read_pairs
from polyarch.digest import Digest
from polyarch.errors import InputError
from polyarch.golang.json import compact
from polyarch.graph.op import GitOp, HttpOp
from polyarch.oci.base import IMAGE_SCHEME, LAYOUT_SCHEME
from polyarch.oci.config import ImageConfig
from polyarch.platforms import Platform, host
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.serve.llb.definition import platform_of
from polyarch.serve.llb.graphs import read_git, read_http
from polyarch.store.blobs import Blobs
from polyarch.wire import Message, field, time_field
from polyarch.worker.remote import RemoteSources

__all__ = ["AskedSource", "Known", "source_metadata"]

_ALGORITHMS = ("sha256", "sha384", "sha512")
_CHUNK = 1 << 20
_IMAGE, _GIT, _HTTP = 2, 3, 4
"""The fields of a ResolveSourceMetaResponse."""


class Known(Protocol):
    """Where sources are looked up. All methods raise NotFound, RemoteError."""

    def image(self, name: str, platform: Platform, *, pull: bool) -> tuple[Digest, ImageConfig]:
        """Return the digest and the config of an image."""

    def layout(self, address: str, store: str, platform: Platform) -> tuple[Digest, ImageConfig]:
        """Return those of an image in a layout of the client's."""

    def pin(self, url: str, digest: Digest) -> None:
        """Note what the client was told of a file of a web server: the build gets the same."""

    @property
    def remote(self) -> RemoteSources:
        """Where files of web servers and commits come from."""

    @property
    def blobs(self) -> Blobs:
        """Where what was fetched is kept."""


@frozen
class AskedSource:
    """A ResolveSourceMetaRequest."""

    message: Message

    @property
    def source(self) -> Message:
        """The source: a SourceOp."""
        return Message(self.message.bytes(1))

    @property
    def platform(self) -> Platform:
        """The platform that an image is asked for."""
        return platform_of(Message(self.message.bytes(2))) if self.message.all(2) else host()

    @property
    def pull(self) -> bool:
        """Whether registries are asked in any case."""
        return self.message.text(4) == "pull"


def source_metadata(asked: AskedSource, known: Known, cancel: CancelToken) -> bytes:
    """Return a ResolveSourceMetaResponse. Raises InputError for sources of which nothing can be told, NotFound, RemoteError."""
    source = asked.source
    identifier, attributes = source.text(1), read_pairs(source, 2)
    told = field(1, asked.message.bytes(1))
    if identifier.startswith(IMAGE_SCHEME):
        name = identifier.removeprefix(IMAGE_SCHEME)
        found = known.image(name, asked.platform, pull=asked.pull)
        return told + _image(asked, *found)
    if identifier.startswith(LAYOUT_SCHEME):
        store = attributes.get("oci.store", "")
        return told + _image(asked, *known.layout(identifier, store, asked.platform))
    if identifier.startswith("git://"):
        return told + _git(asked, read_git(identifier, attributes), known, cancel)
    if identifier.startswith(("http://", "https://")):
        return told + _http(asked, read_http(identifier, attributes), known, cancel)
    raise InputError(f"nothing can be told of sources like {identifier}")


def _image(asked: AskedSource, digest: Digest, config: ImageConfig) -> bytes:
    wanted = Message(asked.message.bytes(6))
    if wanted.integer(2) or wanted.all(3):
        raise InputError("attestations of images can't be told yet")
    data = b"" if wanted.integer(1) else compact(config.to_json())
    return field(_IMAGE, field(1, digest) + field(2, data))


def _git(asked: AskedSource, op: GitOp, known: Known, cancel: CancelToken) -> bytes:
    objects = bool(Message(asked.message.bytes(5)).integer(1))
    found = known.remote.look(op, cancel, objects=objects)
    return field(
        _GIT,
        b"".join(
            (
                field(1, found.digest),
                field(2, found.name),
                field(3, found.peeled),
                field(4, found.commit_object),
                field(5, found.tag_object),
            )
        ),
    )


def _http(asked: AskedSource, op: HttpOp, known: Known, cancel: CancelToken) -> bytes:
    file = known.remote.file(op, cancel)
    if not op.headers and not op.auth_secret:
        known.pin(op.url, file.digest)
    modified = None if file.modified is None else float(file.modified)
    told = field(1, file.digest) + field(2, op.filename) + time_field(3, modified)
    request = Message(asked.message.bytes(7))
    if request.all(1):
        wanted = Message(request.bytes(1))
        told += field(4, _checksum(known.blobs, file.digest, wanted))
    return field(_HTTP, told)


def _checksum(blobs: Blobs, digest: Digest, wanted: Message) -> bytes:
    """Return the digest of a file with something behind it, by another algorithm."""
    number, suffix = wanted.integer(1), wanted.bytes(2)
    if not 0 <= number < len(_ALGORITHMS):
        raise InputError(f"unknown algorithm of a checksum: {number}")
    name = _ALGORITHMS[number]
    state = hashlib.new(name)
    with blobs.open(digest) as blob:
        while piece := blob.read(_CHUNK):
            state.update(piece)
    state.update(suffix)
    return field(1, f"{name}:{state.hexdigest()}") + field(2, suffix)
