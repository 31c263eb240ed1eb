"""Records that travel in buildx's archives."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.errors import IntegrityError, PolyarchError
from polyarch.history.attachments import Attachments
from polyarch.history.bundle import read_bundle, write_bundle
from polyarch.history.record import BuildRecord, ResultInfo
from polyarch.history.recording import recording
from polyarch.history.records import History
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import LogEvent, StepEvent
from polyarch.record import replace
from polyarch.store.store import Store
from tests.support.fakes.events import Clock

KIND = "https://slsa.dev/provenance/v1"
MANIFEST = b'{"schemaVersion":2}'
NAMED = Descriptor(
    media_type="application/vnd.oci.image.manifest.v1+json", digest=sha256(MANIFEST), size=19
)
LOST = replace(NAMED, digest=sha256(b"collected"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with records of two builds, one of an image whose manifest is there and one that isn't."""
    store = Store(tmp_path / "store")
    store.blobs.put(MANIFEST)
    for number, ref in enumerate(("one", "two")):
        clock = Clock()
        clock.now += number
        with recording(
            store.root / "history",
            BuildRecord(ref=ref, builder="b", node="n"),
            lambda _: None,
            clock=clock,
        ) as kept:
            kept(LogEvent(step=sha256(b""), stream=1, data=ref.encode(), time=clock.now))
            kept.note({}, ResultInfo(results=(NAMED, LOST)))
    return store


def exported(store: Store, *refs: str) -> bytes:
    history = History(store.root / "history")
    target = io.BytesIO()
    write_bundle([history.get(ref) for ref in refs], history, store.blobs, target)
    return target.getvalue()


def test_what_is_exported_can_be_imported_elsewhere(store: Store, tmp_path: Path) -> None:
    data = exported(store, "one", "two")

    (tmp_path / "elsewhere").mkdir()
    found = read_bundle(io.BytesIO(data), tmp_path / "elsewhere")
    history = History(tmp_path / "elsewhere", "another builder")
    here = History(store.root / "history").get("one")

    assert [record.full_ref for record in found] == [".imported/_/two", ".imported/_/one"]
    assert [record.ref for record in history.all()] == ["two", "one"]
    assert replace(history.get("one"), builder="b", node="n") == here
    assert list(history.events(found[1])) == list(History(store.root / "history").events(here))
    with Store(tmp_path / "empty") as empty:
        attachments = Attachments(history, history.get("one"), empty.blobs)
        assert [each.descriptor for each in attachments.all()] == [NAMED]
        assert attachments.read(NAMED.digest) == MANIFEST


def test_an_archive_of_one_is_as_buildx_writes_it(store: Store) -> None:
    with tarfile.open(fileobj=io.BytesIO(exported(store, "one"))) as archive:
        files = {each.name: each for each in archive.getmembers() if each.isfile()}

        def read(name: str) -> dict[str, list[dict[str, str]]]:
            content = archive.extractfile(files[name])
            assert content is not None
            return dict(json.load(content))

        def blob(digest: str) -> dict[str, list[dict[str, str]]]:
            return read("blobs/sha256/" + digest.removeprefix("sha256:"))

        (entry,) = read("index.json")["manifests"]
        manifest = blob(entry["digest"])
        config = manifest["config"]
        assert isinstance(config, dict)
        record = blob(config["digest"])

    assert config["mediaType"] == "application/vnd.buildkit.historyrecord.v0"
    assert [layer["mediaType"] for layer in manifest["layers"]] == [
        "application/vnd.buildkit.status.v0",
        "application/json",
    ]
    assert manifest["layers"][1]["annotations"] == {
        "vnd.export-build.descriptor.mediatype": NAMED.media_type
    }
    assert record["Ref"] == "one"
    assert record["CreatedAt"] == {"seconds": 1_700_000_000, "nanos": 0}


def archive_of(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(target.getvalue(), mtime=0)


def layout(
    record: dict[str, object], media_type: str = "application/vnd.buildkit.historyrecord.v0"
) -> bytes:
    config = json.dumps(record).encode()
    described = {"mediaType": media_type, "digest": sha256(config), "size": len(config)}
    manifest = json.dumps({"schemaVersion": 2, "config": described, "layers": []}).encode()
    index = {"manifests": [{"mediaType": "m", "digest": sha256(manifest), "size": len(manifest)}]}
    blobs = {f"blobs/sha256/{sha256(each)[7:]}": each for each in (config, manifest)}
    return archive_of({**blobs, "index.json": json.dumps(index).encode()})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no archive", ""),
        (archive_of({}), "no index.json"),
        (archive_of({"index.json": b"{", "x": b""}), "no JSON"),
        (archive_of({f"blobs/sha256/{'0' * 64}": b"x"}), "isn't what its name says"),
        (archive_of({"index.json": json.dumps({"manifests": [{"digest": f"sha256:{'0' * 64}", "size": 1}]}).encode()}), "lacks"),
        (layout({"Ref": "../../x"}), "called '../../x'"),
        (layout({"Ref": ""}), "called ''"),
        (layout({"Ref": "x"}, "application/vnd.oci.image.config.v1+json"), "no build record"),
    ],
)  # fmt: skip
def test_what_is_no_archive_of_records_is_refused(
    tmp_path: Path, data: bytes, message: str
) -> None:
    with pytest.raises(PolyarchError) as caught:
        read_bundle(io.BytesIO(data), tmp_path / "history")

    assert message in str(caught.value)
    assert isinstance(caught.value, IntegrityError)
    assert not (tmp_path / "history").exists()


def test_a_record_of_buildkit_is_taken_as_it_is(tmp_path: Path) -> None:
    document: dict[str, object] = {
        "Ref": "qx1",
        "Frontend": "dockerfile.v0",
        "FrontendAttrs": {"filename": "Dockerfile", "vcs:source": "https://git.example/a.git"},
        "error": {"code": 2, "message": "exit code: 1"},
        "CreatedAt": {"seconds": 1_700_000_000, "nanos": 500_000_000},
        "CompletedAt": {"seconds": 1_700_000_002},
        "Results": {
            "linux/arm64": {
                "Attestations": [{"media_type": "a", "digest": sha256(b"a"), "size": 1}]
            }
        },
        "Generation": 3,
        "numTotalSteps": 7,
        "DefaultPlatform": "linux/amd64",
        "localState": {"Target": "default", "LocalPath": "/src"},
    }

    (record,) = read_bundle(io.BytesIO(layout(document)), tmp_path)

    assert record.status.value == "failed"
    assert record.seconds(0) == 1.5
    assert record.counts.total == 7
    assert record.results["linux/arm64"].attestations[0].digest == sha256(b"a")
    assert History(tmp_path, "any").get("qx1") == record


def test_an_archive_of_buildkit_is_read(tmp_path: Path) -> None:
    """It was written by buildx, of a build for two platforms by BuildKit (both of August 2026)."""
    store = Store(tmp_path / "store")
    archive = Path(__file__).with_name("buildkit.dockerbuild").read_bytes()

    (record,) = read_bundle(io.BytesIO(archive), store.root / "history")

    history = History(store.root / "history")
    assert record.attributes["build-arg:NOTE"] == "yes"
    assert (record.counts.total, record.counts.completed) == (5, 5)
    assert record.state["LocalPath"] == "/src"
    assert [
        (str(each.platform or ""), each.type)
        for each in Attachments(history, record, store.blobs).all()
    ] == [
        ("", "application/vnd.oci.image.index.v1+json"),
        ("linux/amd64", "https://slsa.dev/provenance/v1"),
        ("linux/arm64", "https://slsa.dev/provenance/v1"),
    ]
    steps = [event for _, event in history.events(record) if isinstance(event, StepEvent)]
    ended = [each.name.partition(" for ")[0] for each in steps if each.completed is not None]
    assert ended == [
        "[internal] load build definition from Dockerfile",
        "[internal] load .dockerignore",
        "[internal] load build context",
        "[linux/arm64 1/1] COPY greeting /greeting",
        "exporting to image",
    ]
    # Written again it has the same documents, and times to the microsecond.
    target = io.BytesIO()
    write_bundle([record], history, store.blobs, target)
    (again,) = read_bundle(io.BytesIO(target.getvalue()), tmp_path / "elsewhere")
    assert replace(again, created=record.created, completed=record.completed) == record
    assert abs(again.created - record.created) < 1e-6


def test_provenance_travels_as_what_is_said(store: Store, tmp_path: Path) -> None:
    statement = json.dumps({"predicateType": KIND, "predicate": {"buildType": "b"}}).encode()
    named = Descriptor(
        media_type="application/vnd.in-toto+json",
        digest=store.blobs.put(statement),
        size=len(statement),
        annotations={"in-toto.io/predicate-type": KIND},
    )
    config = {"mediaType": "c", "digest": sha256(b"c"), "size": 1}
    manifest = json.dumps({"config": config, "layers": [named.to_json()]}).encode()
    image = Descriptor(media_type=NAMED.media_type, digest=store.blobs.put(MANIFEST), size=19)
    about = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image.digest,
    }
    attested = Descriptor(
        media_type=NAMED.media_type,
        digest=store.blobs.put(manifest),
        size=len(manifest),
        annotations=about,
    )
    listed = [{**image.to_json(), "platform": {"os": "linux", "architecture": "arm64"}}]
    index = json.dumps({"manifests": [*listed, attested.to_json()]}).encode()
    root = Descriptor(
        media_type="application/vnd.oci.image.index.v1+json",
        digest=store.blobs.put(index),
        size=len(index),
    )
    history = History(store.root / "history")
    for platforms, expected in (("linux/arm64", ""), ("linux/arm64,linux/amd64", "linux/arm64")):
        record = replace(
            history.get("one"),
            attributes={"platform": platforms},
            result=ResultInfo(results=(root,)),
        )
        target = io.BytesIO()
        write_bundle([record], history, store.blobs, target)

        (kept,) = read_bundle(io.BytesIO(target.getvalue()), tmp_path / "elsewhere")

        there = Attachments(History(tmp_path / "elsewhere"), kept, Store(tmp_path / "s").blobs)
        found = [each for each in there.all() if each.type == KIND]
        assert [str(each.platform or "") for each in found] == [expected]
        assert json.loads(there.read(found[0].descriptor.digest)) == {"buildType": "b"}
