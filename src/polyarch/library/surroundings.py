"""What only the caller's process knows of a request: its current folder and its variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from polyarch.errors import InputError
from polyarch.record import replace
from polyarch.request import BuildRequest, Output, Secret, is_address

__all__ = ["settle"]

_SOURCE = re.compile(r"[a-z-]+:(//)?")


def settle(request: BuildRequest, folder: str, environ: Mapping[str, str]) -> BuildRequest:
    """Return the request with all paths absolute and secrets of variables read.

    The engine may have been started elsewhere. Raises InputError for an output to standard output,
    which is the program's and not the engine's.
    """

    def absolute(path: str) -> str:
        return os.path.join(folder, path) if path not in {"", "-"} else path

    context = request.context
    return replace(
        request,
        context=context if is_address(context) else absolute(context),
        dockerfile=absolute(request.dockerfile),
        build_contexts={
            name: value if _SOURCE.match(value) else absolute(value)
            for name, value in request.build_contexts.items()
        },
        outputs=tuple(_settled(each, absolute(each.destination)) for each in request.outputs),
        secrets=tuple(_read(each, absolute(each.path), environ) for each in request.secrets),
        ssh={name: absolute(path) for name, path in request.ssh.items()},
    )


def _settled(output: Output, destination: str) -> Output:
    streams = {"tar", "oci"}
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
