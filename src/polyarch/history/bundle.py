"""Records of builds that travel: buildx's archives, `.dockerbuild`, in both directions.

An archive is an OCI layout, as a tar compressed by gzip. For one record its index names a manifest, for
several an index of manifests, each with the record's name as an annotation. A manifest's config is the record;
its layers are the logs, and the documents of what was built, whose types are hidden in an annotation, so that nobody
looks for the layers that they name.

Source: buildx's `util/desktop/bundle`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from polyarch.attest.statement import IN_TOTO, PREDICATE_TYPE
from polyarch.digest import Digest, hex_of, sha256
from polyarch.errors import IntegrityError
from polyarch.golang.json import indented
from polyarch.history.attachments import PROVENANCE, Attachment, Attachments
from polyarch.history.failure import explained
from polyarch.history.form import RECORD_TYPE, read_record, record_json
from polyarch.history.record import BuildRecord, ResultInfo
from polyarch.history.recording import remove_record, write_record
from polyarch.history.records import IMPORTED, History, is_ref
from polyarch.images.archive import write_archive
from polyarch.images.layout import blob_path
from polyarch.layer.compress import decompressed
from polyarch.layer.tar import Sink
from polyarch.layer.tarread import Limits, TarReader
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import Fields, read_document
from polyarch.oci.index import Index, parse_index
from polyarch.oci.manifest import Manifest, parse_manifest
from polyarch.oci.media import OCI_INDEX, OCI_MANIFEST
from polyarch.pattern import pattern
from polyarch.record import replace
from polyarch.store.blobs import Blobs
from polyarch.store.trouble import store_trouble

__all__ = ["read_bundle", "write_bundle"]

_REFERENCE = "vnd.buildkit.history.reference"
_ERROR = "externalError"
_HIDDEN_TYPE = "vnd.export-build.descriptor.mediatype"
_BLOB = pattern(r"(?:\./)?blobs/sha256/([0-9a-f]{64})\Z")
_LIMITS = Limits(size=1 << 30, entries=10_000)
_BLOB_LIMIT = 256 << 20


# --- writing ---


def write_bundle(
    records: Iterable[BuildRecord], history: History, blobs: Blobs, target: Sink
) -> None:
    """Write an archive of records. Documents of images that the store no longer has are left out.

    Raises OSError where `target` doesn't take it, StoreError.
    """
    import gzip  # noqa: PLC0415 for this only

    content = _Content(history, blobs)
    manifests = [content.add(record) for record in records]
    root = (
        replace(manifests[0], annotations={}) if len(manifests) == 1 else content.index(manifests)
    )
    # It has no need of more than `write`, unless it is flushed itself.
    file = cast("BinaryIO", target)
    with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
        write_archive([root], [*content.files], content, packed, content.documents())


class _Content:
    """The blobs of an archive: documents that are made for it, and files, by their digests."""

    def __init__(self, history: History, blobs: Blobs) -> None:
        self.files: dict[Digest, Path] = {}
        self._history = history
        self._blobs = blobs
        self._made: dict[Digest, bytes] = {}

    def open(self, digest: Digest) -> BinaryIO:
        """See BlobFiles."""
        return self.files[digest].open("rb")

    def size(self, digest: Digest) -> int:
        """See BlobFiles."""
        return self.files[digest].stat().st_size

    def documents(self) -> dict[str, bytes]:
        """Return the documents, by their places in a layout."""
        return {blob_path(digest): data for digest, data in self._made.items()}

    def index(self, manifests: Iterable[Descriptor]) -> Descriptor:
        """Make an index of manifests."""
        listed = [each.to_json() for each in manifests]
        return self._document(
            OCI_INDEX, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
        )

    def add(self, record: BuildRecord) -> Descriptor:
        """Take a record in; returns what names its manifest."""
        record = self._attested(record)
        layers = []
        logs = record.logs
        if logs is not None and self._has(self._history.logs(record), logs.digest):
            layers.append(logs)
        for result in (record.result, *(each for _, each in sorted(record.results.items()))):
            layers += self._results(record, result)
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self._document(RECORD_TYPE, record_json(record)).to_json(),
            "layers": [each.to_json() for each in layers],
        }
        named = self._document(OCI_MANIFEST, manifest)
        return replace(named, annotations={_REFERENCE: record.ref})

    def _results(self, record: BuildRecord, result: ResultInfo | None) -> Iterator[Descriptor]:
        if result is None:
            return
        for each in result.attestations:
            if each.digest in self._made or self._finds(record, each.digest):
                yield each
        for each in result.results:
            if self._finds(record, each.digest):
                annotations = {**each.annotations, _HIDDEN_TYPE: each.media_type}
                yield replace(each, media_type="application/json", annotations=annotations)

    def _attested(self, record: BuildRecord) -> BuildRecord:
        """Return a record with its provenance, as BuildKit's have it: what is said, without of what, for each platform."""
        known = [record.result, *record.results.values()]
        if record.result is None or any(each is not None and each.attestations for each in known):
            return record
        result, results = record.result, dict(record.results)
        is_one = "," not in record.attributes.get("platform", "")
        listed = Attachments(self._history, record, self._blobs)
        for each in listed.all():
            made = self._provenance(each, listed)
            if made is None:
                continue
            if is_one or each.platform is None:
                result = replace(result, attestations=(*result.attestations, made))
            else:
                name = str(each.platform)
                found = results.get(name, ResultInfo())
                results[name] = replace(found, attestations=(*found.attestations, made))
        return replace(record, result=result, results=results)

    def _provenance(self, attachment: Attachment, listed: Attachments) -> Descriptor | None:
        """Return what an attachment says of where its image came from; None for one of another kind."""
        if not attachment.type.startswith(PROVENANCE):
            return None
        fields = read_document(listed.read(attachment.descriptor.digest))
        if "predicate" not in fields:
            return None
        made = self._document(IN_TOTO, fields.object("predicate").rest(()))
        return replace(made, annotations={PREDICATE_TYPE: attachment.type})

    def _finds(self, record: BuildRecord, digest: Digest) -> bool:
        """Tell whether a document is taken in now: one that is there, and wasn't taken in before."""
        if digest in self.files:
            return False
        kept = self._history.blob(record, digest)
        return self._has(kept if kept.exists() else self._blobs.path(digest), digest)

    def _has(self, path: Path, digest: Digest) -> bool:
        if path.is_file():
            self.files[digest] = path
        return digest in self.files

    def _document(self, media_type: str, value: dict[str, object]) -> Descriptor:
        data = indented(value)
        digest = sha256(data)
        self._made[digest] = data
        return Descriptor(media_type=media_type, digest=digest, size=len(data))


# --- reading ---


def read_bundle(source: BinaryIO, directory: Path) -> tuple[BuildRecord, ...]:
    """Keep the records of an archive in `directory`; returns them, the last build first.

    One that is there already is replaced. Raises IntegrityError for what is no such archive.
    """
    blobs: dict[Digest, bytes] = {}
    index = b""
    with decompressed(source) as tar:
        reader = TarReader(tar, limits=_LIMITS, stop_at_mark=True)
        for entry in reader:
            if entry.size > _BLOB_LIMIT:
                raise IntegrityError(f"{entry.name} in the archive has {entry.size} bytes")
            found = _BLOB.match(entry.name)
            if found:
                data = b"".join(reader.content())
                if sha256(data) != f"sha256:{found[1]}":
                    raise IntegrityError(f"{entry.name} in the archive isn't what its name says")
                blobs[sha256(data)] = data
            elif entry.name.removeprefix("./") == "index.json":
                index = b"".join(reader.content())
    if not index:
        raise IntegrityError(
            "the archive has no index.json",
            hint="give a file that buildx history export has written",
        )
    archive = _Archive(blobs)
    records = [archive.keep(each, directory) for each in archive.manifests(parse_index(index))]
    return tuple(sorted(records, key=lambda record: record.created, reverse=True))


class _Archive:
    """An archive that was read, by digests."""

    def __init__(self, blobs: dict[Digest, bytes]) -> None:
        self._blobs = blobs

    def manifests(self, index: Index) -> Iterator[Manifest]:
        """Give the manifests of records; an index may name others."""
        for each in index.manifests:
            if each.media_type == OCI_INDEX:
                yield from self.manifests(parse_index(self._get(each.digest)))
            else:
                yield parse_manifest(self._get(each.digest))

    def keep(self, manifest: Manifest, directory: Path) -> BuildRecord:
        """Keep the record of a manifest, with what came with it."""
        if manifest.config.media_type != RECORD_TYPE:
            raise IntegrityError(
                f"the archive holds {manifest.config.media_type or 'something'} and no build record"
            )
        fields = read_document(self._get(manifest.config.digest))
        record = self._explained(read_record(fields), fields)
        if not is_ref(record.ref):
            raise IntegrityError(f"the archive's build is called {record.ref!r}")
        record = replace(
            record,
            builder=IMPORTED,
            node="_",
            completed=record.created if record.completed is None else record.completed,
        )
        remove_record(directory, record.ref)
        logs = record.logs.digest if record.logs is not None else None
        kept = directory / f"{record.ref}.blobs"
        with store_trouble("keep", kept):
            kept.mkdir(mode=0o700, parents=True)
            for layer in manifest.layers:
                data = self._get(layer.digest)
                is_log = layer.digest == logs
                path = directory / f"{record.ref}.log" if is_log else kept / hex_of(layer.digest)
                path.write_bytes(data)
            write_record(directory, record)
        return record

    def _explained(self, record: BuildRecord, fields: Fields) -> BuildRecord:
        """Take in what BuildKit has of an error in a document of its own."""
        if record.error is None or _ERROR not in fields:
            return record
        status = self._blobs.get(Digest(fields.object(_ERROR).text("digest")), b"")
        return replace(record, error=explained(record.error, status))

    def _get(self, digest: Digest) -> bytes:
        try:
            return self._blobs[digest]
        except KeyError:
            raise IntegrityError(f"the archive lacks {digest}, which it names") from None
