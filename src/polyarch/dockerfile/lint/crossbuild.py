"""Stages that are built under emulation for other platforms, and need not be: with the lines that change that.

A stage that others only copy from can run on the build platform if what it gives doesn't depend on where it
ran: compilers that compile for other machines (Go, Rust), what makes files that are the same everywhere (front
ends, Java's classes), and what only fetches, unpacks and moves files. Told by the commands of its RUNs: a command
that isn't known leaves the stage alone, as does a copy out of the system's own directories.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from polyarch.dockerfile.syntax.instruction import Arg, Copy, Run, Stage
from polyarch.dockerfile.syntax.mount import mount_from
from polyarch.errors import DockerfileError
from polyarch.pattern import pattern

__all__ = ["find_pinnable"]

# fmt: off
_FILES = frozenset((
    "cd", "set", "export", "mkdir", "rmdir", "cp", "mv", "rm", "ln", "echo", "printf", "cat",
    "tar", "unzip", "gzip", "gunzip", "xz", "bzip2", "zstd", "curl", "wget", "git", "chmod",
    "chown", "sed", "awk", "grep", "test", "[", "true", ":", "ls", "find", "touch", "sha256sum",
    "sha512sum", "md5sum", "jq", "sort", "head", "tail", "tr", "cut", "install", "apk",
    "apt-get", "apt", "dnf", "yum", "microdnf", "update-ca-certificates",
))
"""Commands whose results, files, don't depend on the machine, as long as programs aren't among them."""
_FRONT_END = frozenset((
    "npm", "npx", "yarn", "pnpm", "bun", "bunx", "tsc", "vite", "webpack", "hugo", "node",
    "corepack",
))
_JAVA = frozenset((
    "mvn", "mvnw", "gradle", "gradlew", "javac", "jar", "ant", "sbt",
))
# fmt: on
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib64", "/etc", "/usr", "/var", "/opt", "/root")
_OUTPUTS = (
    "/usr/local/bin/",
    "/usr/src/",
    "/usr/share/",
    "/usr/local/share/",
    "/root/.local/share/",
)
"""Where results lie in directories that are the system's otherwise."""
_NATIVE_CODE = ("node_modules", "site-packages")
_COMMANDS = pattern(r"&&|\|\||[;|\n(){}`]|\\\n")
_WORD = pattern(r"(?:\s|[A-Za-z_]\w*=\S*\s|(?:then|else|do|if|while|!)\s|-\S+\s)*([^\s]+)")
_GO_BUILD = pattern(r"(?<![\w./-])go\s+build\b")
_CARGO = pattern(r"(?<![\w./-])cargo\s+build\b")
_GO_OTHERS = pattern(r"go\s+(?:mod|generate|version|env|vet|fmt|build)\b")
_CARGO_OTHERS = pattern(r"cargo\s+(?:build|fetch|update|new|init|vendor)\b")
_NEEDS_C = pattern(
    r"CGO_ENABLED=1|\b(?:gcc|g\+\+|clang|build-base|musl-dev|libc6-dev|build-essential)\b"
)
_PLATFORM_FLAG = pattern(r"\s--platform=\S+")

_ENDS = frozenset({"fi", "done", "esac"})
_REASONS = {
    "go": "Go compiles for other platforms natively",
    "rust": "Rust compiles for other platforms natively",
    "front end": "what it makes is the same on all platforms",
    "java": "classes and archives of Java are the same on all platforms",
    "files": "it only fetches, unpacks and moves files",
}
_RUST_LINES = (
    "ARG TARGETARCH",
    "RUN case $TARGETARCH in amd64) cpu=x86_64 ;; arm64) cpu=aarch64 ;; *) cpu=$TARGETARCH ;; esac && \\",
    "    rustup target add $cpu-unknown-linux-musl && \\",
    "    RUSTFLAGS=-Clinker=rust-lld {command} --target $cpu-unknown-linux-musl",
)


def find_pinnable(stages: Sequence[Stage]) -> Iterator[tuple[Stage, str]]:
    """Give the stages that could be `FROM --platform=$BUILDPLATFORM`, and what to write."""
    shipped = _shipped(stages)
    for index, stage in enumerate(stages):
        is_based_on_stage = _index(stage.base, stages[:index]) is not None
        if index in shipped or is_based_on_stage or not _follows_target(stage):
            continue
        copied = tuple(_copied_from(index, stages))
        runs = [each for each in stage.instructions if isinstance(each, Run)]
        if not (copied and runs and all(map(_is_result, copied))):
            continue
        kind = _kind(runs)
        if kind:
            yield stage, _detail(stage, kind, runs)


def _shipped(stages: Sequence[Stage]) -> set[int]:
    """Return the last stage and those that it stands on."""
    found: set[int] = set()
    index: int | None = len(stages) - 1
    while index is not None and index >= 0 and index not in found:
        found.add(index)
        index = _index(stages[index].base, stages[:index])
    return found


def _index(name: str, stages: Sequence[Stage]) -> int | None:
    """Return which stage a FROM names: the last one of that name."""
    known = [number for number, stage in enumerate(stages) if stage.name == name.lower() != ""]
    return known[-1] if known else None


def _follows_target(stage: Stage) -> bool:
    return (
        stage.platform in {"", "$TARGETPLATFORM", "${TARGETPLATFORM}"} and stage.base != "scratch"
    )


def _copied_from(index: int, stages: Sequence[Stage]) -> Iterator[str]:
    """Give what other stages take of a stage, by path; a mount of it or a stage upon it takes everything."""
    for number, stage in enumerate(stages):
        if number > index and _index(stage.base, stages[:number]) == index:
            yield "/"
        for instruction in stage.instructions:
            if isinstance(instruction, Copy) and _names(instruction.from_name, index, stages):
                yield from instruction.sources
            elif isinstance(instruction, Run) and any(
                _names(_mounted(text), index, stages) for text in instruction.mounts
            ):
                yield "/"


def _mounted(text: str) -> str:
    try:
        return mount_from(text)
    except DockerfileError:
        return ""  # lowering says so


def _names(name: str, index: int, stages: Sequence[Stage]) -> bool:
    return name != "" and name.lower() in {stages[index].name, str(index)}


def _is_result(path: str) -> bool:
    """Tell whether a path is where results are, rather than the programs that made them."""
    path = path.rstrip("/") or "/"
    if path == "/" or path.endswith(_NATIVE_CODE) or path == "/go":
        return False
    whole = path if path.startswith("/") else f"/{path}"
    in_system = any(whole == each or whole.startswith(f"{each}/") for each in _SYSTEM)
    return not in_system or whole.startswith(_OUTPUTS)


def _text(run: Run) -> str:
    return "\n".join((" ".join(run.arguments), *(each.body for each in run.heredocs)))


def _programs(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Yield the names of the programs that are started, each with its command line."""
    for run in runs:
        for command in _COMMANDS.split(_text(run)):
            match = _WORD.match(f"{command} ")
            if match is not None and match[1] not in _ENDS and not match[1].startswith("<<"):
                yield match[1].rpartition("/")[2], command


def _kind(runs: Sequence[Run]) -> str:
    """Return what a stage does, "" if something in it isn't known to be the same everywhere."""
    kinds = {_kind_of(program, command) for program, command in _programs(runs)}
    if "" in kinds:
        return ""
    compiled = kinds - {"files"}
    # Code in C takes a compiler for the other machine: no change of a line.
    if len(compiled) > 1 or any(_NEEDS_C.search(_text(run)) for run in runs):
        return ""
    return next(iter(compiled or kinds), "")


def _kind_of(program: str, command: str) -> str:
    if program == "go":
        return "go" if _GO_OTHERS.search(command) else ""
    if program == "cargo":
        return "rust" if _CARGO_OTHERS.search(command) else ""
    if program == "rustup":
        return "rust"
    if program in _FRONT_END:
        return "front end"
    if program in _JAVA:
        return "java"
    return "files" if program in _FILES or program.startswith("#") else ""


def _detail(stage: Stage, kind: str, runs: Sequence[Run]) -> str:
    called = f"stage '{stage.name}'" if stage.name else f"the stage FROM {stage.base}"
    plain = _PLATFORM_FLAG.sub("", stage.text)
    lines = [plain.replace(stage.keyword, f"{stage.keyword} --platform=$BUILDPLATFORM", 1)]
    if kind == "go":
        lines += _go_lines(stage, runs)
    elif kind == "rust":
        lines += _rust_lines(runs)
    shown = "".join(f"\n    {line}" for line in lines)
    return (
        f"{called} is emulated for every platform but this machine's, and need not be: {_REASONS[kind]}. "
        f"Write{shown}"
    )


def _go_lines(stage: Stage, runs: Sequence[Run]) -> Iterator[str]:
    declared = {
        definition.name
        for each in stage.instructions
        if isinstance(each, Arg)
        for definition in each.definitions
    }
    missing = [name for name in ("TARGETOS", "TARGETARCH") if name not in declared]
    if missing:
        yield f"ARG {' '.join(missing)}"
    setting = "GOOS=$TARGETOS GOARCH=$TARGETARCH go build"
    for run in runs:
        if _GO_BUILD.search(_text(run)) and "GOARCH" not in _text(run):
            yield from _GO_BUILD.sub(setting, _written(run)).splitlines()


def _rust_lines(runs: Sequence[Run]) -> Iterator[str]:
    for run in runs:
        found = _CARGO.search(_text(run))
        if found and "--target" not in _text(run):
            rest = re.split(r"&&|;|\n", _text(run)[found.start() :], maxsplit=1)[0].strip()
            yield from (line.replace("{command}", rest) for line in _RUST_LINES)
            return


def _written(run: Run) -> str:
    """Return an instruction as it stands in the file, lines and all."""
    location = run.location
    lines = location.source.text.splitlines()[location.start - 1 : location.end]
    return "\n".join(lines)
