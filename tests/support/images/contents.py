"""Says what is in an image so that a person can check it: one short line for each file and each step.

An entry of a layer reads `0644 0:0 "text\\n" @context`: mode, owner, what it is, when it was last
changed. What it is: a text in quotes, `SIZE bytes sha256:…`, `-> target` of a symbolic link, `= path` of
a hard link, `char 1,3`, `block 7,0`, `fifo`; nothing for a directory, whose path ends with a slash. Extended
attributes follow as `name=value`. A time of the build's own isn't said, as it is never the same.

A step of the history reads `+ RUN x # buildkit` if it made a layer, else `- ENV A=1`.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.images.layouts import FoundImage, read_archive, validate

__all__ = ["CONTEXT", "describe"]

CONTEXT = 1_600_000_000
"""When the files of contexts were changed, in seconds since the epoch."""

_NAMED_TIMES = {CONTEXT: "context", 1_700_000_000: "base", 0: "0"}
_SHOWN = 120
_XATTR = "SCHILY.xattr."
_STEP_COMMENT = "buildkit.dockerfile.v0"


def describe(archive: Path, base_layers: frozenset[str]) -> dict[str, Any]:
    """Describe the images of an OCI archive by platform; a layer whose diff ID is a base's is "base".

    Raises AssertionError if the archive isn't sound.
    """
    files = read_archive(archive.read_bytes())
    found = {image.platform: image for image in validate(files).images}
    described = {name: _image(image, base_layers) for name, image in found.items()}
    for path, notes in _annotations(files):
        digest, kind = path
        for name, image in found.items():
            if image.digest == digest:
                described[name][kind] = notes
        if all(image.digest != digest for image in found.values()):
            described[kind.replace("manifest", "index", 1)] = notes
    return described


def _image(image: FoundImage, base_layers: frozenset[str]) -> dict[str, Any]:
    config = dict(image.config)
    history, rootfs = config.pop("history"), config.pop("rootfs")
    for key in ("os", "architecture", "variant"):
        config.pop(key, None)
    if config["created"] is not None and _is_now(_seconds(config["created"])):
        del config["created"]
    return {
        **config,
        "history": [_step(entry) for entry in history],
        "layers": [
            "base" if diff_id in base_layers else _layer(data)
            for diff_id, data in zip(rootfs["diff_ids"], image.layers, strict=True)
        ],
    }


def _annotations(files: Mapping[str, bytes]) -> list[tuple[tuple[str, str], dict[str, str]]]:
    """Return what is annotated, by the digest of the manifest and whether on it or its descriptor."""
    found = []
    for name, data in files.items():
        is_document = data.startswith(b"{") and b'"manifests"' in data
        is_manifest = data.startswith(b"{") and b'"layers"' in data
        document = json.loads(data) if is_document or is_manifest else {}
        digest = name.removeprefix("blobs/").replace("/", ":")
        if name != "index.json" and document.get("annotations"):
            found.append(((digest, "manifest annotations"), document["annotations"]))
        for entry in document.get("manifests", ()):
            notes = {
                key: value
                for key, value in entry.get("annotations", {}).items()
                if key != "org.opencontainers.image.created"
            }
            if notes:
                found.append(((entry["digest"], "manifest-descriptor annotations"), notes))
    return found


def _step(entry: Mapping[str, Any]) -> str:
    text = f"{'-' if entry.get('empty_layer') else '+'} {entry.get('created_by', '')}"
    if entry.get("comment", "") != _STEP_COMMENT:
        text += f" ({entry.get('comment', '')})"
    if "author" in entry:
        text += f" by {entry['author']}"
    created = entry.get("created")
    return text + _time(None if created is None else _seconds(created))


def _layer(data: bytes) -> dict[str, str]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            name = member.name + ("/" if member.isdir() else "")
            assert name not in found, name
            found[name] = _entry(archive, member)
    return found


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    words = [f"{member.mode:04o}", f"{member.uid}:{member.gid}", _content(archive, member)]
    words += [
        f"{key.removeprefix(_XATTR)}={value!r}"
        for key, value in member.pax_headers.items()
        if key.startswith(_XATTR)
    ]
    return " ".join(filter(None, words)) + _time(member.mtime)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    device = f"{member.devmajor},{member.devminor}"
    stream = archive.extractfile(member) if member.isfile() else None
    if stream is not None:
        return _text(stream.read())
    return {
        tarfile.SYMTYPE: f"-> {member.linkname}",
        tarfile.LNKTYPE: f"= {member.linkname}",
        tarfile.CHRTYPE: f"char {device}",
        tarfile.BLKTYPE: f"block {device}",
        tarfile.FIFOTYPE: "fifo",
        tarfile.DIRTYPE: "",
    }[member.type]


def _text(data: bytes) -> str:
    """Return short readable data in quotes, other data by size and digest."""
    text = data.decode(errors="replace")
    if len(data) <= _SHOWN and text.replace("\n", "").isprintable() and text.encode() == data:
        return json.dumps(text, ensure_ascii=False)
    return f"{len(data)} bytes sha256:{hashlib.sha256(data).hexdigest()}"


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _is_now(seconds: float) -> bool:
    """Whether that is within the last hour, and so the build's own time."""
    return abs(time.time() - seconds) < 3600


def _time(seconds: float | None) -> str:
    if seconds is None:
        return " @never"
    if _is_now(seconds):
        return ""
    return f" @{_NAMED_TIMES.get(int(seconds), int(seconds))}"
