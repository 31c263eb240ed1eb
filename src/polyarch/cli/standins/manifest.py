"""`docker manifest`: an index put together by hand, and pushed.

`create` and `annotate` only note what is wanted, below docker's directory; `push` makes the index as `imagetools
create` does, with the sources' own platforms where none was said. Source: docker's reference of `docker manifest`.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from polyarch.cli.commands import find, load
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options, parse_flags
from polyarch.errors import InputError, MachineError, NotFound
from polyarch.golang.json import compact
from polyarch.oci.fields import read_document
from polyarch.oci.reference import parse as parse_reference
from polyarch.paths import docker_config_directory, replacing

__all__ = ["ANNOTATE", "CREATE", "INSPECT", "PUSH", "RM"]


def _file(name: str, context: Context) -> Path:
    canonical = parse_reference(name).canonical
    directory = docker_config_directory(context.environ) / "polyarch-manifests"
    return directory / hashlib.sha256(canonical.encode()).hexdigest()


def _noted(name: str, context: Context) -> list[str]:
    """Return the sources of a list that was created. Raises NotFound."""
    try:
        return list(read_document(_file(name, context).read_bytes()).texts("sources"))
    except OSError as error:
        raise NotFound(
            f"No such manifest: {name}", hint=f"docker manifest create {name} IMAGE..."
        ) from error


def _create(options: Options, context: Context) -> int:
    name, *sources = options.arguments
    for source in sources:
        parse_reference(source)
    path = _file(name, context)
    if options.is_set("amend"):
        with suppress(NotFound):
            sources = list(dict.fromkeys((*_noted(name, context), *sources)))
    elif path.exists():
        raise InputError(
            f"refusing to amend an existing manifest list with no --amend flag: {name}",
            hint=f"docker manifest rm {name} forgets it",
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(path) as aside:
            aside.write_bytes(compact({"sources": sources}))
    except OSError as error:
        raise MachineError(f"can't write {path}: {error.strerror}") from error
    context.print(f"Created manifest list {parse_reference(name).canonical}")
    return 0


def _annotate(options: Options, context: Context) -> int:
    name, source = options.arguments
    if source not in _noted(name, context):
        raise NotFound(f"manifest for image {source} does not exist in {name}")
    raise InputError(
        "a manifest's platform is what its image says; it can't be called something else",
        hint="build the image for its platform: docker build --platform linux/arm64 ...",
    )


def _push(options: Options, context: Context) -> int:
    name = options.arguments[0]
    sources = _noted(name, context)
    found = find(["imagetools", "create"])
    assert found is not None
    command = load(found[0])
    words = ["--progress", "quiet", "-t", name, *sources]
    status = command.run(parse_flags(command.flags, words), context)
    if status == 0 and options.is_set("purge"):
        _file(name, context).unlink(missing_ok=True)
    return status


def _inspect(options: Options, context: Context) -> int:
    found = find(["imagetools", "inspect"])
    assert found is not None
    command = load(found[0])
    words = ["--raw", options.arguments[-1]]
    return command.run(parse_flags(command.flags, words), context)


def _rm(options: Options, context: Context) -> int:
    for name in options.arguments:
        _noted(name, context)
        _file(name, context).unlink(missing_ok=True)
    return 0


_INSECURE = Flag(name="insecure", kind=Kind.SWITCH, hidden=True)
CREATE = Command(
    usage="MANIFEST_LIST MANIFEST [MANIFEST...]",
    run=_create,
    least=2,
    most=None,
    example="$ docker manifest create you/app you/app:amd64 you/app:arm64",
    flags=(
        Flag(name="amend", short="a", kind=Kind.SWITCH, help="Amend an existing manifest list"),
        _INSECURE,
    ),
)
ANNOTATE = Command(
    usage="[OPTIONS] MANIFEST_LIST MANIFEST",
    run=_annotate,
    least=2,
    most=2,
    example="$ docker manifest annotate --arch arm64 you/app you/app:arm64",
    flags=(
        Flag(name="arch", help="Set architecture"),
        Flag(name="os", help="Set operating system"),
        Flag(name="os-features", kind=Kind.FIELDS, help="Set operating system feature"),
        Flag(name="os-version", help="Set operating system version"),
        Flag(name="variant", help="Set architecture variant"),
    ),
)
PUSH = Command(
    usage="[OPTIONS] MANIFEST_LIST",
    run=_push,
    least=1,
    most=1,
    example="$ docker manifest push --purge you/app",
    flags=(
        Flag(name="purge", short="p", kind=Kind.SWITCH, help="Forget the list after the push"),
        _INSECURE,
    ),
)
INSPECT = Command(
    usage="[OPTIONS] [MANIFEST_LIST] MANIFEST",
    run=_inspect,
    least=1,
    most=2,
    example="$ docker manifest inspect you/app",
    flags=(
        Flag(name="verbose", short="v", kind=Kind.SWITCH, help="Output additional info"),
        _INSECURE,
    ),
)
RM = Command(
    usage="MANIFEST_LIST [MANIFEST_LIST...]",
    run=_rm,
    least=1,
    most=None,
    example="$ docker manifest rm you/app",
)
