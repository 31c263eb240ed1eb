"""OCI image layouts: the one reader and the one writer of them. `archive` writes them as archives.

A layout is a directory of blobs, and an index of those that have a name. An image in it is addressed as
`oci-layout://DIRECTORY[:TAG][@DIGEST]`. A tag is looked for among the names in the index; an image that
is alone there needs none.

    oci-layout             the version
    index.json             descriptors of what has a name; the name is an annotation
    blobs/ALGORITHM/HEX    blobs, read-only, as containerd has them
    ingest/                blobs on their way

What is about another manifest (a signature, say) and can't be reached from a name is in the index, too, with
an annotation that tells of which. Nothing is written through links, and the index is written last, so that it never
names what isn't there.

Source: OCI image-spec v1.1, image-layout.md; how BuildKit and buildx read and write layouts.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from polyarch.digest import Digest, fits, hasher, hex_of, parse_digest
from polyarch.errors import InputError, IntegrityError, InvalidDigest, NotFound
from polyarch.golang.json import compact, read_json
from polyarch.images.place import BlobReader, OnBytes, Source
from polyarch.inroot import open_regular, read_small
from polyarch.oci.base import IMAGE_NAME, LAYOUT_SCHEME, REF_NAME, SUBJECT
from polyarch.oci.descriptor import DOCUMENT_LIMIT, Descriptor, check_document
from polyarch.oci.fields import read_document
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import subject_of
from polyarch.oci.media import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, is_index, is_manifest
from polyarch.paths import replacing
from polyarch.pattern import pattern
from polyarch.record import frozen, replace
from polyarch.store.trouble import output_trouble

__all__ = [
    "VERSION",
    "Layout",
    "LayoutAddress",
    "blob_path",
    "index_json",
    "open_layout",
    "parse_layout",
]

VERSION = b'{"imageLayoutVersion":"1.0.0"}'
"""The content of the file `oci-layout`."""

_REFERS_TO = "vnd.docker.reference.digest"
_LATEST = "latest"
_TAG = pattern(r"(?P<path>.*):(?P<tag>\w[\w.-]{0,127})\Z", re.DOTALL | re.ASCII)
_CHUNK = 1 << 20
_COPIED_AT_ONCE = 64 << 20
_INDEX_LIMIT = 16 << 20
"""Bytes of an `index.json`: unlike the documents of images, it grows with each name."""
_DEPTH = 8
_LOCK_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_HINT = (
    f"write {LAYOUT_SCHEME}DIRECTORY[:TAG][@DIGEST]; polyarch build -o type=oci,tar=false,dest=DIRECTORY "
    "makes such a directory"
)


@frozen
class LayoutAddress:
    """An image in a layout; `tag` is "", and `digest` None, where the address doesn't say."""

    directory: Path
    tag: str = ""
    digest: Digest | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{LAYOUT_SCHEME}{self.directory}{tag}{digest}"

    @property
    def target(self) -> str:
        """What the layout is asked for: the digest if there is one, else the tag, or "latest"."""
        return self.digest or self.tag or _LATEST


def parse_layout(text: str) -> LayoutAddress:
    """Read an address. Raises InputError."""
    rest = text.removeprefix(LAYOUT_SCHEME)
    path, at, digest = rest.rpartition("@")
    if not at or "/" in digest:
        path, digest = rest, ""  # the sign is in the name of a directory
    try:
        found = parse_digest(digest) if path != rest else None
    except InvalidDigest as error:
        raise InputError(f"{text}: {error}", hint=error.hint) from error
    named = None if os.path.isdir(path) else _TAG.match(path)
    path, tag = (named["path"], named["tag"]) if named else (path, "")
    if not path:
        raise InputError(f"{text} names no directory", hint=_HINT)
    return LayoutAddress(directory=Path(path), tag=tag, digest=found)


def open_layout(address: LayoutAddress) -> Layout:
    """Return the layout of an address. Raises NotFound for what isn't there, InputError for no layout."""
    directory = address.directory
    if not directory.is_dir():
        if directory.is_file():
            raise InputError(
                f"{directory} is a file, and not an OCI layout",
                hint="unpack an archive first: mkdir DIRECTORY, then tar -xf ARCHIVE -C DIRECTORY",
            )
        raise NotFound(f"{address}: the directory {directory} was not found", hint=_HINT)
    if not (directory / "index.json").is_file():
        raise InputError(f"{directory} isn't an OCI layout: it has no index.json", hint=_HINT)
    return Layout(directory.absolute())


def blob_path(digest: Digest) -> str:
    """Return where a blob is, relative to its layout."""
    return f"blobs/{digest.replace(':', '/')}"


def index_json(entries: Iterable[object], more: dict[str, object] | None = None) -> bytes:
    """Write the index of a layout; `more` is what else an older one has."""
    usual = {"schemaVersion": 2, "mediaType": OCI_INDEX}
    return compact({**usual, **(more or {}), "manifests": list(entries)})


class Layout:
    """A layout in a directory as a place of images; made when something is put into it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._pending: list[tuple[Descriptor, Digest]] = []
        """What is about something else; listed by itself if no name leads to it in the end."""

    @property
    def name(self) -> str:
        """The address of the directory."""
        return f"{LAYOUT_SCHEME}{self.directory}"

    # --- reading ---

    def load(self, target: str) -> tuple[Descriptor, bytes]:
        """Return what a tag or a digest stands for. Raises NotFound, IntegrityError."""
        if ":" in target:
            digest = parse_digest(target)
            data = self._read(digest)
            return Descriptor(media_type=_media_type(data), digest=digest, size=len(data)), data
        descriptor = self._named(target)
        return descriptor, self.manifest(descriptor)

    def _named(self, tag: str) -> Descriptor:
        listed = self._listed()
        for key in (IMAGE_NAME, REF_NAME):
            for each in listed:
                if each.annotations.get(key) == tag:
                    return each
        named = {each.digest: each for each in listed if SUBJECT not in each.annotations}
        if tag == _LATEST and len(named) == 1:
            return next(iter(named.values()))
        raise NotFound(
            f"reference {self.name}:{tag} not found: not found",
            hint=f"{_choice(list(named.values()))}; {_HINT}",
        )

    def _listed(self) -> tuple[Descriptor, ...]:
        path = self.directory / "index.json"
        try:
            return parse_index(read_small(path, _INDEX_LIMIT, "index of a layout")).manifests
        except OSError as error:
            reason = str(error.strerror).lower()
            raise NotFound(
                f"could not read {path}: open {path}: {reason}",
                hint="an OCI image layout would have it",
            ) from error

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index. Raises NotFound, IntegrityError, InputError."""
        check_document(descriptor)
        return self._read(descriptor.digest)

    def _read(self, digest: Digest) -> bytes:
        with self.opened(digest) as stream:
            size = os.fstat(stream.fileno()).st_size
            check_document(Descriptor(media_type="", digest=digest, size=size))
            data = stream.read(DOCUMENT_LIMIT)
        if not fits(data, digest):
            raise IntegrityError(f"the bytes of {digest} in {self.directory} are others")
        return data

    @contextmanager
    def opened(self, digest: Digest) -> Iterator[BinaryIO]:
        """Give a blob's file, unverified. Raises NotFound; InputError for what can't be read."""
        try:
            with open(open_regular(self._path(digest)), "rb") as stream:
                yield stream
        except FileNotFoundError as error:
            raise NotFound(
                f"content {digest}: not found",
                hint=f"{self.directory} may hold only some platforms of its images; write it anew with "
                "all of them",
            ) from error
        except OSError as error:
            raise InputError(f"can't read {self._path(digest)}: {error.strerror}") from error

    def _path(self, digest: Digest) -> Path:
        return self.directory / blob_path(digest)

    def open_blob(self, blob: Descriptor) -> BlobReader:
        """Return a blob to be read. Raises NotFound, also while it is read."""
        with self.opened(blob.digest):
            pass
        return BlobReader(chunks=lambda: self._chunks(blob.digest))

    def _chunks(self, digest: Digest) -> Generator[bytes, None, None]:
        with self.opened(digest) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk

    def origins(self, _digest: Digest) -> Iterable[str]:
        """Give nothing: a layout doesn't know where its blobs came from."""
        return ()

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return the manifests that are about another one. Raises IntegrityError."""
        listed = self._listed() if (self.directory / "index.json").exists() else ()
        found: dict[Digest, Descriptor] = {}
        for each in self._reachable(listed):
            if each.annotations.get(_REFERS_TO) == subject or self._subject(each) == subject:
                found[each.digest] = each
        for each in listed:
            if each.annotations.get(SUBJECT) == subject:
                found[each.digest] = each
        return tuple(found.values())

    def _reachable(self, listed: Sequence[Descriptor], depth: int = 0) -> Iterator[Descriptor]:
        """Give what can be reached from the names of the layout."""
        if depth > _DEPTH:
            raise IntegrityError(
                f"{self.directory} has indexes in indexes, more than {_DEPTH} deep"
            )
        for each in listed:
            if depth == 0 and SUBJECT in each.annotations:
                continue
            yield each
            if is_index(each.media_type) and self._path(each.digest).is_file():
                yield from self._reachable(parse_index(self.manifest(each)).manifests, depth + 1)

    def _subject(self, descriptor: Descriptor) -> Digest | None:
        if not is_manifest(descriptor.media_type) or not self._path(descriptor.digest).is_file():
            return None
        return subject_of(self.manifest(descriptor))

    # --- writing ---

    def is_whole(self, _digest: Digest) -> bool:
        """Return False: a layout may hold manifests without what they need."""
        return False

    def take_blob(self, blob: Descriptor, source: Source, on_bytes: OnBytes) -> None:
        """Copy a blob unless it is here. Raises StoreError, IntegrityError, and what the source raises."""
        with output_trouble("write to", self.directory):
            if self.holds(blob):
                return
            reader = source.open_blob(blob)
            with self._new(blob) as stream:
                if reader.file is None:
                    with closing(reader.chunks()) as chunks:
                        _write_verified(stream, blob, chunks, on_bytes)
                else:
                    with reader.file() as file:
                        _copy(stream, file, on_bytes)

    def add_file(self, blob: Descriptor, file: BinaryIO) -> None:
        """Keep a file whose bytes are known to be right. Raises StoreError, InputError."""
        with output_trouble("write to", self.directory):
            if not self.holds(blob):
                file.seek(0)
                with self._new(blob) as stream:
                    _copy(stream, file, _pass_over)

    def put_manifest(self, descriptor: Descriptor, data: bytes, subject: Digest | None) -> None:
        """Keep a manifest or index under its digest; `subject` is what it is about. Raises StoreError."""
        with output_trouble("write to", self.directory):
            if not self.holds(descriptor):
                with self._new(descriptor) as stream:
                    stream.write(data)
        if subject is not None:
            self._pending.append((descriptor, subject))

    def tag(self, tag: str, descriptor: Descriptor, data: bytes) -> None:
        """Keep a manifest or index under a name, which another one loses; "" lists it without one.

        Raises StoreError, InputError.
        """
        self.put_manifest(descriptor, data, None)
        noted = {**descriptor.annotations, **({REF_NAME: tag} if tag else {})}
        self.list_entries([replace(descriptor, annotations=noted)])

    def list_entries(self, entries: Iterable[Descriptor]) -> None:
        """Add what is here already to the index; entries of the same names are replaced, others stay.

        Raises StoreError, InputError; the index is then as it was.
        """
        with output_trouble("write to", self.directory), self._locked():
            self._list(entries)
            if self._pending:
                reachable = {each.digest for each in self._reachable(self._listed())}
                self._list(
                    replace(each, annotations={SUBJECT: subject, **each.annotations})
                    for each, subject in self._pending
                    if each.digest not in reachable
                )

    def _list(self, entries: Iterable[Descriptor]) -> None:
        added = [each.to_json() for each in entries]
        if not added:
            return
        path = self.directory / "index.json"
        document, known = _old_index(path)
        replaced = {_name(entry) for entry in added} - {("", "")}
        kept = [each for each in known if _name(each) not in replaced and each not in added]
        with replacing(self.directory / "oci-layout") as aside:
            aside.write_bytes(VERSION)
        with replacing(path) as aside:
            aside.write_bytes(index_json([*kept, *added], document))

    def holds(self, blob: Descriptor) -> bool:
        """Return whether a blob is here; one of another size was cut short."""
        with suppress(FileNotFoundError, NotADirectoryError):
            status = self._path(blob.digest).lstat()
            return stat.S_ISREG(status.st_mode) and status.st_size == blob.size
        return False

    @contextmanager
    def _new(self, blob: Descriptor) -> Iterator[BinaryIO]:
        """Give a new file that becomes a blob at the end of the block."""
        target = self._path(blob.digest)
        self._make(target.parent)
        aside = self.directory / "ingest" / f"{hex_of(blob.digest)}.{os.urandom(6).hex()}"
        try:
            with aside.open("xb") as stream:
                yield stream
            aside.chmod(0o444)
            aside.rename(target)
        finally:
            aside.unlink(missing_ok=True)

    def _make(self, parent: Path) -> None:
        """Make the directories of a layout. Raises OSError, InputError for links in their place."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for path in (self.directory / "blobs", parent, self.directory / "ingest"):
            if path.is_symlink():
                raise InputError(
                    f"{path} is a link, and may lead out of the layout",
                    hint="put the directory itself there, or choose another place",
                )
            path.mkdir(exist_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep others, BuildKit among them, from writing the index; leave no file of the lock."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "index.json.lock"
        with _lock(path):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)


def _lock(path: Path) -> BinaryIO:
    while True:
        lock = os.fdopen(os.open(path, _LOCK_FLAGS, 0o644), "wb")
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Who had it before has removed the file, and somebody else may hold a lock on a new one.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        lock.close()


def _pass_over(_done: int) -> None:
    """Tell nobody how far it is."""


def _copy(target: BinaryIO, source: BinaryIO, on_bytes: OnBytes) -> None:
    """Copy a file whose bytes are known to be right; the kernel does it."""
    done = 0
    while copied := os.sendfile(target.fileno(), source.fileno(), None, _COPIED_AT_ONCE):
        done += copied
        on_bytes(done)


def _write_verified(
    target: BinaryIO, blob: Descriptor, chunks: Iterable[bytes], on_bytes: OnBytes
) -> None:
    found = hasher(blob.digest)
    done = 0
    for chunk in chunks:
        found.update(chunk)
        target.write(chunk)
        done += len(chunk)
        on_bytes(done)
    if found.hexdigest() != hex_of(blob.digest):
        raise IntegrityError(f"the bytes of {blob.digest} that came have another digest")


def _old_index(path: Path) -> tuple[dict[str, object], list[object]]:
    """Return an index and its entries, to add to them: what others have written there is kept.

    Raises InputError.
    """
    try:
        data = read_small(path, _INDEX_LIMIT, "index of a layout")
    except FileNotFoundError:
        return {}, []
    try:
        found = read_json(data)
    except ValueError:
        found = None
    entries = found.get("manifests", "") if isinstance(found, dict) else ""
    if not isinstance(found, dict) or not isinstance(entries, list | None):
        raise InputError(
            f"{path} isn't the index of an OCI layout", hint="choose another directory"
        )
    return found, entries or []


def _name(entry: object) -> tuple[str, str]:
    """Return the names that an entry of an index has; a new one with the same takes its place."""
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    known = annotations if isinstance(annotations, dict) else {}
    return str(known.get(IMAGE_NAME, "")), str(known.get(REF_NAME, ""))


def _choice(entries: Sequence[Descriptor]) -> str:
    names = [entry.annotations.get(REF_NAME, "") for entry in entries]
    listed = ", ".join(dict.fromkeys(filter(None, names)))
    if not entries:
        return "the layout holds no image"
    held = "one image" if len(entries) == 1 else f"{len(entries)} images"
    return f"the layout holds {held}" + (f": {listed}" if listed else ", without a tag")


def _media_type(data: bytes) -> str:
    """Return what a document says it is; what doesn't say is Docker's, by what it has."""
    fields = read_document(data)
    usual = DOCKER_MANIFEST if "config" in fields else DOCKER_INDEX
    return fields.text("mediaType") or usual
