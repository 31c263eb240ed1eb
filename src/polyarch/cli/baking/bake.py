"""`bake`: a definition is read, printed, listed, or built."""

from __future__ import annotations

import os
import posixpath

from polyarch.bake.allowed import read_allowed
from polyarch.bake.config import Config, Plan
from polyarch.bake.definition import Surroundings, parse_files
from polyarch.bake.files import File, read_local, split_environment
from polyarch.bake.policies import Policy
from polyarch.bake.target import Target
from polyarch.bake.validate import check_target
from polyarch.cli.baking.flags import BAKE_FLAGS, Words, changes, policies, read_variables, words
from polyarch.cli.baking.lists import listing, read_listing
from polyarch.cli.display.display import check_mode
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Options
from polyarch.cli.frame.network import with_network, with_proxy
from polyarch.errors import InputError
from polyarch.golang.json import indented
from polyarch.golang.strconv import parse_bool
from polyarch.platforms import host
from polyarch.record import replace
from polyarch.request.values import is_address

__all__ = ["BAKE"]

_RELATIVE = "BUILDX_BAKE_FILE_RELATIVE_PATHS"
_EPOCH = "SOURCE_DATE_EPOCH"


def _run(options: Options, context: Context) -> int:
    context = with_proxy(options, with_network(options, context))
    asked = words(options.arguments)
    if asked.address:
        raise InputError(
            "bake definitions at an address aren't there yet",
            hint=f"fetch it, look at it, and bake there: git clone {asked.address}",
        )
    wanted_list = _wanted_list(options)
    if options.is_set("print") and wanted_list:
        raise InputError("--print and --list are mutually exclusive")
    overrides = changes(options)
    check_mode(options.text("progress"))
    allowed = read_allowed(options.values("allow"))
    files = _files(options, context)
    if not files:
        raise InputError(
            "couldn't find a bake definition",
            hint="name a bake file with -f, or write docker-bake.hcl",
        )
    around = _surroundings(options, context, asked)
    config = parse_files(files, around)
    if wanted_list:
        context.stdout.write(listing(read_listing(wanted_list), config))
        return 0
    plan = _planned(config, asked, overrides, (options, context))
    if options.is_set("print"):
        context.stdout.write(indented(plan.plain()).decode() + "\n")
        return 0
    from polyarch.cli.baking.building import build_plan  # noqa: PLC0415 most of the program

    return build_plan(plan, allowed, options, context)


def _wanted_list(options: Options) -> str:
    if options.text("list"):
        return options.text("list")
    if options.is_set("list-targets"):
        return "targets"
    return "variables" if options.is_set("list-variables") else ""


def _files(options: Options, context: Context) -> tuple[File, ...]:
    names = options.values("file") or split_environment(context.environ)
    stdin = context.stdin.buffer.read().decode("utf-8", "surrogateescape") if "-" in names else None
    return read_local([each.removeprefix("cwd://") for each in names], stdin)


def _surroundings(options: Options, context: Context, asked: Words) -> Surroundings:
    return Surroundings(
        environ=context.environ,
        variables=read_variables(options.values("var")),
        builtins={"BAKE_CMD_CONTEXT": asked.context, "BAKE_LOCAL_PLATFORM": str(host())},
        directory=os.getcwd(),
        relative_to_files=_is_relative(context.environ.get(_RELATIVE, "").strip()),
    )


def _is_relative(text: str) -> bool:
    if not text:
        return False
    try:
        return parse_bool(text)
    except InputError as error:
        raise InputError(f'failed to parse {_RELATIVE} value "{text}": {error}') from None


def _planned(
    config: Config, asked: Words, overrides: tuple[str, ...], call: tuple[Options, Context]
) -> Plan:
    options, context = call
    plan = config.plan(asked.targets, overrides, context.environ)
    targets = dict(plan.targets)
    if policies(options)[1]:
        off = (Policy(disabled=True),)
        targets = {name: replace(each, policy=off) for name, each in targets.items()}
    epoch = context.environ.get(_EPOCH)
    if epoch:
        for name, each in targets.items():
            if _EPOCH not in (each.args or {}):
                targets[name] = replace(each, args={**(each.args or {}), _EPOCH: epoch})
    for each in targets.values():
        check_target(each, context.environ)
    return replace(plan, targets={n: _cleaned(each) for n, each in targets.items()})


def _cleaned(target: Target) -> Target:
    """Return a target with its context as a path here, and with standard output where nothing is said."""
    outputs = tuple(
        replace(each, destination="-")
        if each.type in {"oci", "tar"} and not each.destination
        else each
        for each in target.output or ()
    )
    target = replace(target, output=outputs or target.output)
    context = target.context or "."
    if is_address(context):
        return target
    return replace(target, context=posixpath.normpath(context.removeprefix("cwd://") or "."))


BAKE = Command(
    usage="[OPTIONS] [TARGET...]",
    run=_run,
    example="$ polyarch bake --print",
    flags=BAKE_FLAGS,
    most=None,
)
