"""`docker`, for machines that have none: its commands for building, moving and looking at images.

Each is a command of ours, or one of docker's that only tells of images. What needs an engine with containers is
refused, so that a script ends there and not somewhere behind.

Source: docker's reference of the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.cli.commands import Entry
from polyarch.cli.commands import find as find_own
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.dockerflags import DOCKER_FLAGS, with_docker_flags
from polyarch.cli.frame.flags import Flag, Kind, parse_flags
from polyarch.cli.standins.called import Called
from polyarch.errors import InputError
from polyarch.record import replace
from polyarch.text.nearest import suggestion

__all__ = ["docker_call"]

_ROOT_FLAGS = (
    *DOCKER_FLAGS,
    Flag(name="debug", short="D", kind=Kind.SWITCH),
    Flag(name="help", short="h", kind=Kind.SWITCH),
    Flag(name="version", short="v", kind=Kind.SWITCH),
)
_OWN: Mapping[str, str] = {
    "bake": "bake",
    "build": "build",
    "builder build": "build",
    "builder prune": "prune",
    "image build": "build",
    "image pull": "pull",
    "image push": "push",
    "image rm": "rmi",
    "image tag": "tag",
    "login": "login",
    "logout": "logout",
    "pull": "pull",
    "push": "push",
    "rmi": "rmi",
    "run": "run",
    "tag": "tag",
}
"""docker's commands that are ours, by ours."""
_TELLING: Mapping[str, str] = {
    "context inspect": "standins.engine:CONTEXT_INSPECT",
    "context ls": "standins.engine:CONTEXT_LS",
    "context show": "standins.engine:CONTEXT_SHOW",
    "image inspect": "standins.images:INSPECT",
    "image ls": "standins.images:IMAGES",
    "images": "standins.images:IMAGES",
    "info": "standins.engine:INFO",
    "inspect": "standins.images:INSPECT",
    "manifest annotate": "standins.manifest:ANNOTATE",
    "manifest create": "standins.manifest:CREATE",
    "manifest inspect": "standins.manifest:INSPECT",
    "manifest push": "standins.manifest:PUSH",
    "manifest rm": "standins.manifest:RM",
    "system info": "standins.engine:INFO",
    "version": "standins.engine:VERSION",
}
"""docker's commands that tell of images and of what there is, and where each stands."""
_ALIASES = {"image list": "image ls", "image remove": "image rm", "context list": "context ls"}
_ENGINE = frozenset(
    [
        "attach",
        "commit",
        "compose",
        "container",
        "cp",
        "create",
        "diff",
        "events",
        "exec",
        "export",
        "history",
        "import",
        "kill",
        "logs",
        "network",
        "node",
        "pause",
        "plugin",
        "port",
        "ps",
        "rename",
        "restart",
        "scout",
        "search",
        "secret",
        "service",
        "stack",
        "start",
        "stats",
        "stop",
        "swarm",
        "system",
        "top",
        "trust",
        "unpause",
        "update",
        "volume",
        "wait",
    ]
)
"""docker's commands that need an engine, or another program."""


def docker_call(words: Sequence[str], context: Context) -> Called:
    """Understand a command line of docker's. Raises InputError for what can't be done without an engine."""
    options = parse_flags(_ROOT_FLAGS, words, mixed=False)
    context = with_docker_flags(options, context)
    context = replace(context, debug=context.debug or options.is_set("debug"))
    rest = list(options.arguments)
    if options.is_set("version"):
        return Called(entry=_telling("version"), words=["--short"], context=context)
    if not rest or options.is_set("help"):
        return Called(entry=_telling("info"), words=["--commands"], context=context)
    if rest[0] == "buildx":
        return Called(words=rest[1:], context=replace(context, program="docker buildx"))
    for count in (2, 1):
        name = " ".join(rest[:count])
        name = _ALIASES.get(name, name)
        if name in _OWN:
            return _own(name, rest[count:], context)
        if name in _TELLING:
            return Called(entry=_telling(name), words=rest[count:], context=context)
    raise _refusal(rest)


def _own(name: str, words: list[str], context: Context) -> Called:
    if _OWN[name] == "build":
        words = _built_to_be_used(words)
    found = find_own([_OWN[name]])
    if found is None:
        raise InputError(f"docker {name} isn't there yet", hint="docker --help lists what is")
    return Called(entry=replace(found[0], name=name), words=words, context=context)


def _built_to_be_used(words: list[str]) -> list[str]:
    """Return the words of a build that leaves an image, as docker's does unless another output is asked for."""
    outputs = ("--push", "--load", "-o", "--output", "--call", "--check")
    if any(word.partition("=")[0] in outputs or word.startswith("-o") for word in words):
        return words
    return ["--load", *words]


def _telling(name: str) -> Entry:
    return Entry(name=name, at=_TELLING[name], summary="")


def _refusal(words: Sequence[str]) -> InputError:
    if words[0] in _ENGINE:
        return InputError(
            f"docker {words[0]} isn't there: this docker is polyarch, which builds and moves images and runs no engine",
            hint="docker --help lists what is there",
        )
    names = {name.partition(" ")[0] for name in (*_OWN, *_TELLING)}
    near = suggestion(words[0], sorted(names))
    return InputError(
        f"docker: unknown command: docker {' '.join(words[:1])}{near}",
        hint="docker --help lists what is there",
    )
