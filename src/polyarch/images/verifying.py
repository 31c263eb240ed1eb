"""Whether an image is what it claims to be: each of its documents and layers is read and reckoned anew.

Compared are, at any place: the digest and the size of each manifest, config and layer with what names them; the diff ID of each
layer, unpacked, with its config; how many layers manifest, config and history tell of; how a layer is compressed with
its media type; an index's platforms with their configs, and these with the program that the image starts.

What is missing is a finding, too, but for platforms of the local store that nobody has fetched, which are counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from polyarch.digest import Digest, hasher, hex_of
from polyarch.errors import IntegrityError, InvalidLayer, NotFound
from polyarch.images.place import Source, read_blob
from polyarch.images.programfiles import ProgramFiles
from polyarch.layer.compress import decompressed, detect
from polyarch.layer.kinds import Compression
from polyarch.layer.tarread import Source as TarSource
from polyarch.layer.tarread import TarReader
from polyarch.oci import media
from polyarch.oci.config import ImageConfig, parse_config
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import Manifest, parse_manifest
from polyarch.oci.platform import NOWHERE
from polyarch.platforms import Platform, format_all, normalize
from polyarch.progress import CancelToken, cancellable
from polyarch.record import field, frozen, mutable

__all__ = ["Finding", "Verified", "verify_image"]

_DEPTH = 8
_SUFFIXES = {"gzip": Compression.GZIP, "zstd": Compression.ZSTD, "tar": Compression.UNCOMPRESSED}


@frozen
class Finding:
    """One thing that isn't as it is claimed: of which document or layer, what is said there, and what is so."""

    subject: Digest
    what: str
    claimed: str = ""
    found: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        values = f": {self.claimed} is claimed, and {self.found} found" if self.claimed else ""
        return f"{self.subject}: {self.what}{values}"


@mutable
class Verified:
    """What came of it: the platforms that were looked at, the bytes that were read, and what was wrong."""

    root: Descriptor
    platforms: list[str] = field(default_factory=list)
    layers: int = 0
    bytes: int = 0
    absent: int = 0
    """Manifests of the index that aren't at the place, where that is no fault."""
    findings: list[Finding] = field(default_factory=list)


def verify_image(
    source: Source, root: Descriptor, scratch: Path, *, partial: bool, cancel: CancelToken
) -> Verified:
    """Recompute all that an image claims; what begins programs is kept below the fresh directory `scratch` meanwhile.

    `partial` says that the place may have some platforms only. Raises what reading the place raises, but for what is
    missing or damaged.
    """
    verifier = _Verifier(
        source=source,
        scratch=scratch,
        partial=partial,
        cancel=cancel,
        result=Verified(root=root),
    )
    verifier.document(root, 0)
    return verifier.result


@mutable
class _Verifier:
    """One image being looked at."""

    source: Source
    scratch: Path
    partial: bool
    cancel: CancelToken
    result: Verified
    seen: dict[Digest, str] = field(default_factory=dict)
    """The diff IDs of layers that were read: platforms share them, and images may have one twice."""

    def note(self, subject: Digest, what: str, claimed: object = "", found: object = "") -> None:
        """Note what isn't as it is claimed."""
        self.result.findings.append(
            Finding(subject=subject, what=what, claimed=str(claimed), found=str(found))
        )

    def document(self, descriptor: Descriptor, depth: int) -> None:
        """Look at a manifest or index."""
        self.cancel.check()
        if depth > _DEPTH:
            return self.note(descriptor.digest, f"indexes in indexes, more than {_DEPTH} deep")
        try:
            data = self.source.manifest(descriptor)
        except NotFound:
            if self.partial and depth:
                self.result.absent += 1
            else:
                self.note(descriptor.digest, "the manifest is missing")
            return None
        except IntegrityError as error:
            return self.note(descriptor.digest, str(error))
        self.result.bytes += len(data)
        if len(data) != descriptor.size:
            self.note(descriptor.digest, "the size of the manifest", descriptor.size, len(data))
        try:
            if media.is_index(descriptor.media_type):
                for each in parse_index(data).manifests:
                    self.document(each, depth + 1)
                return None
            return self.image(descriptor, parse_manifest(data))
        except IntegrityError as error:
            return self.note(descriptor.digest, str(error))

    def image(self, descriptor: Descriptor, manifest: Manifest) -> None:
        """Look at what is below a manifest: an image, or blobs of another kind."""
        config = self.config(manifest)
        platform = descriptor.platform
        is_image = config is not None and (platform is None or platform.os != NOWHERE.os)
        # An index may list a manifest twice.
        own = self.scratch / f"{len(self.result.platforms)}-{hex_of(descriptor.digest)}"
        files = ProgramFiles(own) if is_image else None
        diff_ids = [self.layer(layer, files) for layer in manifest.layers]
        if config is None or files is None:
            return
        self.result.platforms.append(format_all(normalize(platform or config.platform)))
        self.compare_layers(manifest, config, diff_ids)
        if platform is not None and normalize(platform) != normalize(config.platform):
            self.note(
                descriptor.digest,
                "the platform of the config",
                format_all(normalize(platform)),
                format_all(normalize(config.platform)),
            )
        self.compare_program(manifest, config, platform or config.platform, files)

    def config(self, manifest: Manifest) -> ImageConfig | None:
        """Return the config; None if there is none to go by."""
        blob = manifest.config
        try:
            data = read_blob(self.source, blob)
            self.result.bytes += len(data)
            if len(data) != blob.size:
                self.note(blob.digest, "the size of the config", blob.size, len(data))
            return parse_config(data) if media.is_config(blob.media_type) else None
        except (IntegrityError, NotFound) as error:
            self.note(blob.digest, f"the config: {error}")
            return None

    def compare_layers(
        self, manifest: Manifest, config: ImageConfig, found: list[str | None]
    ) -> None:
        """Compare what the config says of the layers with what they are."""
        digest = manifest.config.digest
        if len(config.diff_ids) != len(found):
            self.note(digest, "the number of layers", len(config.diff_ids), len(found))
        for layer, claimed, diff_id in zip(manifest.layers, config.diff_ids, found, strict=False):
            if diff_id is not None and diff_id != claimed:
                self.note(layer.digest, "the diff ID of the layer", claimed, diff_id)
        told = sum(not entry.empty_layer for entry in config.history)
        if config.history and told != len(found):
            self.note(digest, "the layers that the history tells of", told, len(found))

    def compare_program(
        self, manifest: Manifest, config: ImageConfig, platform: Platform, files: ProgramFiles
    ) -> None:
        """Look at what the image starts."""
        trouble = files.trouble(config.run, normalize(platform))
        if trouble:
            self.note(manifest.config.digest, trouble)

    def layer(self, blob: Descriptor, files: ProgramFiles | None) -> str | None:
        """Read a layer and return its diff ID; None if it can't be told."""
        if media.is_nondistributable(blob.media_type):
            return None
        if files is None and blob.digest in self.seen:
            return self.seen[blob.digest]
        reading = _Reading(blob)
        try:
            with closing(self.source.open_blob(blob).chunks()) as chunks:
                diff_id = self.unpacked(reading, chunks, files)
        except (IntegrityError, InvalidLayer, NotFound) as error:
            self.note(blob.digest, str(error))
            return None
        if blob.digest not in self.seen:
            self.result.layers += 1
            self.result.bytes += reading.size
        self.seen[blob.digest] = diff_id
        if reading.digest != hex_of(blob.digest):
            self.note(
                blob.digest, "the digest of the layer", blob.digest, f"sha256:{reading.digest}"
            )
        if reading.size != blob.size:
            self.note(blob.digest, "the size of the layer", blob.size, reading.size)
        claimed = _SUFFIXES.get(blob.media_type.replace("+", ".").rpartition(".")[2])
        if files is not None and claimed is not None and claimed != reading.compression:
            self.note(blob.digest, "the compression of the layer", claimed, reading.compression)
        return diff_id

    def unpacked(
        self, reading: _Reading, chunks: Iterator[bytes], files: ProgramFiles | None
    ) -> str:
        """Read a layer to its end, and what it has of programs; return its diff ID."""
        reading.chunks = chunks
        if files is None:
            while reading.read(1 << 20):
                self.cancel.check()
            return ""
        with cancellable(self.cancel), decompressed(reading) as plain:
            hashed = _Hashed(plain)
            files.add(TarReader(hashed))
            while hashed.read(1 << 20):
                self.cancel.check()
        while reading.read(1 << 20):
            self.cancel.check()
        return f"sha256:{hashed.hash.hexdigest()}"


class _Reading:
    """A blob as a stream, hashed as it comes."""

    def __init__(self, blob: Descriptor) -> None:
        self.chunks: Iterator[bytes] = iter(())
        self.size = 0
        self.compression: Compression | None = None
        self._hash = hasher(blob.digest)

    @property
    def digest(self) -> str:
        """The digest of what was read, without its algorithm."""
        return self._hash.hexdigest()

    def read(self, _size: int, /) -> bytes:
        """Return the next chunk, however long it is."""
        for chunk in self.chunks:
            if chunk:
                self.compression = self.compression or detect(chunk)
                self._hash.update(chunk)
                self.size += len(chunk)
                return chunk
        return b""


class _Hashed:
    """A stream, hashed as it is read."""

    def __init__(self, source: TarSource) -> None:
        self._source = source
        self.hash = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        data = self._source.read(size)
        self.hash.update(data)
        return data
