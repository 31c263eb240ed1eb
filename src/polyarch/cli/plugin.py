"""`plugin`: polyarch as `docker buildx`, or as `docker polyarch`, with nothing but docker's client.

A plugin is a program called `docker-NAME` in one of docker's directories. It is asked what it is with the
argument `docker-cli-plugin-metadata`, and called with its name and the user's words. Ours is a script of
two lines that starts this very Python with this very package.

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
from polyarch.cli.frame.release import RELEASE
from polyarch.cli.frame.table import align
from polyarch.errors import InputError, MachineError, NotFound
from polyarch.paths import PLUGIN_VARIABLE, docker_config_directory, replacing

__all__ = ["INSTALL", "LS", "UNINSTALL", "metadata", "script"]

_NAMES = ("buildx", "polyarch")
_AS = Flag(
    name="as", default="buildx", help="Name of the plugin (buildx, polyarch)", choices=_NAMES
)


def metadata() -> str:
    """Return what docker asks a plugin for."""
    return json.dumps(
        {
            "SchemaVersion": "0.1.0",
            "Vendor": "polyarch",
            "Version": RELEASE,
            "ShortDescription": "Build images for many platforms, without a daemon or root",
        }
    )


def script(name: str) -> str:
    """Return the text of the plugin called `name`."""
    # No shell: it would cost as much as Python's own start. The interpreter may stand in a virtual
    # environment, so it isn't resolved; where the package is, Python must be told if it isn't installed.
    package = str(Path(polyarch.__file__).parent.parent)
    is_installed = package in _usual_paths()
    path = "" if is_installed else f"sys.path.insert(0, {package!r}); "
    return (
        f"#!{sys.executable}\n"
        f"import os, sys; {path}os.environ[{PLUGIN_VARIABLE!r}] = {name!r}; "
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
        return PLUGIN_VARIABLE.encode() in path.read_bytes()[:4096]
    except OSError:
        return False


def _name(options: Options) -> str:
    name = options.text("as")
    if name not in _NAMES:
        raise InputError(f"no plugin can be called {name!r}", hint=f"use {' or '.join(_NAMES)}")
    return name


def _install(options: Options, context: Context) -> int:
    name = _name(options)
    path = _directory(context.environ) / f"docker-{name}"
    if os.path.lexists(path) and not _is_ours(path) and not options.is_set("force"):
        raise InputError(
            f"{path} is another plugin", hint="replace it with --force, or use --as polyarch"
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(path) as aside:
            aside.write_text(script(name), encoding="utf-8")
            aside.chmod(0o755)
    except OSError as error:
        raise MachineError(f"can't write {path}: {error.strerror}") from error
    context.print(str(path))
    context.warn(f"docker {name} is polyarch now")
    return 0


def _uninstall(options: Options, context: Context) -> int:
    name = _name(options)
    path = _directory(context.environ) / f"docker-{name}"
    if not os.path.lexists(path):
        raise NotFound(f"there is no plugin {path}")
    if not _is_ours(path):
        raise InputError(f"{path} is another plugin, which stays")
    try:
        path.unlink()
    except OSError as error:
        raise MachineError(f"can't remove {path}: {error.strerror}") from error
    context.warn(f"{path} removed")
    return 0


def _ls(options: Options, context: Context) -> int:
    del options
    directory = _directory(context.environ)
    ours = [path for path in sorted(directory.glob("docker-*")) if _is_ours(path)]
    rows = [f"{path.name.removeprefix('docker-')}\t{path}" for path in ours]
    lines = ["NAME\tPATH", *rows]
    context.stdout.write(align("".join(f"{line}\n" for line in lines)))
    return 0


INSTALL = Command(
    usage="[OPTIONS]",
    run=_install,
    example="$ polyarch plugin install --as buildx\n$ docker buildx version",
    flags=(
        _AS,
        Flag(name="force", short="f", kind=Kind.SWITCH, help="Replace a plugin that isn't ours"),
    ),
)
UNINSTALL = Command(
    usage="[OPTIONS]",
    run=_uninstall,
    example="$ polyarch plugin uninstall --as buildx",
    flags=(_AS,),
)
LS = Command(usage="", run=_ls, example="$ polyarch plugin ls")
