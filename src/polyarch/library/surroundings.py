"""What only the caller's process knows of a request: its current directory and its variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from polyarch.errors import InputError
from polyarch.pattern import pattern
from polyarch.record import replace
from polyarch.request.values import BuildRequest, CacheEntry, Output, OutputType, Secret, is_address

__all__ = ["settle"]

_SOURCE = pattern(r"[a-z-]+:(//)?")


def settle(request: BuildRequest, directory: str, environ: Mapping[str, str]) -> BuildRequest:
    """Return the request with all paths absolute and secrets of variables read.

    The engine may have been started elsewhere. Raises InputError for an output to standard output,
    which is the program's and not the engine's.
    """

    def absolute(path: str) -> str:
        return os.path.join(directory, path) if path not in {"", "-"} else path

    def located(place: str) -> str:
        return place if is_address(place) else absolute(place)

    # Of a context that is fetched, the Dockerfile is a path inside.
    is_fetched = request.context == "-" or is_address(request.context)
    return replace(
        request,
        context=located(request.context),
        dockerfile=request.dockerfile if is_fetched else located(request.dockerfile),
        build_contexts={
            name: value if _SOURCE.match(value) else located(value)
            for name, value in request.build_contexts.items()
        },
        cache_from=tuple(_in_directory(each, absolute) for each in request.cache_from),
        cache_to=tuple(_in_directory(each, absolute) for each in request.cache_to),
        outputs=tuple(_settled(each, absolute(each.destination)) for each in request.outputs),
        secrets=tuple(_read(each, absolute(each.path), environ) for each in request.secrets),
        ssh={name: absolute(path) for name, path in request.ssh.items()},
        ssh_keys={name: tuple(map(absolute, paths)) for name, paths in request.ssh_keys.items()},
    )


def _in_directory(entry: CacheEntry, absolute: Callable[[str], str]) -> CacheEntry:
    paths = {
        key: absolute(path) for key, path in entry.attributes.items() if key in {"src", "dest"}
    }
    return replace(entry, attributes={**entry.attributes, **paths})


def _settled(output: Output, destination: str) -> Output:
    streams = {OutputType.TAR, OutputType.OCI}
    if destination == "-" or (output.type in streams and not destination):
        raise InputError(
            f"output type={output.type} needs a destination: an engine has no standard output",
            hint='name a file: Output(type="oci", destination="image.tar")',
        )
    return replace(output, destination=destination)


def _read(secret: Secret, path: str, environ: Mapping[str, str]) -> Secret:
    if secret.value is None and secret.env in environ:
        return replace(secret, value=os.fsencode(environ[secret.env]))
    return replace(secret, path=path)
