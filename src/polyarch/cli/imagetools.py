"""`imagetools inspect`: what a registry has under a name, without fetching layers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from polyarch.cli.command import Command, Context
from polyarch.cli.gofields import GoFields, go_fields
from polyarch.cli.interrupt import cancel_on_signals
from polyarch.cli.options import Flag, Kind, Options
from polyarch.cli.table import align
from polyarch.cli.template.template import parse_template
from polyarch.cli.template.values import Value
from polyarch.digest import Digest
from polyarch.errors import InputError
from polyarch.node.local import open_transport
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import parse_manifest
from polyarch.oci.media import is_index
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import format_all, normalize
from polyarch.registry.client import Client

__all__ = ["INSPECT", "Inspected", "describe"]

_REFERS_TO = "vnd.docker.reference.digest"
_PREDICATE = "in-toto.io/predicate-type"


def describe(name: Reference, root: Descriptor, manifests: Sequence[Descriptor]) -> str:
    """Write what `inspect` shows; `manifests` are those of an index, none otherwise."""
    lines = [
        f"Name:\t{name.canonical}",
        f"MediaType:\t{root.media_type}",
        f"Digest:\t{root.digest}",
    ]
    if not is_index(root.media_type):
        return _aligned(lines)
    text = _aligned([*lines, "\t", "Manifests:\t"])
    pending: list[str] = []
    for number, manifest in enumerate(manifests):
        pending += ["\t"] if number else []
        pending += _manifest_lines(name, manifest)
        if manifest.annotations:
            # Their keys are long: they are aligned among themselves.
            text += _aligned([*pending, "  Annotations:\t"])
            pairs = sorted(manifest.annotations.items())
            text += _aligned([f"    {key}:\t{value}" for key, value in pairs])
            pending = []
    return text + _aligned(pending)


def _manifest_lines(name: Reference, manifest: Descriptor) -> list[str]:
    lines = [
        f"  Name:\t{name.repository}{_tag(name)}@{manifest.digest}",
        f"  MediaType:\t{manifest.media_type}",
    ]
    if (platform := manifest.platform) is not None:
        lines.append(f"  Platform:\t{platform}")
        if platform.os_version:
            lines.append(f"  OSVersion:\t{platform.os_version}")
        if platform.os_features:
            lines.append(f"  OSFeatures:\t{', '.join(platform.os_features)}")
    if manifest.urls:
        lines.append(f"  URLs:\t{', '.join(manifest.urls)}")
    return lines


def _tag(name: Reference) -> str:
    return f":{name.tag or 'latest'}" if name.tag or not name.digest else ""


def _aligned(lines: Sequence[str]) -> str:
    text = "".join(f"{line}\n" for line in lines)
    return align(text, min_width=0, padding=1) if lines else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """An image at a registry; more of it is fetched when it is asked for."""

    client: Client
    name: Reference
    root: Descriptor
    data: bytes

    @property
    def manifests(self) -> tuple[Descriptor, ...]:
        """The manifests of an index; of a manifest itself, none."""
        return parse_index(self.data).manifests if is_index(self.root.media_type) else ()

    def record(self, wanted: str) -> Mapping[str, Value]:
        """Return what a template can show; parts that `wanted`, its text, doesn't name are left out."""
        everything = "json ." in wanted.replace("json  ", "json ") and "json .M" not in wanted
        record: dict[str, Value] = {"name": self.name.canonical, "manifest": self._manifest()}
        if everything or ".Image" in wanted:
            record["image"] = self._by_platform(self._images())
        if everything or ".Provenance" in wanted:
            record["provenance"] = self._by_platform(self._provenance())
        if everything or ".SBOM" in wanted:
            record["SBOM"] = self._by_platform(self._sbom())
        return GoFields(record)

    def _manifest(self) -> Value:
        root = self.root.to_json()
        if not is_index(self.root.media_type):
            return go_fields(root)
        document = json.loads(self.data)
        listed = {key: document[key] for key in ("manifests", "annotations") if key in document}
        return go_fields({"schemaVersion": 2, **root, **listed})

    def _by_platform(self, found: Mapping[str, Value]) -> Value:
        """Platforms are only told apart where there is an index."""
        if is_index(self.root.media_type):
            return GoFields(found)
        return next(iter(found.values()), None)

    def _platforms(self) -> Iterator[tuple[str, Descriptor]]:
        if not is_index(self.root.media_type):
            yield "", self.root
        for manifest in self.manifests:
            platform = manifest.platform
            if platform is not None and platform.os != "unknown":
                yield format_all(normalize(platform)), manifest

    def _images(self) -> dict[str, Value]:
        found = {}
        for name, descriptor in self._platforms():
            manifest = parse_manifest(self._document(descriptor))
            found[name] = go_fields(json.loads(self._blob(manifest.config)))
        return found

    def _statements(self) -> Iterator[tuple[str, str, Value]]:
        """Give platform, type and predicate of each attestation."""
        names = {manifest.digest: name for name, manifest in self._platforms()}
        for descriptor in self.manifests:
            subject = Digest(descriptor.annotations.get(_REFERS_TO, ""))
            if subject not in names:
                continue
            for layer in parse_manifest(self._document(descriptor)).layers:
                kind = layer.annotations.get(_PREDICATE, "")
                if kind:
                    statement = json.loads(self._blob(layer))
                    yield names[subject], kind, go_fields(statement.get("predicate"))

    def _provenance(self) -> dict[str, Value]:
        return {
            platform: GoFields({"SLSA": predicate})
            for platform, kind, predicate in self._statements()
            if kind.startswith("https://slsa.dev/provenance/")
        }

    def _sbom(self) -> dict[str, Value]:
        documents: dict[str, list[Value]] = {}
        for platform, kind, predicate in self._statements():
            if kind == "https://spdx.dev/Document":
                documents.setdefault(platform, []).append(predicate)
        return {platform: _spdx(found) for platform, found in documents.items()}

    def _document(self, descriptor: Descriptor) -> bytes:
        if descriptor.digest == self.root.digest:
            return self.data
        return self.client.get_manifest(self.name, descriptor.digest)[0]

    def _blob(self, descriptor: Descriptor) -> bytes:
        return b"".join(self.client.read_blob(self.name.repository, descriptor))


def _spdx(documents: list[Value]) -> Value:
    first, *more = documents
    return GoFields({"SPDX": first, **({"AdditionalSPDXs": more} if more else {})})


def _inspect(options: Options, context: Context) -> int:
    name = parse_reference(options.arguments[0])
    form = options.text("format")
    if options.is_set("raw") and options.given("format"):
        raise InputError("format and raw cannot be used together")
    with cancel_on_signals() as cancel, open_transport(context.environ) as transport:
        client = Client(transport, cancel)
        data, media_type, digest = client.get_manifest(name, name.target)
        if options.is_set("raw"):
            context.stdout.buffer.write(data)
            return 0
        root = Descriptor(media_type=media_type, digest=digest, size=len(data))
        inspected = Inspected(client=client, name=name, root=root, data=data)
        if not options.given("format"):
            context.stdout.write(describe(name, root, inspected.manifests))
            return 0
        template = parse_template("{{json .}}" if form == "json" else form)
        context.print(template.render(inspected.record(template.source), record="image"))
    return 0


INSPECT = Command(
    usage="[OPTIONS] NAME",
    run=_inspect,
    least=1,
    most=1,
    example=(
        "$ polyarch imagetools inspect alpine\n"
        "$ polyarch imagetools inspect --format '{{.Manifest.Digest}}' alpine"
    ),
    flags=(
        Flag(name="format", default="{{.Manifest}}", help="Format the output using a Go template"),
        Flag(name="raw", kind=Kind.SWITCH, help="Show original, unformatted JSON manifest"),
    ),
)
