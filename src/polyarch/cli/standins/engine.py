"""`docker version`, `info` and `context` where there is no engine: who answers, in docker's form."""

from __future__ import annotations

import os
import platform as machine
from collections.abc import Mapping

from polyarch import __version__
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.store import open_store
from polyarch.cli.frame.table import parse_format
from polyarch.errors import NotFound
from polyarch.golang.json import indented
from polyarch.golang.template.template import parse_template
from polyarch.golang.template.values import Value
from polyarch.images.local import list_images
from polyarch.paths import state_directory
from polyarch.platforms import host
from polyarch.release import BUILDX_RELEASE

__all__ = ["CONTEXT_INSPECT", "CONTEXT_LS", "CONTEXT_SHOW", "INFO", "VERSION"]

_API = "1.44"
_DEFAULT = "default"
_HELP = """\
docker, as polyarch has it: images without an engine

Commands:
  bake, build, builder, buildx           Build images
  login, logout, pull, push, manifest    Registries
  image, images, inspect, rmi, tag       Images of the local store
  run                                    A program of an image, on any platform
  context, info, version                 What there is

What needs an engine (containers, networks, volumes) isn't there.
"""


def _version(options: Options, context: Context) -> int:
    if options.is_set("short"):
        context.print(f"Docker version {__version__}, build polyarch")
        return 0
    client: dict[str, Value] = {
        "Platform": {"Name": "polyarch"},
        "Version": __version__,
        "ApiVersion": _API,
        "DefaultAPIVersion": _API,
        "GitCommit": "polyarch",
        "Os": "linux",
        "Arch": host().architecture,
        "Context": _DEFAULT,
    }
    fields: dict[str, Value] = {"Client": client, "Server": {**client, "MinAPIVersion": _API}}
    if form := options.text("format"):
        _render(form, fields, context)
        return 0
    for title in ("Client: polyarch", "Server: polyarch (no engine)"):
        context.print(title)
        context.print(f" Version:           {__version__}")
        context.print(f" API version:       {_API}")
        context.print(f" OS/Arch:           linux/{host().architecture}")
        context.print(f" Context:           {_DEFAULT}")
        context.print()
    return 0


def _info(options: Options, context: Context) -> int:
    if options.is_set("commands"):
        context.stdout.write(_HELP)
        return 0
    with open_store(context, works=False) as store:
        count = len(list_images(store))
    root = str(state_directory(context.environ))
    fields: dict[str, Value] = {
        "ID": "",
        "Containers": 0,
        "Images": count,
        "Driver": "polyarch",
        "ServerVersion": __version__,
        "OSType": "linux",
        "OperatingSystem": machine.platform(),
        "KernelVersion": machine.release(),
        "Architecture": machine.machine(),
        "NCPU": os.cpu_count() or 1,
        "DockerRootDir": root,
        "Name": machine.node(),
        "SecurityOptions": ["name=rootless"] if os.geteuid() else [],
        "Warnings": [],
        "ClientInfo": {
            "Context": _DEFAULT,
            "Plugins": [{"Name": "buildx", "Version": BUILDX_RELEASE, "Vendor": "polyarch"}],
        },
    }
    if form := options.text("format"):
        _render(form, fields, context)
        return 0
    context.print(
        f"Client: polyarch\n Version:    {__version__}\n Context:    {_DEFAULT}\n"
        f" Plugins:\n  buildx: polyarch {BUILDX_RELEASE}\n\n"
        f"Server:\n Containers: 0\n Images: {count}\n Server Version: {__version__}\n"
        f" Storage Driver: polyarch\n OSType: linux\n Architecture: {machine.machine()}\n"
        f" CPUs: {os.cpu_count() or 1}\n Docker Root Dir: {root}"
    )
    return 0


def _render(form: str, fields: Value, context: Context) -> None:
    template = parse_template("{{json .}}" if form == "json" else form)
    context.print(template.render(fields, record="docker"))


# --- contexts ---


def _context_fields(environ: Mapping[str, str]) -> dict[str, Value]:
    endpoint = environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    return {
        "Name": _DEFAULT,
        "Description": "polyarch, without an engine",
        "DockerEndpoint": endpoint,
        "Current": True,
        "Error": "",
        "ContextType": "moby",
    }


def _context_ls(options: Options, context: Context) -> int:
    if options.is_set("quiet"):
        context.print(_DEFAULT)
        return 0
    form = parse_format(
        options.text("format"),
        default="{{.Name}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
    )
    fields = _context_fields(context.environ)
    if form.is_table:
        fields["Name"] = f"{_DEFAULT} *"
    titles = {
        "Name": "NAME",
        "Description": "DESCRIPTION",
        "DockerEndpoint": "DOCKER ENDPOINT",
        "Error": "ERROR",
    }
    context.stdout.write(form.render([fields], titles=titles))
    return 0


def _context_show(options: Options, context: Context) -> int:
    del options
    context.print(_DEFAULT)
    return 0


def _context_inspect(options: Options, context: Context) -> int:
    for name in options.arguments:
        if name != _DEFAULT:
            raise NotFound(f'context "{name}": context not found', hint="there is one: default")
    host_address = _context_fields(context.environ)["DockerEndpoint"]
    fields: dict[str, Value] = {
        "Name": _DEFAULT,
        "Metadata": {},
        "Endpoints": {"docker": {"Host": host_address, "SkipTLSVerify": False}},
        "TLSMaterial": {},
        "Storage": {"MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>"},
    }
    if form := options.text("format"):
        _render(form, fields, context)
    else:
        context.print(indented([fields]).decode())
    return 0


_FORMAT = Flag(name="format", short="f", help="Format output using a custom template")
VERSION = Command(
    usage="[OPTIONS]",
    run=_version,
    example="$ docker version --format '{{.Server.Version}}'",
    flags=(_FORMAT, Flag(name="short", kind=Kind.SWITCH, hidden=True)),
)
INFO = Command(
    usage="[OPTIONS]",
    run=_info,
    example="$ docker info --format '{{.OSType}}/{{.Architecture}}'",
    flags=(_FORMAT, Flag(name="commands", kind=Kind.SWITCH, hidden=True)),
)
CONTEXT_LS = Command(
    usage="[OPTIONS]",
    run=_context_ls,
    example="$ docker context ls",
    flags=(
        Flag(name="format", default="table", help="Format output using a custom template"),
        Flag(name="quiet", short="q", kind=Kind.SWITCH, help="Only show context names"),
    ),
)
CONTEXT_SHOW = Command(usage="", run=_context_show, example="$ docker context show")
CONTEXT_INSPECT = Command(
    usage="[OPTIONS] [CONTEXT...]",
    run=_context_inspect,
    most=None,
    example="$ docker context inspect",
    flags=(_FORMAT,),
)
