"""Build arguments that exist without being declared, and the scope of FROM lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from polyarch.dockerfile.expand.expand import expand
from polyarch.dockerfile.syntax.instruction import Arg
from polyarch.platforms import Platform

__all__ = [
    "HIDDEN_ARGS",
    "PROXY_ARGS",
    "SCAN_CONTEXT",
    "SCAN_STAGE",
    "global_scope",
    "platform_args",
]


PROXY_ARGS = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
"""Known to every RUN without a declaration, in upper and in lower case."""

SCAN_CONTEXT, SCAN_STAGE = "BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"
"""Say that the software of the build context, and of stages, is to be listed, too."""

HIDDEN_ARGS = frozenset((SCAN_CONTEXT, SCAN_STAGE))
"""Arguments that a stage declares without getting a variable."""


def platform_args(target: Platform, build: Platform, *, stage: str = "") -> dict[str, str]:
    """Return the arguments of the platforms, which FROM lines know, and stages that declare them.

    `stage` is the name of the target stage, if one was asked for. Both platforms have to be normalized.
    """
    args: dict[str, str] = {}
    for side, platform in (("BUILD", build), ("TARGET", target)):
        args[f"{side}PLATFORM"] = _full_name(platform)
        args[f"{side}OS"] = platform.os
        args[f"{side}OSVERSION"] = platform.os_version
        args[f"{side}ARCH"] = platform.architecture
        args[f"{side}VARIANT"] = platform.variant
    return {**args, "TARGETSTAGE": stage or "default"}


def _full_name(platform: Platform) -> str:
    version = f"({platform.os_version})" if platform.os_version else ""
    variant = f"/{platform.variant}" if platform.variant else ""
    return f"{platform.os}{version}/{platform.architecture}{variant}"


def global_scope(
    global_args: Iterable[Arg],
    build_args: Mapping[str, str],
    defaults: Mapping[str, str],
    *,
    escape: str = "\\",
) -> dict[str, str]:
    """Return the variables that FROM lines know, and bare ARGs of stages take their values from.

    `defaults` are those of `platform_args`; build arguments replace them, declared or not. Other build
    arguments count only where an ARG before the first FROM declares them. Arguments without a value are
    left out.

    Raises DockerfileError at an ARG whose default can't be expanded.
    """
    scope = {name: build_args.get(name, value) for name, value in defaults.items()}
    for arg in global_args:
        for definition in arg.definitions:
            name = definition.name
            if name in build_args:
                scope[name] = build_args[name]
            elif definition.default is not None:
                scope[name] = expand(definition.default, scope, escape=escape, place=arg.location)
    return scope
