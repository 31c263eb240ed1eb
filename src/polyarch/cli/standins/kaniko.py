"""kaniko's executor: its flags -> a build.

kaniko is archived, and pipelines that call it go on with us. What a flag asks for is done, or doesn't matter here
(those that tune kaniko itself are taken and have no effect, which is said), or is refused by name: none is passed over in silence that would
change what is built or where it goes.

Source: the README of GoogleContainerTools/kaniko.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from polyarch.cli.commands import find
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.files import write_file
from polyarch.cli.frame.flags import Flag, Kind, Options, parse_flags
from polyarch.cli.standins.called import Called
from polyarch.errors import InputError
from polyarch.oci.fields import read_document
from polyarch.oci.reference import parse as parse_reference
from polyarch.record import replace

__all__ = ["kaniko_call"]

_CONTEXT = "/workspace"
_WITHOUT_EFFECT = (
    "cleanup",
    "compressed-caching",
    "force",
    "force-build-metadata",
    "initial-fs-unpacked",
    "kaniko-dir",
    "log-format",
    "log-timestamp",
    "run-v2",
    "single-snapshot",
    "skip-unused-stages",
    "snapshot-mode",
    "snapshotMode",
    "use-new-run",
    "cache-copy-layers",
    "cache-run-layers",
    "cache-dir",
    "cache-ttl",
    "image-download-retry",
    "image-fs-extract-retry",
    "push-retry",
    "push-ignore-immutable-tag-errors",
    "ignore-var-run",
    "skip-push-permission-check",
    "skip-default-registry-fallback",
    "verbosity",
)
"""Flags that tune kaniko itself: here it is so already, or it doesn't matter."""
_SWITCHES = frozenset(
    [
        "cache",
        "cache-copy-layers",
        "cache-run-layers",
        "cleanup",
        "compressed-caching",
        "force",
        "force-build-metadata",
        "ignore-var-run",
        "initial-fs-unpacked",
        "insecure",
        "insecure-pull",
        "log-timestamp",
        "no-push",
        "no-push-cache",
        "push-ignore-immutable-tag-errors",
        "reproducible",
        "run-v2",
        "single-snapshot",
        "skip-default-registry-fallback",
        "skip-push-permission-check",
        "skip-tls-verify",
        "skip-tls-verify-pull",
        "skip-unused-stages",
        "use-new-run",
    ]
)
_LISTS = frozenset(
    [
        "build-arg",
        "destination",
        "ignore-path",
        "insecure-registry",
        "label",
        "registry-certificate",
        "registry-client-cert",
        "registry-map",
        "registry-mirror",
        "skip-tls-verify-registry",
    ]
)
_TEXTS = [
    "cache-repo",
    "compression",
    "compression-level",
    "context",
    "context-sub-path",
    "custom-platform",
    "digest-file",
    "dockerfile",
    "git",
    "image-name-tag-with-digest-file",
    "image-name-with-digest-file",
    "oci-layout-path",
    "secret",
    "tar-path",
    "tarPath",
    "target",
]
_DIGEST_FILES = (
    "digest-file",
    "image-name-with-digest-file",
    "image-name-tag-with-digest-file",
)
_SHORT = {"context": "c", "destination": "d", "dockerfile": "f", "verbosity": "v"}
_SAID = {
    "ignore-path": "paths can't be left out of what a step has changed: remove them in the same RUN",
    "registry-map": "set mirrors in ~/.config/polyarch/registries.toml",
    "registry-client-cert": "set keypair in ~/.config/polyarch/registries.toml",
}
"""Flags that can't be done, and what to do instead."""


def _flags() -> Iterator[Flag]:
    for name in sorted({*_TEXTS, *_LISTS, *_SWITCHES, *_WITHOUT_EFFECT}):
        kind = Kind.LIST if name in _LISTS else Kind.SWITCH if name in _SWITCHES else Kind.TEXT
        yield Flag(name=name, kind=kind, short=_SHORT.get(name, ""))


def kaniko_call(words: Sequence[str], context: Context) -> Called:
    """Understand a command line of the executor's. Raises InputError for what can't be done here."""
    if list(words[:1]) == ["version"]:
        return Called(words=["version"], context=context)
    options = parse_flags(tuple(_flags()), words)
    if options.arguments:
        raise InputError(
            f"unknown command {options.arguments[0]!r}", hint="the executor takes flags only"
        )
    for name, instead in _SAID.items():
        if options.given(name):
            raise InputError(f"--{name} isn't supported", hint=instead)
    for name in _WITHOUT_EFFECT:
        if options.given(name):
            context.warn(f"--{name} has no effect here")
    found = find(["build"])
    assert found is not None
    environ = {**context.environ, **_environ(options)}
    digests = _DigestFiles(options)
    return Called(
        entry=replace(found[0], name="executor"),
        words=[*digests.words(), *_build(options, environ)],
        context=replace(context, environ=environ),
        finish=digests.write,
    )


class _DigestFiles:
    """Files that tell pipelines what was pushed: the digest alone, or behind the image's names."""

    def __init__(self, options: Options) -> None:
        self._names = [parse_reference(name) for name in options.values("destination")]
        self._paths = {flag: options.text(flag) for flag in _DIGEST_FILES if options.text(flag)}
        self._metadata = Path(tempfile.mkdtemp(prefix="polyarch-")) / "md" if self._paths else None

    def words(self) -> list[str]:
        """Return what makes the build tell its digest."""
        return [f"--metadata-file={self._metadata}"] if self._metadata is not None else []

    def write(self) -> None:
        """Write the files. Raises MachineError."""
        if self._metadata is None:
            return
        digest = read_document(self._metadata.read_bytes()).text("containerimage.digest")
        shutil.rmtree(self._metadata.parent)
        lines = {
            "digest-file": digest,
            "image-name-with-digest-file": "".join(
                f"{name.repository}@{digest}\n" for name in self._names
            ),
            "image-name-tag-with-digest-file": "".join(
                f"{name.repository}:{name.tag or 'latest'}@{digest}\n" for name in self._names
            ),
        }
        for flag, path in self._paths.items():
            write_file(path, lines[flag], make_directory=True)


def _build(options: Options, environ: Mapping[str, str]) -> Iterator[str]:
    """Give the words of the build."""
    yield "--progress=plain"
    for flag, ours in (("target", "--target"), ("dockerfile", "--file")):
        if text := options.text(flag):
            yield f"{ours}={_dockerfile(options) if flag == 'dockerfile' else text}"
    if platform := options.text("custom-platform"):
        yield f"--platform={platform}"
    for flag in ("build-arg", "label"):
        yield from (f"--{flag}={value}" for value in options.values(flag))
    if secret := options.text("secret"):
        yield f"--secret={secret}"
    if options.is_set("reproducible"):
        yield "--build-arg=SOURCE_DATE_EPOCH=0"
    yield from _outputs(options)
    yield from _caches(options)
    yield _context(options, environ)


def _dockerfile(options: Options) -> str:
    """Return the Dockerfile's path: kaniko looks for a relative one in the context, too."""
    name = options.text("dockerfile")
    directory = _local(options.text("context"), options.text("context-sub-path"))
    inside = os.path.join(directory, name) if directory else ""
    return inside if inside and not os.path.exists(name) else name


def _local(context: str, below: str) -> str:
    """Return the directory of a context, "" if it is somewhere else."""
    kind, colon, path = (context or f"dir://{_CONTEXT}").partition("://")
    if not colon:
        kind, path = "dir", context
    return os.path.normpath(os.path.join(path, below)) if kind == "dir" else ""


def _repository(path: str, below: str, environ: Mapping[str, str]) -> str:
    """Return the address of `HOST/PATH#REFERENCE[#COMMIT]`, with the login that the environment has for it."""
    address, _, reference = path.partition("#")
    branch = reference.rpartition("#")[2] if "#" in reference else reference
    branch = branch.removeprefix("refs/heads/").removeprefix("refs/tags/")
    token = environ.get("GIT_TOKEN", "") or environ.get("GIT_PASSWORD", "")
    user = environ.get("GIT_USERNAME", "")
    login = f"{user or 'x-access-token'}:{token}@" if token else ""
    place = f":{below}" if below else ""
    return f"https://{login}{address}#{branch}{place}"


def _context(options: Options, environ: Mapping[str, str]) -> str:
    text = options.text("context") or environ.get("BUILD_CONTEXT", "") or f"dir://{_CONTEXT}"
    below = options.text("context-sub-path")
    if directory := _local(text, below):
        return directory
    kind, _, path = text.partition("://")
    if kind == "tar":
        if path == "stdin" or below:
            raise InputError(
                "a context on standard input, or a directory inside of an archive, isn't supported here",
                hint="unpack it, and give --context dir://DIRECTORY",
            )
        return path
    if kind == "git":
        return _repository(path, below, environ)
    if kind == "https":
        return text
    raise InputError(
        f"contexts of {kind}:// aren't supported",
        hint="fetch it with that service's own program, and give --context dir://DIRECTORY",
    )


def _outputs(options: Options) -> Iterator[str]:
    names = options.values("destination")
    if not names and not options.is_set("no-push"):
        raise InputError(
            "You must provide --destination, or use --no-push", hint="-d registry.example/you/app"
        )
    chosen = [name for name in ("compression", "compression-level") if options.text(name)]
    attributes = "".join(f",{name}={options.text(name)}" for name in chosen)
    for name in names:
        parse_reference(name)
        yield f"--tag={name}"
    for kind in _output_kinds(options):
        yield f"--output={kind}{attributes}"


def _output_kinds(options: Options) -> Iterator[str]:
    archive = options.text("tar-path") or options.text("tarPath")
    layout = options.text("oci-layout-path")
    if archive:
        yield f"type=docker,dest={archive}"
    if layout:
        yield f"type=oci,tar=false,dest={layout}"
    if not options.is_set("no-push"):
        yield "type=image,push=true"
    elif not layout and not archive:
        yield "type=image"


def _caches(options: Options) -> Iterator[str]:
    if not options.is_set("cache"):
        return
    repository = options.text("cache-repo")
    names = options.values("destination")
    if not repository and names:
        repository = f"{parse_reference(names[0]).repository}/cache"
    if not repository:
        return
    yield f"--cache-from=type=registry,ref={repository}"
    if not options.is_set("no-push-cache") and not options.is_set("no-push"):
        yield f"--cache-to=type=registry,ref={repository},mode=max,ignore-error=true"


def _environ(options: Options) -> dict[str, str]:
    """Return variables for what is a matter of settings here."""
    insecure = list(options.values("insecure-registry")) + list(
        options.values("skip-tls-verify-registry")
    )
    everywhere = ("insecure", "insecure-pull", "skip-tls-verify", "skip-tls-verify-pull")
    if any(options.is_set(name) for name in everywhere):
        insecure = ["*"]
    found = {"POLYARCH_INSECURE_REGISTRIES": ",".join(insecure)}
    found["POLYARCH_REGISTRY_MIRRORS"] = ",".join(options.values("registry-mirror"))
    found["POLYARCH_REGISTRY_CA"] = ",".join(
        value.rpartition("=")[2] for value in options.values("registry-certificate")
    )
    return {name: text for name, text in found.items() if text}
