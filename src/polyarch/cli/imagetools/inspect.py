"""`imagetools inspect`: what a registry or a directory has under a name, without fetching layers."""

from __future__ import annotations

from collections.abc import Sequence

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.interrupt import cancel_on_signals
from polyarch.cli.frame.network import AUTHORITIES, with_authorities
from polyarch.cli.frame.table import align
from polyarch.cli.imagetools.inspected import Inspected
from polyarch.errors import InputError
from polyarch.golang.template.template import parse_template
from polyarch.images.names import Name, parse_name
from polyarch.images.places import open_places
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import is_index
from polyarch.pattern import pattern

__all__ = ["INSPECT", "describe"]

_WHOLE = pattern(r"\{\{\s*\.Manifest\s*\}\}")


def describe(name: Name, root: Descriptor, manifests: Sequence[Descriptor]) -> str:
    """Write what `inspect` shows; `manifests` are those of an index, none otherwise."""
    lines = [
        f"Name:\t{name}",
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
        # As buildx has it, of those only that are for a platform.
        if manifest.annotations and manifest.platform is not None:
            # Their keys are long: they are aligned among themselves.
            text += _aligned([*pending, "  Annotations:\t"])
            pairs = sorted(manifest.annotations.items())
            text += _aligned([f"    {key}:\t{value}" for key, value in pairs])
            pending = []
    return text + _aligned(pending)


def _manifest_lines(name: Name, manifest: Descriptor) -> list[str]:
    lines = [
        f"  Name:\t{name.with_digest(manifest.digest)}",
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


def _aligned(lines: Sequence[str]) -> str:
    text = "".join(f"{line}\n" for line in lines)
    return align(text, min_width=0, padding=1) if lines else ""


def _inspect(options: Options, context: Context) -> int:
    context = with_authorities(options, context)
    typed = options.arguments[0]
    form = options.text("format") if options.given("format") else ""
    if options.is_set("raw") and form:
        raise InputError("format and raw cannot be used together")
    name = parse_name(typed)
    with cancel_on_signals() as cancel, open_places(context.environ, cancel) as places:
        place = places.at(name.place)
        root, data = place.load(name.target)
        # No line end behind what is to be taken as it is.
        if options.is_set("raw"):
            context.stdout.buffer.write(data)
            return 0
        inspected = Inspected(place, typed, root, data)
        if not form or _WHOLE.fullmatch(form.strip()):
            context.stdout.write(describe(name, root, inspected.manifests))
            return 0
        context.stdout.write(_rendered(form, inspected))
    return 0


def _rendered(form: str, inspected: Inspected) -> str:
    try:
        template = parse_template("{{json .}}" if form == "json" else form)
        return template.render(inspected.record(), is_indented=True)
    except InputError as error:
        # This command is buildx's own, which doesn't name the kind of the error.
        raise InputError(str(error).removeprefix("template parsing error: ")) from error


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
        AUTHORITIES,
        Flag(name="format", default="{{.Manifest}}", help="Format the output using a Go template"),
        Flag(name="raw", kind=Kind.SWITCH, help="Show original, unformatted JSON manifest"),
    ),
)
