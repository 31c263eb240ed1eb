"""`plugin`: polyarch as `docker buildx`, with nothing but docker's client; or as other programs, with nothing at all.

A plugin is a program called `docker-NAME` in one of docker's directories. It is asked what it is with the
argument `docker-cli-plugin-metadata`, and called with its name and the user's words. Ours is a script of
two lines that starts this very Python with this very package. Such scripts called `buildx`, `docker` or
`executor` are for machines that lack those programs (`cli.standins`).

Source: docker's documentation of CLI plugins.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import polyarch
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.table import align
from polyarch.errors import InputError, MachineError, NotFound
from polyarch.paths import (
    PLUGIN_VARIABLE,
    STANDIN_VARIABLE,
    docker_config_directory,
    replacing,
    stands_in_for_buildx,
)
from polyarch.record import frozen
from polyarch.release import BUILDX_RELEASE, RELEASE

__all__ = ["INSTALL", "LS", "UNINSTALL", "metadata", "script"]

_NAMES = ("buildx", "polyarch")
_PROGRAMS = {"buildx": "buildx", "docker": "docker", "kaniko": "executor"}
"""What we may stand in for without docker, and what those programs are called."""
_AS = Flag(
    name="as", default="buildx", help="Name of the plugin (buildx, polyarch)", choices=_NAMES
)
_FLAGS = (
    _AS,
    Flag(name="buildx", kind=Kind.SWITCH, help="The program buildx, which needs no docker"),
    Flag(name="docker", kind=Kind.SWITCH, help="A docker for machines without Docker"),
    Flag(name="kaniko", kind=Kind.SWITCH, help="A /kaniko/executor that takes kaniko's flags"),
    Flag(
        name="directory",
        help="Where to put it (default: a directory of programs, docker's of plugins, or /kaniko)",
        completes="directories",
    ),
)


def metadata(environ: Mapping[str, str]) -> str:
    """Return what docker asks a plugin for."""
    return json.dumps(
        {
            "SchemaVersion": "0.1.0",
            "Vendor": "polyarch",
            "Version": BUILDX_RELEASE if stands_in_for_buildx(environ) else RELEASE,
            "ShortDescription": "Build images for many platforms, without a daemon or root",
        }
    )


def script(name: str, variable: str = PLUGIN_VARIABLE) -> str:
    """Return the text of the program that starts us with a variable set to `name`."""
    # No shell: it would cost as much as Python's own start. The interpreter may stand in a virtual
    # environment, so it isn't resolved; where the package is, Python must be told if it isn't installed.
    package = str(Path(polyarch.__file__).parent.parent)
    is_installed = package in _usual_paths()
    path = "" if is_installed else f"sys.path.insert(0, {package!r}); "
    return (
        f"#!{sys.executable}\n"
        f"import os, sys; {path}os.environ[{variable!r}] = {name!r}; "
        "from polyarch.__main__ import main; sys.exit(main())\n"
    )


def _usual_paths() -> Iterator[str]:
    """Give the directories in which this Python finds packages by itself, whatever the environment."""
    told = {os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(":")}
    told.add(os.getcwd())
    return (path for path in sys.path if path and os.path.abspath(path) not in told)


def _directory(environ: Mapping[str, str]) -> Path:
    return docker_config_directory(environ) / "cli-plugins"


def _is_ours(path: Path) -> bool:
    try:
        data = path.read_bytes()[:4096]
    except OSError:
        return False
    return any(each.encode() in data for each in (PLUGIN_VARIABLE, STANDIN_VARIABLE))


def _name(options: Options) -> str:
    name = options.text("as")
    if name not in _NAMES:
        raise InputError(f"no plugin can be called {name!r}", hint=f"use {' or '.join(_NAMES)}")
    return name


@frozen
class _Program:
    """A script of ours: where it is, and what it says."""

    path: Path
    text: str
    title: str


def _wanted(options: Options, context: Context) -> _Program:
    """Return what is to be installed or removed. Raises InputError for several at once."""
    chosen = [name for name in _PROGRAMS if options.is_set(name)]
    if len(chosen) > 1 or (chosen and options.given("as")):
        raise InputError("one program at a time", hint="call the command once for each")
    given = options.text("directory")
    if not chosen:
        name = _name(options)
        directory = Path(given) if given else _directory(context.environ)
        path = directory / f"docker-{name}"
        return _Program(path=path, text=script(name), title=f"docker {name}")
    name = chosen[0]
    directory = Path(given) if given else _programs(name, context.environ)
    return _Program(
        path=directory / _PROGRAMS[name], text=script(name, STANDIN_VARIABLE), title=_PROGRAMS[name]
    )


def _programs(name: str, environ: Mapping[str, str]) -> Path:
    """Return the directory for a program that isn't docker's plugin."""
    if name == "kaniko":
        return Path("/kaniko")
    if os.geteuid() == 0:
        return Path("/usr/local/bin")
    return Path(environ.get("HOME") or "~").expanduser() / ".local/bin"


def _install(options: Options, context: Context) -> int:
    program = _wanted(options, context)
    path = program.path
    if os.path.lexists(path) and not _is_ours(path) and not options.is_set("force"):
        raise InputError(
            f"{path} is another program's",
            hint="replace it with --force, or choose another --directory",
        )
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with replacing(path) as aside:
            aside.write_text(program.text, encoding="utf-8")
            aside.chmod(0o755)
    except OSError as error:
        raise MachineError(
            f"can't write {path}: {error.strerror}", hint="choose another --directory"
        ) from error
    context.print(str(path))
    context.warn(f"{program.title} is polyarch now")
    if program.title in {"buildx", "docker"} and not _is_on_path(path.parent, context.environ):
        context.warn(f"{path.parent} isn't in PATH: add it, or give another --directory")
    return 0


def _is_on_path(directory: Path, environ: Mapping[str, str]) -> bool:
    return str(directory) in environ.get("PATH", "").split(":")


def _uninstall(options: Options, context: Context) -> int:
    path = _wanted(options, context).path
    if not os.path.lexists(path):
        raise NotFound(
            f"there is no program {path}",
            hint="name what was installed: --as NAME, --buildx, --docker or --kaniko, and its --directory",
        )
    if not _is_ours(path):
        raise InputError(
            f"{path} is another program's, and stays", hint="--directory names another place"
        )
    try:
        path.unlink()
    except OSError as error:
        raise MachineError(f"can't remove {path}: {error.strerror}") from error
    context.warn(f"{path} removed")
    return 0


def _ls(options: Options, context: Context) -> int:
    del options
    directory = _directory(context.environ)
    plugins = [path for path in sorted(directory.glob("docker-*")) if _is_ours(path)]
    programs = [_programs(name, context.environ) / _PROGRAMS[name] for name in _PROGRAMS]
    ours = (*plugins, *(path for path in programs if _is_ours(path)))
    rows = [f"{path.name.removeprefix('docker-')}\t{path}" for path in ours]
    lines = ["NAME\tPATH", *rows]
    context.stdout.write(align("".join(f"{line}\n" for line in lines)))
    return 0


INSTALL = Command(
    usage="[OPTIONS]",
    run=_install,
    example=(
        "$ polyarch plugin install --as buildx\n$ docker buildx version\n"
        "$ polyarch plugin install --docker\n$ docker build -t app ."
    ),
    flags=(
        *_FLAGS,
        Flag(name="force", short="f", kind=Kind.SWITCH, help="Replace a program that isn't ours"),
    ),
)
UNINSTALL = Command(
    usage="[OPTIONS]",
    run=_uninstall,
    example="$ polyarch plugin uninstall --as buildx",
    flags=_FLAGS,
)
LS = Command(usage="", run=_ls, example="$ polyarch plugin ls")
