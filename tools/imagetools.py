"""Images for `imagetools`, the calls that are tried on them, and what buildx itself says to these.

`python -m tools.imagetools BUILDX FILE` starts a registry, plants the images, has the program answer all calls and
writes the answers down; tests compare ours with them. HOST stands for the registry in calls and answers.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.gzipped import gzipped
from tools.registry import real_registry

__all__ = ["CALLS", "Planter", "plant"]

Json = dict[str, object]

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_EMPTY = "application/vnd.oci.empty.v1+json"
_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_ATTESTATION = "application/vnd.docker.attestation.manifest.v1+json"
_AMD64: Json = {"architecture": "amd64", "os": "linux"}
_ARM64: Json = {"architecture": "arm64", "os": "linux"}
_ARM: Json = {"architecture": "arm", "os": "linux", "variant": "v7"}

_FORMATS = (
    "{{json .}}",
    "{{json .Manifest}}",
    "{{json .Image}}",
    "{{json .Provenance}}",
    "{{json .SBOM}}",
    "{{json .Provenance.SLSA}}",
    "{{.Name}} {{.Manifest.Digest}} {{.Manifest.MediaType}} {{.Manifest.Size}}",
    "{{ .Manifest }}",
    "{{range .Manifest.Manifests}}{{.Digest}} {{.Platform.Architecture}}{{end}}",
    "{{.Image.Architecture}} {{.Image.Created}}",
    "{{.Image.Config.Labels}} {{.Image.RootFS.DiffIDs}} {{.Image.Config.Env}}",
    '{{json (index .Image "linux/amd64").Config}}',
    '{{json (index .Provenance "linux/amd64").SLSA}}',
    '{{(index .SBOM "linux/amd64").SPDX}}',
    "{{range $name, $_ := .Image}}{{$name}} {{end}}",
    '{{json (index .SBOM "no/such")}}',
    "{{.Provenance}}",
    "{{.SBOM.Nope}}",
    "{{len .SBOM}}",
    "{{with .Provenance}}{{len .}}{{end}}",
    "{{.Manifest.Platform}}",
    "{{.Nope}}",
    "{{",
)
_ONE = "sha256:41c4e1837f410e91826d7a55d784be25c75f57ec4d44f46d63b09dc1fa35c7ca"
CALLS: tuple[tuple[str, ...], ...] = (
    *(
        ("inspect", f"HOST/{name}", "--format", form)
        for name in ("one", "two", "att", "att1", "art")
        for form in _FORMATS
    ),
    *(("inspect", f"HOST/{name}") for name in ("one", "two", "att1", "docker", "two:nested")),
    ("inspect", "--raw", "HOST/two"),
    ("inspect", "HOST/nope"),
    ("inspect", "BAD"),
    ("inspect", "--raw", "--format", "x", "HOST/two"),
    *(
        ("create", "--dry-run", *words)
        for words in (
            ("HOST/one",),
            ("HOST/one", "HOST/arm"),
            ("HOST/one", "HOST/other"),
            ("HOST/one", "HOST/two"),
            ("HOST/one", "HOST/one"),
            ("HOST/two", "HOST/docker", "HOST/arm"),
            ("HOST/docker1", "HOST/docker"),
            ("HOST/att", "HOST/other"),
            ("HOST/fall",),
            ("HOST/fall", "HOST/arm"),
            ("HOST/two:nested",),
            ("--prefer-index=false", "HOST/one"),
            ("--prefer-index=false", "HOST/fall"),
            ("--platform", "linux/amd64", "HOST/two"),
            ("--platform", "linux/arm64", "HOST/att"),
            ("-p", "linux/arm/v7,linux/arm64", "HOST/docker"),
            ("-p", "linux/s390x", "HOST/two"),
            ("-p", "linux/s390x", "--prefer-index=false", "HOST/one"),
            ("-p", "BAD/x/y/z", "HOST/two"),
            ("--annotation", "index:a=<b>", "--annotation", "manifest-descriptor:c=d", "HOST/two"),
            ("--annotation", "manifest-descriptor[linux/amd64]:e=f", "HOST/two"),
            ("--annotation", "a=b", "HOST/two"),
            ("--annotation", "index-descriptor:a=b", "HOST/two"),
            ("--annotation", "index:a=b", "HOST/docker"),
            ("HOST/one", _ONE),
            ("HOST/one", "HOST/arm", _ONE),
            (f'{{"digest": "{_ONE}", "annotations": {{"a": "b"}}}}',),
            ("HOST/one", f'{{"digest": "{_ONE}", "size": 7}}'),
            ('{"schemaVersion": 2, "digest": "x"}',),
            ('{"mediaType": "x"}',),
            ("HOST/nope",),
            ("BAD",),
            (),
        )
    ),
    ("create", "HOST/one"),
)


class Planter:
    """Puts things into a registry by its API, without any client of ours."""

    def __init__(self, host: str) -> None:
        self._host = host

    def blob(self, repository: str, data: bytes, media_type: str) -> Json:
        """Upload a blob; return its descriptor."""
        url = f"http://{self._host}/v2/{repository}/blobs/uploads/"
        location = self._send("POST", url, b"", {})
        url = location if "://" in location else f"http://{self._host}{location}"
        kind = {"Content-Type": "application/octet-stream"}
        self._send("PUT", f"{url}{'&' if '?' in url else '?'}digest={_digest(data)}", data, kind)
        return _descriptor(data, media_type)

    def manifest(self, repository: str, document: Json, tag: str = "") -> Json:
        """Put a manifest or index; return its descriptor."""
        data = json.dumps(document, indent=3).encode()
        media_type = str(document["mediaType"])
        url = f"http://{self._host}/v2/{repository}/manifests/{tag or _digest(data)}"
        self._send("PUT", url, data, {"Content-Type": media_type})
        return _descriptor(data, media_type)

    def _send(self, method: str, url: str, data: bytes, headers: Mapping[str, str]) -> str:
        request = urllib.request.Request(url, data, dict(headers), method=method)
        with urllib.request.urlopen(request) as answer:
            return str(answer.headers.get("Location", ""))

    def image(
        self, repository: str, text: str, platform: Json, tag: str = "", *, docker: bool = False
    ) -> Json:
        """Put an image of one layer; return the descriptor that an index has of it."""
        kind = "application/vnd.docker.image.rootfs.diff.tar.gzip"
        layer_type = kind if docker else "application/vnd.oci.image.layer.v1.tar+gzip"
        kind = "application/vnd.docker.container.image.v1+json"
        config_type = kind if docker else "application/vnd.oci.image.config.v1+json"
        layer = self.blob(repository, gzipped(text.encode()), layer_type)
        config = {
            **platform,
            "created": "2024-01-02T03:04:05.678Z",
            "author": "me <a@b>",
            "config": {
                "Env": ["PATH=/bin", "A=<b>&c"],
                "Cmd": ["sh"],
                "Labels": {"z": "1", "a": "2"},
                "ExposedPorts": {"80/tcp": {}},
                "Healthcheck": {"Test": ["CMD", "x"]},
                "OnBuild": ["RUN x"],
                "Hostname": "h",
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(text.encode())]},
            "history": [
                {"created": "2024-01-02T03:04:05Z", "created_by": "RUN <x> && y"},
                {"created_by": "ENV", "empty_layer": True},
            ],
            "docker_version": "1",
            "container_config": {"Cmd": ["q"]},
        }
        # The digest of `one` is known to the calls: the order of the keys is part of it.
        first = ("architecture", "os", "variant")
        config = {key: config[key] for key in (*first, *config) if key in config}
        document: Json = {
            "schemaVersion": 2,
            "mediaType": _DOCKER_MANIFEST if docker else _MANIFEST,
            "config": self.blob(repository, json.dumps(config).encode(), config_type),
            "layers": [layer],
        }
        return {**self.manifest(repository, document, tag), "platform": platform}

    def attestation(self, repository: str, subject: Json, *, as_artifact: bool = False) -> Json:
        """Put an attestation of an image; return the descriptor that an index has of it."""
        predicates = {
            "https://slsa.dev/provenance/v1": {
                "buildDefinition": {"x": "<1>"},
                "n": 1.5,
                "size": 1032650,
            },
            "https://spdx.dev/Document": {"SPDXID": "x", "name": "n", "packages": [1, 2]},
        }
        layers = []
        for kind, predicate in predicates.items():
            statement = {"predicateType": kind, "of": subject["digest"], "predicate": predicate}
            data = json.dumps(statement).encode()
            layer = self.blob(repository, data, "application/vnd.in-toto+json")
            layers.append({**layer, "annotations": {"in-toto.io/predicate-type": kind}})
        config = b"{}" if as_artifact else b'{"architecture":"unknown","os":"unknown"}'
        kind = _EMPTY if as_artifact else "application/vnd.oci.image.config.v1+json"
        document: Json = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self.blob(repository, config, kind),
            "layers": layers,
        }
        if as_artifact:
            document |= {"artifactType": _ATTESTATION, "subject": _bare(subject)}
        return {
            **self.manifest(repository, document),
            "annotations": {
                "vnd.docker.reference.digest": subject["digest"],
                "vnd.docker.reference.type": "attestation-manifest",
            },
            "platform": {"architecture": "unknown", "os": "unknown"},
        }

    def referrer(self, repository: str, subject: Json, artifact_type: str) -> Json:
        """Put something about a manifest; return the descriptor that lists of referrers have of it."""
        text = json.dumps({"kind": artifact_type, "of": subject["digest"]}).encode()
        notes = {"k": "v"}
        document: Json = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "artifactType": artifact_type,
            "config": self.blob(repository, b"{}", _EMPTY),
            "layers": [self.blob(repository, text, artifact_type)],
            "subject": _bare(subject),
            "annotations": notes,
        }
        descriptor = self.manifest(repository, document)
        return {**descriptor, "artifactType": artifact_type, "annotations": notes}

    def referrers(self, repository: str, subject: Json, *listed: Json) -> None:
        """Put the list of a manifest's referrers as registries without an API for them keep it."""
        self.index(repository, str(subject["digest"]).replace(":", "-"), *listed)

    def index(self, repository: str, tag: str, *listed: Json, **more: object) -> Json:
        """Put an index; all of Docker's manifests make a list of Docker's."""
        is_docker = all(each["mediaType"] == _DOCKER_MANIFEST for each in listed)
        kind = _DOCKER_LIST if is_docker else _INDEX
        document: Json = {"schemaVersion": 2, "mediaType": kind, "manifests": [*listed], **more}
        return self.manifest(repository, document, tag)


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _descriptor(data: bytes, media_type: str) -> Json:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}


def _bare(descriptor: Json) -> Json:
    return {key: descriptor[key] for key in ("mediaType", "digest", "size")}


def plant(host: str) -> None:
    """Put all images of the calls into a registry."""
    to = Planter(host)
    to.image("one", "one", _AMD64, "latest")
    to.image("other", "other", _AMD64, "latest")
    to.image("arm", "arm", _ARM64, "latest")
    to.image("docker1", "docker1", _AMD64, "latest", docker=True)
    pair = (to.image("two", "two-a", _AMD64), to.image("two", "two-b", _ARM64))
    two = to.index("two", "latest", *pair, annotations={"x": "<y>"})
    to.index("two", "nested", two)
    pair = (
        to.image("docker", "a", _AMD64, docker=True),
        to.image("docker", "b", _ARM, docker=True),
    )
    to.index("docker", "latest", *pair)
    pair = (to.image("att", "att-a", _AMD64), to.image("att", "att-b", _ARM64))
    to.index("att", "latest", *pair, *(to.attestation("att", each) for each in pair))
    single = to.image("att1", "att1-a", _AMD64)
    to.index("att1", "latest", single, to.attestation("att1", single))
    single = to.image("fall", "fall-a", _AMD64, "latest")
    attestation = _bare(to.attestation("fall", single, as_artifact=True))
    more = {"artifactType": _ATTESTATION, "annotations": {"q": "r"}}
    to.referrers("fall", single, {**attestation, **more})
    artifact = {"artifactType": "application/vnd.x", "layers": []}
    config = to.blob("art", b"{}", _EMPTY)
    document: Json = {"schemaVersion": 2, "mediaType": _MANIFEST, **artifact, "config": config}
    to.manifest("art", document, "latest")


def _record(program: str, words: Sequence[str], host: str, home: str) -> Json:
    call = [program, "imagetools", *(word.replace("HOST", host) for word in words)]
    env = {"HOME": home, "PATH": os.environ["PATH"]}
    ended = subprocess.run(call, env=env, capture_output=True, text=True, check=False)
    last = ended.stderr.strip().splitlines()[-1:] if ended.returncode else []
    out, error = (text.replace(host, "HOST") for text in (ended.stdout, "".join(last)))
    return {"call": list(words), "status": ended.returncode, "out": out, "error": error}


def main(program: str, file: str) -> None:
    """Write down what buildx says."""
    with tempfile.TemporaryDirectory() as directory, real_registry(Path(directory)) as registry:
        plant(registry.host)
        found = [_record(program, words, registry.host, directory) for words in CALLS]
    Path(file).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
