"""`bake`: a definition is read, printed, listed, or built."""

from __future__ import annotations

import os
import posixpath

from polyarch.bakefile.access import Access, RemoteFile, Tree
from polyarch.bakefile.allowed import LOCAL_DELETE, Allowed, missing, read_allowed, with_changes
from polyarch.bakefile.config import Config, Plan, located, with_located_contexts
from polyarch.bakefile.definition import Surroundings, parse_files
from polyarch.bakefile.files import (
    FILES_VARIABLE,
    File,
    read_local,
    read_remote,
    split_environment,
)
from polyarch.bakefile.target import Target
from polyarch.bakefile.validate import check_target
from polyarch.cli.baking.fetching import open_access
from polyarch.cli.baking.flags import (
    BAKE_FLAGS,
    Words,
    changes,
    policies,
    progress_mode,
    read_variables,
    words,
)
from polyarch.cli.baking.lists import listing, read_listing
from polyarch.cli.baking.loading import Loading
from polyarch.cli.baking.logins import with_logins
from polyarch.cli.baking.permissions import ask_for
from polyarch.cli.display.display import check_mode
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Options
from polyarch.cli.frame.network import with_network, with_proxy
from polyarch.errors import InputError
from polyarch.golang.json import indented
from polyarch.golang.strconv import parse_bool, quote
from polyarch.platforms import host
from polyarch.record import frozen, replace
from polyarch.request.policies import Policy
from polyarch.request.values import is_address

__all__ = ["BAKE", "cleaned"]

_RELATIVE = "BUILDX_BAKE_FILE_RELATIVE_PATHS"
_EPOCH = "SOURCE_DATE_EPOCH"
_HERE = "cwd://"
_SILENT = ("quiet", "rawjson")


@frozen
class _Call:
    """What was asked for; `mode` is how progress is shown, `changes` are those of `--set` and of flags that stand for them."""

    options: Options
    context: Context
    words: Words
    mode: str
    changes: tuple[str, ...]
    allowed: Allowed


def _run(options: Options, context: Context) -> int:
    context = with_proxy(options, with_network(options, context))
    if options.is_set("print") and _wanted_list(options):
        raise InputError("--print and --list are mutually exclusive")
    _check_wishes(options)
    call = _Call(
        options=options,
        context=context,
        words=words(options.arguments),
        mode=progress_mode(options, context),
        changes=changes(options),
        allowed=read_allowed(options.values("allow")),
    )
    check_mode(call.mode)
    with Loading(call.mode, context) as loading:
        return _bake(call, loading)


def _bake(call: _Call, loading: Loading) -> int:
    options, context = call.options, call.context
    is_remote = bool(call.words.address)
    with open_access(call.allowed, context, call.mode, is_remote=is_remote) as access:
        definition = _read(call, access, loading)
        config = parse_files(definition.files, _surroundings(call, access))
    if call.mode not in _SILENT:
        for warning in config.warnings:
            context.warn(f"WARNING: {warning}")
    if wanted := _wanted_list(options):
        context.stdout.write(listing(read_listing(wanted), config))
        return 0
    plan = _located(_planned(config, call), definition, context)
    if options.is_set("print"):
        context.stdout.write(indented(plan.plain()).decode() + "\n")
        return 0
    if form := options.text("matrix"):
        from polyarch.cli.baking.matrix import matrix  # noqa: PLC0415 seldom

        context.stdout.write(matrix(plan, form))
        return 0
    from polyarch.cli.baking.building import build_plan  # noqa: PLC0415 most of the program

    address = call.words.address
    plan = with_logins(_with_located_contexts(plan, definition), address, context.environ)
    _ask(plan, definition, call, loading)
    return build_plan(plan, options, context, loading)


@frozen
class _Definition:
    """The files that were named; `source` is what an address of the command line names, if there is one."""

    files: tuple[File, ...]
    source: Tree | RemoteFile | None = None

    @property
    def is_of_caller(self) -> bool:
        """Whether all of it is what a program gave on standard input, as docker compose does."""
        return all(each.name == "-" for each in self.files)


def _read(call: _Call, access: Access, loading: Loading) -> _Definition:
    context = call.context
    given = call.options.values("file")
    names = given or split_environment(context.environ)
    local = [each.removeprefix(_HERE) for each in names if each.startswith(_HERE)]
    elsewhere = [each for each in names if not each.startswith(_HERE)]
    source: Tree | RemoteFile | None = None
    files: tuple[File, ...] = ()
    if call.words.address:
        source = access.fetch(call.words.address)
        files = read_remote(source, elsewhere)
    else:
        local = [each.removeprefix(_HERE) for each in names]
    if local or source is None:
        data = context.stdin.buffer.read() if "-" in local else b""
        sizes: list[tuple[str, int]] = []
        try:
            files += read_local(local, data, sizes)
        finally:
            loading.read(sizes, variable="" if given or not names else FILES_VARIABLE)
    if not files:
        raise InputError(
            "couldn't find a bake definition",
            hint="name a bake file with -f, or write docker-bake.hcl",
        )
    return _Definition(files=files, source=source)


def _ask(plan: Plan, definition: _Definition, call: _Call, loading: Loading) -> None:
    """Have what the plan needs allowed. Raises InputError if it isn't."""
    is_remote = definition.source is not None
    # Steps may use an agent that contexts are fetched with, too.
    allowed = with_changes(call.allowed, call.changes)
    lacks = missing(plan, allowed, call.context.environ, is_remote=is_remote)
    if call.mode == "rawjson" and definition.is_of_caller:
        # docker compose allows contexts only, and has files of secrets, agents and the host's network besides.
        if LOCAL_DELETE in lacks.values:
            flag = quote(f"--allow={LOCAL_DELETE}")
            raise InputError(
                f"additional privileges requested: pass {flag} to grant requested privileges"
            )
        return
    if lacks.values:
        loading.show()
    ask_for(lacks, call.context)


def _check_wishes(options: Options) -> None:
    """Raise InputError for what can't be asked for at once."""
    given = [name for name in ("graph", "join", "matrix", "shard") if options.given(name)]
    if len(given) > 1:
        raise InputError(f"--{given[0]} and --{given[1]} are mutually exclusive")
    if options.given("output") and not options.given("shard"):
        raise InputError(
            "--output is for the parts of --shard", hint="set those of targets: --set '*.output=…'"
        )


def _wanted_list(options: Options) -> str:
    if options.text("list"):
        return options.text("list")
    if options.is_set("list-targets"):
        return "targets"
    return "variables" if options.is_set("list-variables") else ""


def _surroundings(call: _Call, access: Access) -> Surroundings:
    context = call.context
    return Surroundings(
        environ=context.environ,
        variables=read_variables(call.options.values("var")),
        builtins={"BAKE_CMD_CONTEXT": call.words.context, "BAKE_LOCAL_PLATFORM": str(host())},
        directory=os.getcwd(),
        relative_to_files=_is_relative(context.environ.get(_RELATIVE, "").strip()),
        access=access,
    )


def _is_relative(text: str) -> bool:
    if not text:
        return False
    try:
        return parse_bool(text)
    except InputError as error:
        raise InputError(f'failed to parse {_RELATIVE} value "{text}": {error}') from None


def _planned(config: Config, call: _Call) -> Plan:
    context = call.context
    plan = config.plan(call.words.targets, call.changes, context.environ)
    targets = dict(plan.targets)
    if policies(call.options)[1]:
        off = (Policy(disabled=True),)
        targets = {name: replace(each, policy=off) for name, each in targets.items()}
    epoch = context.environ.get(_EPOCH)
    if epoch:
        for name, each in targets.items():
            if _EPOCH not in (each.args or {}):
                targets[name] = replace(each, args={**(each.args or {}), _EPOCH: epoch})
    return replace(plan, targets=targets)


def _located(plan: Plan, definition: _Definition, context: Context) -> Plan:
    """Return the plan with contexts that are where the definition came from, once it is checked."""
    targets = dict(plan.targets)
    for each in targets.values():
        check_target(each, context.environ)
    if isinstance(definition.source, Tree):
        targets = {name: located(each, definition.source) for name, each in targets.items()}
    return replace(plan, targets={name: cleaned(each) for name, each in targets.items()})


def _with_located_contexts(plan: Plan, definition: _Definition) -> Plan:
    source = definition.source
    if not isinstance(source, Tree):
        return plan
    targets = {name: with_located_contexts(each, source) for name, each in plan.targets.items()}
    return replace(plan, targets=targets)


def cleaned(target: Target) -> Target:
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
