"""What a build was asked for, as provenance tells it: the attributes that docker buildx sends to its frontend.

What is likely to be a secret isn't told. Source: BuildKit's `solver/llbsolver/provenance/predicate.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.record import frozen
from polyarch.request.frontend import frontend_attributes, hide_secrets
from polyarch.request.values import BuildRequest
from polyarch.text.secretname import looks_secret

__all__ = ["BUILD_ARG", "VCS", "Parameters", "hidden_values", "masked", "parameters"]

BUILD_ARG = "build-arg:"
VCS = "vcs:"
_LEFT_OUT = frozenset(
    {"cgroup-parent", "context", "filename", "image-resolve-mode", "platform", "cache-imports"}
)
"""What concerns the machine, and what provenance has places of its own for."""
_CONTEXT = "context:"
_SHORT = 4
"""Characters below which a value stands for anything, so that to hide it would blot out much else."""


@frozen
class Parameters:
    """What provenance tells of a request.

    `args` are the frontend's attributes, `vcs` those of them that git gave, without their prefix, `path` is what the
    Dockerfile is called in its source, and `context` the address of the main context, if it has one. `hides` says that
    something isn't told as it is likely to be a secret.
    """

    args: Mapping[str, str]
    vcs: Mapping[str, str]
    path: str
    context: str = ""
    hides: bool = False


def hidden_values(request: BuildRequest) -> tuple[str, ...]:
    """Return the values that must stand nowhere, longest first: those of arguments that look secret."""
    values = {
        value
        for name, value in request.build_args.items()
        if len(value) >= _SHORT and looks_secret(name, value)
    }
    return tuple(sorted(values, key=len, reverse=True))


def masked(text: str, values: Iterable[str]) -> str:
    """Return a text in which `values` are `xxxxx`."""
    for value in values:
        text = text.replace(value, "xxxxx")
    return text


def parameters(request: BuildRequest) -> Parameters:
    """Return what provenance tells of a request."""
    asked = frontend_attributes(request)
    told = hide_secrets(asked)
    args = {
        name: _machineless(name, value)
        for name, value in sorted(told.items())
        if name not in _LEFT_OUT and not name.startswith(VCS)
    }
    if request.build_contexts:
        args["frontend.caps"] = "moby.buildkit.frontend.contexts+forward"
    if request.dockerfile == "-" or (request.context == "-" and not request.dockerfile):
        args["dockerfilekey"] = "dockerfile"
    secret = any(looks_secret(name, value) for name, value in request.build_args.items())
    return Parameters(
        args=dict(sorted(args.items())),
        vcs={k.removeprefix(VCS): v for k, v in sorted(told.items()) if k.startswith(VCS)},
        path=asked["filename"],
        context=told.get("context", ""),
        hides=secret,
    )


def _machineless(name: str, value: str) -> str:
    """Return an attribute without where a layout lies on this machine; its content is told of among the materials."""
    if name.startswith(_CONTEXT) and value.startswith(LAYOUT_SCHEME):
        return f"oci-layout:{name.removeprefix(_CONTEXT)}"
    return value
