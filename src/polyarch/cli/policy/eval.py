"""`policy eval`: what a policy says of a source, or what it is told of one."""

from __future__ import annotations

import os
from collections.abc import Iterable

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.network import AUTHORITIES, with_authorities
from polyarch.cli.policy.sources import HERE, one_platform, open_finder, parse_source
from polyarch.errors import InputError
from polyarch.golang.json import indented
from polyarch.policies.checking import decide
from polyarch.policies.finding import Finder
from polyarch.policies.inputs import Env, Input, input_of
from polyarch.policies.policy import Action, Decision, File, Level, Log, Policy
from polyarch.policies.told import NOTHING, Source, Wish

__all__ = ["EVAL", "PolicyDenied"]

_STDIN = "-"


class PolicyDenied(InputError):
    """The policy doesn't allow the source."""

    exit_status = 1


def _eval(options: Options, context: Context) -> int:
    context = with_authorities(options, context)
    source = parse_source(options.arguments[0], one_platform(options.text("platform")))
    if options.is_set("print"):
        _print(source, tuple(options.values("fields")), context)
        return 0
    name = options.text("filename") if options.given("filename") else options.text("file")
    policy = Policy(
        [_file(name, context)],
        Env(args={}, labels={}, filename="stdin" if name == _STDIN else os.path.basename(name)),
        HERE.read,
        _logger(context),
    )
    with open_finder(context) as finder:
        _require(decide(policy, source, finder.find))
    return 0


def _file(name: str, context: Context) -> File:
    if not name:
        raise InputError("filename is required")
    if name == _STDIN:
        return File(name=_STDIN, text=context.stdin.read())
    path = f"{name}.rego"
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return File(name=os.path.basename(path), text=stream.read())
    except OSError as error:
        raise InputError(
            f"failed to read policy file {path}: {error.strerror}",
            hint="--file names the Dockerfile: its policy is called like it, with .rego behind",
        ) from error


def _logger(context: Context) -> Log:
    def log(_level: Level, text: str) -> None:
        if context.debug:
            context.warn(text)

    return log


def _require(decision: Decision) -> None:
    if decision.action != Action.DENY:
        return
    words = "; ".join(filter(None, decision.messages))
    raise PolicyDenied(f"policy denied: {words}" if words else "policy denied")


# --- what a policy is told ---


def _print(source: Source, fields: tuple[str, ...], context: Context) -> None:
    given, invalid = input_of(source, NOTHING), list(fields)
    if fields:
        with open_finder(context) as finder:
            given, invalid = _filled(source, given, fields, finder)
    if invalid:
        context.warn(f"WARNING: invalid fields: {', '.join(invalid)}")
    if unresolved := _unresolved(given.pending, fields):
        context.warn(f"unresolved fields: {', '.join(unresolved)}")
    shown = {name: each for name, each in given.fields.items() if name != "env"}
    context.print(indented(shown).decode())


def _filled(
    source: Source, given: Input, fields: Iterable[str], finder: Finder
) -> tuple[Input, list[str]]:
    """Find out about fields; returns the input, and what can't be found out."""
    invalid = []
    wanted: set[str] = set()
    for each in fields:
        found = _pending(each, given.pending)
        if found:
            wanted.add(found)
        else:
            invalid.append(each)
    if wanted:
        told = finder.find(source, Wish(fields=frozenset(wanted)))
        given = input_of(source, told)
    return given, invalid


def _pending(name: str, pending: Iterable[str]) -> str:
    """Return the pending field that has a field in it, "" for none."""
    return next(
        (each for each in pending if name == each or name.startswith((f"{each}.", f"{each}["))), ""
    )


def _unresolved(pending: tuple[str, ...], fields: tuple[str, ...]) -> list[str]:
    if not fields:
        return sorted(set(pending))
    return sorted({_pending(each, pending) for each in fields} - {""})


EVAL = Command(
    usage="[OPTIONS] source",
    run=_eval,
    needs_engine=True,
    least=1,
    most=1,
    example=(
        "$ polyarch policy eval docker-image://alpine:3.20\n"
        "$ polyarch policy eval --print --fields image.labels docker-image://alpine:3.20"
    ),
    flags=(
        AUTHORITIES,
        Flag(name="fields", kind=Kind.FIELDS, help="Fields to evaluate"),
        Flag(name="file", short="f", default="Dockerfile", help="Policy filename to evaluate"),
        Flag(
            name="filename", default="Dockerfile", help="Policy filename to evaluate", hidden=True
        ),
        Flag(name="platform", help="Target platform for policy evaluation", completes="platforms"),
        Flag(name="print", kind=Kind.SWITCH, help="Print policy output"),
    ),
)
