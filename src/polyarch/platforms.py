"""Platforms: operating system, architecture, variant; parsed, normalised, printed, ranked.

The words and the rules are those of containerd, which docker and BuildKit share: `parse` keeps what was
written (`linux/arm64/v8`), `normalize` gives the one spelling that platforms are compared in
(`linux/arm64`). That happens where a platform comes in: texts by `read` and `parse_list`, values of programs
when a request is made and when a build begins, those of images' documents, which are kept as they are
written, where they are compared or shown. `select` orders what an index offers by how well it serves what is wanted.

Nothing here defaults to this machine except what is asked to: `parse` completes a lone word ("arm64",
"windows") from `host()`, and `parse_list` knows the word "local".
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterable, Sequence

from polyarch.errors import InvalidPlatform
from polyarch.record import frozen, replace

__all__ = [
    "Platform",
    "column",
    "format_all",
    "from_words",
    "host",
    "linux",
    "normalize",
    "only",
    "parse",
    "parse_list",
    "rank",
    "read",
    "select",
]

_OS_PATTERN = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$"
_OS_PATTERN_QUOTED = _OS_PATTERN.replace("\\", "\\\\")
_PART_PATTERN = r"^[A-Za-z0-9_.-]+$"
_HINT = "a platform is os/architecture[/variant], such as linux/arm64 or linux/arm/v7"

# fmt: off
_KNOWN_SYSTEMS = frozenset({
    "aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux",
    "nacl", "netbsd", "openbsd", "plan9", "solaris", "windows", "zos",
})
_KNOWN_ARCHITECTURES = frozenset({
    "386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "ppc64", "ppc64le", "loong64",
    "mips", "mipsle", "mips64", "mips64le", "mips64p32", "mips64p32le", "ppc", "riscv", "riscv64",
    "s390", "s390x", "sparc", "sparc64", "wasm",
})
# fmt: on


@frozen
class Platform:
    """What a program runs on, in the words of the OCI image spec.

    Compared field by field: `normalize` both sides first. Never equal to a text.
    """

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Print `os/architecture[/variant]`, or "unknown" without a system."""
        if not self.os:
            return "unknown"
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def from_words(system: str, architecture: str, variant: str = "") -> Platform:
    """Return the platform that something says in three words, as they are given: a daemon, or a record of ours."""
    return Platform(os=system, architecture=architecture, variant=variant)


def linux(architecture: str, variant: str = "") -> Platform:
    """Return Linux on an architecture, as it is given."""
    return from_words("linux", architecture, variant)


# Texts to platforms


def parse(text: str) -> Platform:
    """Read `os[(version+feature...)]/architecture[/variant]`, or one word of it.

    What a lone word leaves open comes from `host()`. The result isn't normalised: arm64 keeps `v8`.
    Raises InvalidPlatform.
    """
    if "*" in text:
        raise _invalid(f'"{text}": wildcards not yet supported')
    first, *rest = text.split("/", 3)
    match = re.match(_OS_PATTERN, first)
    if match is None or first.endswith("\n"):
        raise _invalid(
            f'"{first}" is an invalid OS component of "{text}": OSAndVersion specifier component '
            f'must match "{_OS_PATTERN_QUOTED}"'
        )
    for part in rest:
        if re.match(_PART_PATTERN, part) is None or part.endswith("\n"):
            raise _invalid(
                f'"{part}" is an invalid component of "{text}": platform specifier component '
                f'must match "{_PART_PATTERN}"'
            )
    system = _system(match[1])
    platform = Platform(
        os=system,
        architecture="",
        os_version=_decode(match[2] or "", text, "OS version"),
        os_features=tuple(
            _decode(feature, text, "OS feature") for feature in (match[3] or "").split("+")[1:]
        ),
    )
    return _with_architecture(platform, text, rest)


def _with_architecture(platform: Platform, text: str, rest: Sequence[str]) -> Platform:
    match rest:
        case []:
            return _complete(platform, text)
        case [architecture]:
            name, variant = _architecture(architecture, "")
            # Only `normalize` spells out that 32-bit ARM means v7.
            variant = "" if (name, variant) == ("arm", "v7") else variant
        case [architecture, written]:
            name, variant = _architecture(architecture, written)
            variant = "v8" if (name, variant) == ("arm64", "") else variant
        case _:
            raise _invalid(f'"{text}": cannot parse platform specifier')
    return replace(platform, architecture=name, variant=variant)


def _complete(platform: Platform, word: str) -> Platform:
    here = host()
    if platform.os in _KNOWN_SYSTEMS:
        keeps_variant = here.architecture == "arm" and here.variant != "v7"
        return replace(
            platform,
            architecture=here.architecture,
            variant=here.variant if keeps_variant else "",
        )
    name, variant = _architecture(word, "")
    if name not in _KNOWN_ARCHITECTURES:
        raise _invalid(f'"{word}": unknown operating system or architecture')
    variant = "" if (name, variant) == ("arm", "v7") else variant
    return replace(platform, os=here.os, architecture=name, variant=variant)


def read(text: str) -> Platform:
    """Read a platform and normalise it: how every text comes in that isn't shown as it was written.

    Raises InvalidPlatform.
    """
    return normalize(parse(text))


def parse_list(values: Iterable[str], *, keep_doubles: bool = False) -> tuple[Platform, ...]:
    """Read the values of `--platform` flags: comma lists, "local"; normalised, doubles dropped.

    `keep_doubles` leaves them in. Raises InvalidPlatform.
    """
    words = [word for value in values for word in value.split(",")]
    found = [host() if word.lower() == "local" else read(word) for word in words]
    return tuple(found if keep_doubles else {format_all(each): each for each in found}.values())


def _invalid(message: str) -> InvalidPlatform:
    return InvalidPlatform(f"{message}: invalid argument", hint=_HINT)


def _decode(text: str, whole: str, what: str) -> str:
    broken = re.search(r"%(?![0-9A-Fa-f]{2}).{0,2}", text)
    if broken is not None:
        raise InvalidPlatform(
            f'"{whole}" has an invalid {what} "{text}": invalid URL escape "{broken[0]}"',
            hint="write a percent sign as %25",
        )
    parts = text.encode().split(b"%")
    decoded = parts[0] + b"".join(bytes([int(part[:2], 16)]) + part[2:] for part in parts[1:])
    return decoded.decode(errors="replace")


# One spelling


def normalize(platform: Platform) -> Platform:
    """Return the platform in the spelling in which platforms are compared.

    `aarch64/v8` becomes `arm64`, `arm` becomes `arm/v7`, `macos` becomes `darwin`, an empty system
    that of this machine; features are sorted and doubles dropped.
    """
    architecture, variant = _architecture(platform.architecture, platform.variant)
    return replace(
        platform,
        os=_system(platform.os) or host().os,
        architecture=architecture,
        variant=variant,
        os_features=tuple(sorted(set(platform.os_features))),
    )


def _system(text: str) -> str:
    lowered = text.lower()
    return "darwin" if lowered == "macos" else lowered


_AMD64 = ("amd64", {"v1": ""})
_ARM64 = ("arm64", {"8": "", "v8": "", "v8.0": "", "9": "v9", "9.0": "v9", "v9.0": "v9"})
_SPELLINGS = {
    "x86_64": _AMD64,
    "x86-64": _AMD64,
    "amd64": _AMD64,
    "aarch64": _ARM64,
    "arm64": _ARM64,
    "arm": ("arm", {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"}),
}
# Names that say the variant, too, whatever else was written.
_WHOLE = {"i386": ("386", ""), "armhf": ("arm", "v7"), "armel": ("arm", "v6")}


def _architecture(name: str, variant: str) -> tuple[str, str]:
    name, variant = name.lower(), variant.lower()
    if name in _WHOLE:
        return _WHOLE[name]
    architecture, variants = _SPELLINGS.get(name, (name, {}))
    return architecture, variants.get(variant, variant)


def format_all(platform: Platform) -> str:
    """Print the platform with the version and the features of its system, as `parse` reads it.

    Features are sorted and doubles dropped; else nothing is normalised.
    """
    options = "".join(
        [
            _encode(platform.os_version),
            *(f"+{_encode(f)}" for f in sorted(set(platform.os_features))),
        ]
    )
    if not platform.os or not options:
        return str(platform)
    return str(replace(platform, os=f"{platform.os}({options})"))


def _encode(text: str) -> str:
    return re.sub(r"[%+()/]", lambda match: f"%{ord(match[0]):02X}", text)


def column(chosen: Iterable[Platform], native: Iterable[Platform]) -> tuple[str, ...]:
    """Return the PLATFORMS column of `ls`: the chosen ones first, marked `*`, then the others."""
    shown: dict[str, str] = {}
    for mark, platforms in (("*", chosen), ("", native)):
        for platform in platforms:
            text = str(normalize(platform))
            shown.setdefault(text, text + mark)
    return tuple(shown.values())


# What serves what


def only(wanted: Platform) -> tuple[Platform, ...]:
    """Return the platforms whose programs a machine of `wanted` runs natively, best first."""
    return _only(normalize(wanted))


def _only(wanted: Platform) -> tuple[Platform, ...]:
    return tuple(
        replace(wanted, architecture=architecture, variant=variant)
        for architecture, variant in _runs(wanted.architecture, wanted.variant)
    )


def _runs(architecture: str, variant: str) -> list[tuple[str, str]]:
    major, minor = _level(variant)
    older: list[tuple[str, str]] = []
    if architecture == "amd64":
        older = [("amd64", f"v{level}" if level > 1 else "") for level in range(major - 1, 0, -1)]
        older.append(("386", ""))
    elif architecture == "arm" and major <= 8:
        older = [("arm", f"v{level}") for level in range(major - 1, 4, -1)]
    elif architecture == "arm64" and (not variant or major in {8, 9}):
        older = _older_arm64(major, minor)
    return [(architecture, variant), *older]


def _older_arm64(major: int, minor: int) -> list[tuple[str, str]]:
    older = []
    if major == 9:
        older = [("arm64", _arm64(9, level)) for level in range(minor - 1, -1, -1)]
        # ARMv9.0 was made from ARMv8.5, and each v9.x contains v8.(x+5).
        minor += 6
    older += [("arm64", _arm64(8, level)) for level in range(minor - 1, -1, -1)]
    return [*older, *(("arm", f"v{level}") for level in range(8, 4, -1))]


def _level(variant: str) -> tuple[int, int]:
    match = re.fullmatch(r"v?([0-9]{1,4})(?:\.([0-9]{1,4}))?", variant)
    return (int(match[1]), int(match[2] or 0)) if match else (0, 0)


def _arm64(major: int, minor: int) -> str:
    if minor:
        return f"v{major}.{minor}"
    return "v9" if major == 9 else ""


def rank(wanted: Platform, candidate: Platform, *, strict: bool = False) -> tuple[int, int] | None:
    """Return how well `candidate` serves `wanted` (lower is better), or None if it doesn't.

    `strict` accepts only the very platform. Among equals, the one with more features is better.
    """
    wanted, candidate = normalize(wanted), normalize(candidate)
    accepted = (wanted,) if strict else _only(wanted)
    for position, platform in enumerate(accepted):
        if _matches(platform, candidate):
            return position, -len(candidate.os_features)
    return None


def select(
    wanted: Platform, candidates: Iterable[Platform], *, strict: bool = False
) -> tuple[Platform, ...]:
    """Return those of `candidates` that serve `wanted`, best first, equals in the given order."""
    ranked = [
        (order, candidate)
        for candidate in candidates
        if (order := rank(wanted, candidate, strict=strict)) is not None
    ]
    return tuple(candidate for _, candidate in sorted(ranked, key=lambda pair: pair[0]))


def _matches(wanted: Platform, candidate: Platform) -> bool:
    if (wanted.os, wanted.architecture, wanted.variant) != (
        candidate.os,
        candidate.architecture,
        candidate.variant,
    ):
        return False
    needed = set(candidate.os_features)
    if wanted.os == "windows":
        # Every Windows has win32k except Nano Server, and images of either kind run on both.
        needed.discard("win32k")
        if not _windows_runs(wanted.os_version, candidate.os_version):
            return False
    return needed <= set(wanted.os_features)


# Windows Server 2022 was the first release that runs images of other builds: those from the long-term
# release before it up to its own build.
_LONG_TERM_BUILDS = (20348, 26100)


def _windows_runs(host_version: str, image_version: str) -> bool:
    wanted, offered = _windows_version(host_version), _windows_version(image_version)
    if wanted == (0, 0, 0) or not image_version:
        return True
    if wanted[:2] != offered[:2]:
        return False
    build = wanted[2]
    if build < _LONG_TERM_BUILDS[0]:
        return build == offered[2]
    previous = max(
        (release for release in _LONG_TERM_BUILDS if release < build), default=_LONG_TERM_BUILDS[0]
    )
    return previous <= offered[2] <= build


def _windows_version(text: str) -> tuple[int, int, int]:
    match = re.match(r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,5})(?:\.|$)", text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else (0, 0, 0)


# This machine

# What `uname -m` calls machines, where Go has another word (and normalisation doesn't know it).
_UNAMES = {
    **dict.fromkeys(("i486", "i586", "i686"), "386"),
    "loongarch64": "loong64",
    "mips64": "mips64" if sys.byteorder == "big" else "mips64le",
    "mips": "mips" if sys.byteorder == "big" else "mipsle",
}


@functools.cache
def host() -> Platform:
    """Return the platform of this machine, normalised."""
    return _host(os.uname().machine, "/proc/cpuinfo")


def _host(machine: str, cpuinfo: str) -> Platform:
    if machine.startswith("arm") and not machine.startswith("arm64"):
        variant = _arm_variant(machine, cpuinfo)
        return normalize(linux("arm", variant))
    return normalize(linux(_UNAMES.get(machine, machine)))


def _arm_variant(machine: str, cpuinfo: str) -> str:
    found = re.match(r"armv([5-8])", machine)
    variant = found[1] if found else ""
    try:
        with open(cpuinfo, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return variant
    fields = dict(re.findall(r"^([^\n:]+?)[ \t]*:[ \t]*(.*)$", text, re.MULTILINE))
    told = fields.get("CPU architecture", "")
    if told == "7" and "ARMv6-compatible" in fields.get("model name", ""):
        return "6"  # the kernel says 7 of the first Raspberry Pi
    level = re.match(r"AArch64|[5-8]", told)
    if level is None:
        return variant
    return "8" if level[0] == "AArch64" else level[0]
