"""`join`: one image of the parts that `build --shard` made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polyarch.cli.building.signing import SIGN_FLAG, signing_flag
from polyarch.cli.building.values import annotation_flag, output_flag
from polyarch.cli.display.base import Caption
from polyarch.cli.display.display import open_display
from polyarch.cli.display.flag import PROGRESS
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.files import write_file
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.interrupt import cancel_on_signals
from polyarch.cli.frame.network import AUTHORITIES, with_authorities
from polyarch.cli.frame.store import open_store
from polyarch.errors import InputError
from polyarch.golang.json import indented
from polyarch.golang.strconv import find_bool, quote
from polyarch.images.join import join, open_parts
from polyarch.images.places import open_places
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.pipeline.joining import Joined
from polyarch.pipeline.sealing import opened_seal
from polyarch.request.values import Output, OutputType

__all__ = ["JOIN"]


def _outputs(options: Options) -> tuple[Output, ...]:
    """Return the layouts that are wanted; `-o DIRECTORY` is one as well. Raises InputError."""
    outputs = output_flag(options.values("output"))
    for output in outputs:
        if output.type not in {OutputType.LOCAL, OutputType.OCI}:
            raise InputError(
                f"an image can't be joined into type={output.type}",
                hint="use --push, --load, -o DIRECTORY, or -o type=oci,dest=FILE",
            )
    return outputs


def _is_archive(output: Output) -> bool:
    if output.type == OutputType.OCI:
        return find_bool(output.attributes.get("tar", "true")) is not False
    return output.destination.endswith(".tar")


def _names(options: Options) -> tuple[Reference, ...]:
    names = tuple(map(parse_reference, options.values("tag")))
    for name in names:
        if name.digest:
            raise InputError(f"invalid tag {quote(str(name))}: a digest can't be chosen")
    if options.is_set("push") and not names:
        raise InputError("tag is needed when pushing to registry", hint="name one with -t")
    return names


def _bring(joined: Joined, options: Options, context: Context) -> None:
    for output in _outputs(options):
        if _is_archive(output):
            joined.write_file(output.destination or "-")
        else:
            joined.write_directory(Path(output.destination))
    if options.is_set("push"):
        joined.push()
    if options.is_set("load"):
        with open_store(context) as store:
            joined.load(store, context.environ)
    elif not options.is_set("push") and not options.values("output"):
        with open_store(context) as store:
            joined.keep(store)


def _join(options: Options, context: Context) -> int:
    context = with_authorities(options, context)
    names, outputs = _names(options), _outputs(options)
    signing = signing_flag(options, context)
    if signing and not options.is_set("push"):
        raise InputError(
            "--sign signs what is pushed, and nothing is",
            hint="push it with --push, or sign later: polyarch sign NAME",
        )
    if not (names or outputs):
        raise InputError(
            "there is nowhere to put the image",
            hint="name it with -t, or write it with -o DIRECTORY",
        )
    with (
        cancel_on_signals() as cancel,
        open_places(context.environ, cancel) as places,
        open_parts(options.arguments) as parts,
        open_display(
            "quiet" if options.is_set("quiet") else options.text("progress"),
            stream=context.stderr,
            environ=context.environ,
            caption=Caption(work="Joining"),
            debug=context.debug,
        ) as display,
    ):
        seal = opened_seal(signing, context.environ, cancel)
        merged, asked = join(parts, annotation_flag(options.values("annotation")), places)
        joined = Joined(
            merged=merged,
            asked=asked,
            names=names,
            places=places,
            sink=display,
            cancel=cancel,
            seal=seal,
        )
        _bring(joined, options, context)
    if path := options.text("metadata-file"):
        _write_metadata(path, merged.descriptor, names)
    context.print(merged.descriptor.digest)
    return 0


def _write_metadata(path: str, descriptor: Descriptor, names: Sequence[Reference]) -> None:
    told = {
        "containerimage.descriptor": descriptor.to_json(),
        "containerimage.digest": descriptor.digest,
        **({"image.name": ",".join(name.canonical for name in names)} if names else {}),
    }
    write_file(path, indented(told).decode())


JOIN = Command(
    usage="[OPTIONS] DIRECTORY|ARCHIVE|IMAGE...",
    run=_join,
    least=1,
    most=None,
    example=(
        "$ polyarch build --shard linux/amd64 -o amd64 .     # on one machine\n"
        "$ polyarch build --shard linux/arm64 -o arm64 .     # on another\n"
        "$ polyarch join amd64 arm64 -t registry.example/you/app:v1 --push"
    ),
    flags=(
        AUTHORITIES,
        Flag(name="annotation", kind=Kind.LIST, help="Add annotation to the image"),
        Flag(name="load", kind=Kind.SWITCH, help="Load the image into docker or podman"),
        Flag(name="metadata-file", help="Write the result's metadata to a file", completes="files"),
        Flag(name="output", short="o", kind=Kind.LIST, help="Directory or archive to write"),
        PROGRESS,
        Flag(name="push", kind=Kind.SWITCH, help="Push the image under its names"),
        Flag(name="quiet", short="q", kind=Kind.SWITCH, help="Only print the digest"),
        SIGN_FLAG,
        Flag(name="tag", short="t", kind=Kind.LIST, help="Image identifier"),
    ),
)
