"""Build arguments that exist without being declared, and the scope of FROM lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from polyarch.dockerfile.expand.expand import expand
from polyarch.dockerfile.syntax.instruction import Arg

__all__ = [
    "HIDDEN_ARGS",
    "OPTION_ARGS",
    "OPTION_PREFIXES",
    "PLATFORM_ARGS",
    "PROXY_ARGS",
    "PlatformLike",
    "global_scope",
    "is_option_arg",
    "is_proxy_arg",
    "platform_args",
]


class PlatformLike(Protocol):
    """What is asked of a platform here; all texts, "" where there is none."""

    @property
    def os(self) -> str:
        """The operating system."""

    @property
    def architecture(self) -> str:
        """The architecture, in Go's words."""

    @property
    def variant(self) -> str:
        """The variant of the architecture."""

    @property
    def os_version(self) -> str:
        """The version of the operating system."""


_PARTS: Mapping[str, str] = {
    "OS": "os",
    "OSVERSION": "os_version",
    "ARCH": "architecture",
    "VARIANT": "variant",
}

PLATFORM_ARGS = (
    *(f"{side}{part}" for side in ("BUILD", "TARGET") for part in ("PLATFORM", *_PARTS)),
    "TARGETSTAGE",
)
"""Known to FROM lines; a stage has to declare those that it uses."""

PROXY_ARGS = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
"""Known to every RUN without a declaration, in upper and in lower case."""

OPTION_ARGS = frozenset(
    (
        "BUILDKIT_BUILD_NAME",
        "BUILDKIT_CACHE_MOUNT_NS",
        "BUILDKIT_CONTEXT_KEEP_GIT_DIR",
        "BUILDKIT_DOCKERFILE_CHECK",
        "BUILDKIT_INLINE_CACHE",
        "BUILDKIT_MULTI_PLATFORM",
        "BUILDKIT_SANDBOX_HOSTNAME",
        "BUILDKIT_SBOM_SCAN_CONTEXT",
        "BUILDKIT_SBOM_SCAN_STAGE",
        "BUILDKIT_SYNTAX",
        "SOURCE_DATE_EPOCH",
    )
)
"""Build arguments that are options of the builder."""

HIDDEN_ARGS = frozenset(("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"))
"""Arguments that a stage declares without getting a variable."""

OPTION_PREFIXES = ("BUILDKIT_ATTEST_",)
"""Beginnings of further ones."""


def is_proxy_arg(name: str) -> bool:
    """Tell if a build argument is one of the proxies', in any letter case."""
    return name.upper() in PROXY_ARGS


def is_option_arg(name: str) -> bool:
    """Tell if a build argument is an option of the builder."""
    return name in OPTION_ARGS or name.startswith(OPTION_PREFIXES)


def platform_args(target: PlatformLike, build: PlatformLike, *, stage: str = "") -> dict[str, str]:
    """Return the values of `PLATFORM_ARGS`. `stage` is the name of the target stage, if one was asked for.

    Both platforms have to be normalized.
    """
    args: dict[str, str] = {}
    for side, platform in (("BUILD", build), ("TARGET", target)):
        args[f"{side}PLATFORM"] = _full_name(platform)
        for part, field in _PARTS.items():
            args[f"{side}{part}"] = getattr(platform, field)
    return {**args, "TARGETSTAGE": stage or "default"}


def _full_name(platform: PlatformLike) -> str:
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
