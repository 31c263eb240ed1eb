"""One image on all ways that there are: archives, the store, a registry. Its bytes are the same everywhere."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.root]

Blobs = dict[str, bytes]


def blobs_of(archive: Path) -> Blobs:
    """Return what an archive holds, by digest; that of each is checked."""
    found = {}
    with tarfile.open(archive) as opened:
        for member in opened:
            if member.name.startswith("blobs/sha256/") and member.isfile():
                file = opened.extractfile(member)
                assert file is not None
                found[member.name.rpartition("/")[2]] = file.read()
    for digest, data in found.items():
        assert hashlib.sha256(data).hexdigest() == digest
    return found


def root_of(archive: Path) -> str:
    """Return the digest of an archive's only image."""
    with tarfile.open(archive) as opened:
        file = opened.extractfile("index.json")
        assert file is not None
        digests = {each["digest"] for each in json.load(file)["manifests"]}
    [digest] = digests
    assert isinstance(digest, str)
    return digest


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_exported_loaded_pushed_pulled_and_saved(
    root: Person, registry: RealRegistry, form: str
) -> None:
    root.write("Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n")
    name = f"{registry.host}/same/{form}:1"
    outputs = (
        f"type=oci,dest=exported.tar,compression={form}",
        f"type=image,name={name},push=true,compression={form},oci-mediatypes=true",
    )
    platforms = "--platform=linux/amd64,linux/arm64"
    words = [word for output in outputs for word in ("-o", output)]
    root.run("build", platforms, "-t", name, *words, "--metadata-file=told", ".").check()
    told = json.loads((root.work / "told").read_text())["containerimage.digest"]

    root.run("rmi", "--all").check()
    root.run("load", "-i", "exported.tar").check()
    pushed = json.loads(root.run("push", "--format=json", name).check().out)
    root.run("save", "--format=oci", "-o", "loaded.tar", name).check()
    root.run("rmi", "--all").check()
    root.run("prune", "--all", "--force").check()
    pulled = root.run("pull", "--all-platforms", name).check().out
    root.run("save", "-o", "pulled.tar", name).check()

    exported = blobs_of(root.work / "exported.tar")
    assert blobs_of(root.work / "loaded.tar") == exported
    assert blobs_of(root.work / "pulled.tar") == exported
    roots = [root_of(root.work / f"{each}.tar") for each in ("exported", "loaded", "pulled")]
    assert roots == [told] * 3
    assert pulled == f"{registry.host}/same/{form}@{told}\n"
    # All of it was there: the registry has the bytes of the build.
    assert (pushed["Digest"], pushed["Uploaded"]) == (told, {"Blobs": 0, "Bytes": 0})
    assert pushed["Skipped"]["Blobs"] == 4


def test_an_archive_of_docker(root: Person, registry: RealRegistry) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    name = f"{registry.host}/same/docker:1"
    words = ("-o", "type=docker,dest=exported.tar", "-o", f"type=image,name={name},push=true")
    root.run("build", "--provenance=false", "-t", name, *words, ".").check()

    root.run("rmi", "--all").check()
    root.run("load", "-i", "exported.tar").check()
    root.run("save", "-o", "loaded.tar", name).check()
    pushed = json.loads(root.run("push", "--format=json", name).check().out)

    assert blobs_of(root.work / "loaded.tar") == blobs_of(root.work / "exported.tar")
    assert pushed["Digest"] == root_of(root.work / "exported.tar")
    assert pushed["Uploaded"] == {"Blobs": 0, "Bytes": 0}
