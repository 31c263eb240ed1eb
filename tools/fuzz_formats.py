"""What `tools.fuzz` tries of formats: archives and the documents of images.

Of an archive, headers get the right checksum after all that was done to them, as nothing else would be read.
It is unpacked as a layer and as ADD does; whatever comes out lies inside. Of documents each is read as an index,
as a manifest and as the config of a base image that is built on.
"""

from __future__ import annotations

import io
import json
import os
import resource
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from polyarch.digest import Digest
from polyarch.dockerfile.lowering.lower import lower
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.dockerfile.parser import parse
from polyarch.errors import PolyarchError, StoreError
from polyarch.golang.json import compact
from polyarch.graph.graph import GraphMaker
from polyarch.graph.location import SourceText
from polyarch.layer.apply import apply, extract
from polyarch.layer.compress import decompressed
from polyarch.oci.base import BaseImage
from polyarch.oci.config import parse_config
from polyarch.oci.index import choose, parse_index
from polyarch.oci.manifest import parse_manifest
from polyarch.platforms import Platform, linux
from polyarch.store.trees import remove_tree
from tools.fuzz_areas import Area, outcome_of

__all__ = ["FORMATS"]

_BLOCK = 512
_AMD64 = linux("amd64")
_DIGEST = Digest("sha256:" + "a" * 64)
_MOST_BYTES = 1 << 26


def _check_archive(data: bytes) -> str:
    data = _with_checksums(data)
    outcome = ""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # What is sparse is quickly made, and slowly looked at; larger files are an error that is to be told well.
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_BYTES, before[1]))
    try:
        for unpack in (apply, _add):
            outcome += _unpacked(data, unpack)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    return outcome


def _unpacked(data: bytes, unpack: Callable[[io.BufferedIOBase, Path], object]) -> str:
    outside = Path(tempfile.mkdtemp(prefix="fuzz-"))
    root = outside / "root" / "target"
    root.mkdir(parents=True)
    try:
        with decompressed(io.BytesIO(data)) as tar:
            unpack(tar, root)  # type: ignore[arg-type]
        outcome = f"{sum(len(names) for _, *both in os.walk(root) for names in both)} files"
    except StoreError as error:
        raise AssertionError(f"no fault of the store: {error}") from error
    except PolyarchError as error:
        outcome = outcome_of(error)
    finally:
        found = [*os.listdir(outside), *os.listdir(outside / "root")]
        remove_tree(outside)
    assert found == ["root", "target"], found
    return outcome


def _add(tar: io.BufferedIOBase, root: Path) -> None:
    extract(tar, root, "/")


def _with_checksums(data: bytes) -> bytes:
    blocks = [bytearray(data[at : at + _BLOCK]) for at in range(0, len(data), _BLOCK)]
    for block in blocks:
        if block[257:262] == b"ustar" and len(block) == _BLOCK:
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
    return b"".join(blocks)


def _check_document(data: bytes) -> str:
    outcome = ""
    for read in (_read_index, _read_manifest, _build_on):
        try:
            outcome += read(data)
        except PolyarchError as error:
            outcome += outcome_of(error)
    return outcome


def _read_index(data: bytes) -> str:
    index = parse_index(data)
    for each in index.manifests:
        compact(each.to_json())
    return f"index {choose(index, _AMD64).size > 0}"


def _read_manifest(data: bytes) -> str:
    manifest = parse_manifest(data)
    compact([each.to_json() for each in (manifest.config, *manifest.layers)])
    return f"manifest {len(manifest.layers)}"


def _build_on(data: bytes) -> str:
    base = BaseImage(reference="base", digest=_DIGEST, config=parse_config(data))

    class Images:
        def resolve(self, _reference: str, _platform: Platform) -> BaseImage:
            return base

    text = "FROM base\nRUN x\nENV a=$PATH\nHEALTHCHECK NONE\nWORKDIR b\nEXPOSE 80\nCOPY a /\n"
    dockerfile = parse(SourceText(name="Dockerfile", text=text))
    options = LowerOptions(build_platform=_AMD64, all_stages=True)
    lowered = lower(dockerfile, _AMD64, options=options, maker=GraphMaker(), images=Images())
    return f"config {len(compact(lowered.config.to_json())) > 0}"


def _archives() -> tuple[bytes, ...]:
    found = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
            for kind in b"0 1 2 5 6".split():
                member = tarfile.TarInfo(
                    "d/" + kind.decode() + "ü" * (form != tarfile.USTAR_FORMAT)
                )
                member.type, member.linkname, member.mode = kind, "d/0", 0o755
                member.size = 5 if kind == b"0" else 0
                archive.addfile(member, io.BytesIO(b"hello"))
        found.append(packed.getvalue()[:8192])
    pax = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.realsize=9\n"
    found.append(_entry(b"x", pax) + _entry(b"0", b"1\n0\n5\n".ljust(512, b"\0") + b"hello"))
    return tuple(found)


def _entry(kind: bytes, content: bytes) -> bytes:
    member = tarfile.TarInfo("s")
    member.type, member.size = kind, len(content)
    return member.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % _BLOCK)


def _documents() -> tuple[bytes, ...]:
    blob = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": _DIGEST, "size": 9}
    platform = {"os": "linux", "architecture": "amd64", "os.features": ["x"]}
    inner = {
        "Env": ["PATH=/bin", "a=b"],
        "User": "1:2",
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/v": {}},
        "WorkingDir": "/w",
        "Entrypoint": ["sh"],
        "Cmd": ["c"],
        "OnBuild": ["RUN y"],
        "Labels": {"l": "m"},
        "Healthcheck": {"Test": ["NONE"], "Interval": 5},
        "StopSignal": "9",
        "Shell": ["/bin/sh", "-c"],
    }
    history = [{"created": "2020-01-01T00:00:00Z", "created_by": "x", "empty_layer": True}]
    texts = (
        {"manifests": [{**blob, "platform": platform, "annotations": {"a": "b"}}]},
        {"config": blob, "layers": [blob, {**blob, "data": "eA==", "urls": ["x"]}]},
        {**platform, "config": inner, "history": history, "created": "2020-01-01T00:00:00Z"},
    )
    return tuple(json.dumps(each).encode() for each in texts)


def _words(text: str) -> tuple[bytes, ...]:
    return tuple(text.encode().split())


FORMATS: Mapping[str, Area] = {
    "archive": Area(
        _archives,
        (
            *(b"\0", b"\0" * 512, b"\xff" * 12, b"\x80" + b"\0" * 11, b"\x80" + b"\xff" * 11),
            *(b"ustar\0", b"ustar  \0", b"7" * 11, b"../../x", b"/x", b"\n", b" ", b".wh.", b"S"),
            *(b"20 path=../../../x/y\n", b"13 path=a/b\0\n", b"24 GNU.sparse.offset=zz\n"),
            *_words(
                "x g L K 0 1 2 3 4 5 6 7 D V . .. / .wh..wh..opq d/0 d path= linkpath= size= mtime="
            ),
            *_words(
                "GNU.sparse.map=0,1 GNU.sparse.realsize= SCHILY.xattr.user.a= -1 1e9 9999999999999999999"
            ),
        ),
        _check_archive,
    ),
    "documents": Area(
        _documents,
        (
            *_words(
                '" "" [ ] { } [] {} : , null true false 0 -1 1.5 1e999 NaN 9223372036854775808'
            ),
            *_words(
                r'"\ud800" "sha256:" "1" "a=b" "=" "\u0000" "../x" "65536/tcp" "tcp" "1:2:3" [[ {"a":'
            ),
            *(
                b'"config"',
                b'"size":',
                b'"digest":',
                b'"Env":',
                b'"OnBuild":["FROM x"]',
                b'"User":5',
            ),
            *(b"\xff", b"[" * 2000, b'"x":' * 3, b"1" * 5000),
        ),
        _check_document,
    ),
}
