"""Arguments to commands, errors to messages: the only place where an error is shown.

The program is called in these ways::

    polyarch COMMAND ...                           by name, or with python -m
    docker-buildx docker-cli-plugin-metadata       by docker, to ask what the plugin is
    docker-buildx buildx COMMAND ...               by docker, for `docker buildx COMMAND ...`
    buildx, docker or kaniko's executor            in their place: see `cli.standins`

and by shells, and docker for them, with `__complete` before the words: see `cli.complete`.

Exit statuses: 0, 1 for most errors, 70 for a bug, 125 for a wrong call as a plugin, 130 if the user
ended it; `run` ends with the status of the program that it ran.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from polyarch.cli.commands import COMMANDS, GROUPS, Entry, find, load
from polyarch.cli.frame.command import Context, WrongCount
from polyarch.cli.frame.dockerflags import DOCKER_FLAGS, with_docker_flags
from polyarch.cli.frame.flags import Flag, Kind, Options, UsageError, parse_flags
from polyarch.cli.frame.report import WrongCall, report
from polyarch.cli.helptext import (
    GLOBAL_FLAGS,
    command_help,
    group_help,
    root_help,
    usage_hint,
)
from polyarch.errors import InputError, MachineError
from polyarch.late import load as load_late
from polyarch.paths import PLUGIN_VARIABLE, STANDIN_VARIABLE
from polyarch.record import replace
from polyarch.text.nearest import suggestion

__all__ = ["main"]

_METADATA = "docker-cli-plugin-metadata"
_COMPLETING = (["__complete"], ["__completeNoDesc"])
_PLUGIN_USAGE_STATUS = 125
_STANDINS = {
    "docker": "cli.standins.docker:docker_call",
    "kaniko": "cli.standins.kaniko:kaniko_call",
}
"""What understands the words of programs whose commands aren't ours."""
_HELP = Flag(name="help", short="h", kind=Kind.SWITCH)
_ROOT_FLAGS = (*GLOBAL_FLAGS, _HELP, Flag(name="version", kind=Kind.SWITCH))


def main(argv: Sequence[str]) -> int:
    """Carry out a command line, without the program's name; return the exit status."""
    context = _context()
    try:
        with _output_trouble():
            status = _run(list(argv), context)
            sys.stdout.flush()
        return status
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        debug = context.debug or _wants_debug(argv)
        return _fail(error, context, debug=debug)
    finally:
        _flush()


def _context() -> Context:
    plugin = os.environ.get(PLUGIN_VARIABLE, "")
    standin = os.environ.get(STANDIN_VARIABLE, "polyarch")
    return Context(
        program=f"docker {plugin}" if plugin else standin,
        environ=os.environ,
        stdin=sys.stdin,
        stdout=sys.stdout,
        stderr=sys.stderr,
        # As docker's programs: what the flag does, for those who call us through others.
        debug=bool(os.environ.get("DEBUG")),
    )


def _wants_debug(argv: Sequence[str]) -> bool:
    return "--debug" in argv or "-D" in argv


def _fail(error: BaseException, context: Context, *, debug: bool) -> int:
    try:
        return report(error, context.stderr, context.environ, debug=debug)
    except BrokenPipeError:
        return 1


@contextmanager
def _output_trouble() -> Iterator[None]:
    """Raise MachineError if what is printed finds no room. Other files' errors have been made ours."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        raise MachineError(f"can't write to standard output: {error.strerror}") from error


def _flush() -> None:
    """Write out what is left; whoever no longer listens is no trouble of ours."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # Python would complain once more when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _run(words: list[str], context: Context) -> int:
    plugin = os.environ.get(PLUGIN_VARIABLE, "")
    standin = _STANDINS.get(os.environ.get(STANDIN_VARIABLE, ""), "")
    if standin and not plugin:
        # Those who call us by our own name don't pay for it.
        translate = load_late(standin)
        assert callable(translate)
        called = translate(words, context)
        if called.entry is not None:
            status = _call(called.entry, called.words, called.context, help_wanted=False)
            if status == 0 and called.finish is not None:
                called.finish()
            return status
        words, context = called.words, called.context
    if plugin:
        return _run_plugin(plugin, words, context)
    if words[:1] in _COMPLETING:
        return _complete(words, context, plugin)
    return _run_command(_ROOT_FLAGS, words, context)


def _run_plugin(plugin: str, words: list[str], context: Context) -> int:
    if words[:1] == [_METADATA]:
        from polyarch.cli.plugin import metadata  # noqa: PLC0415 asked for by docker only

        context.print(metadata(context.environ))
        return 0
    if words[:1] in _COMPLETING:
        return _complete(words, context, plugin)
    flags = (*_ROOT_FLAGS, *DOCKER_FLAGS)
    if plugin in words:
        # Docker's own flags may come before the plugin's name.
        before = parse_flags(flags, words[: words.index(plugin)], mixed=False)
        words = words[words.index(plugin) + 1 :]
        context = with_docker_flags(before, _with_globals(before, context))
    return _run_command(flags, words, context)


def _run_command(flags: Sequence[Flag], words: list[str], context: Context) -> int:
    options = _root_options(flags, words, context)
    context = _with_globals(options, context)
    if options.is_set("version"):
        words = ["version"]
    elif not options.arguments:
        context.stdout.write(root_help(context.program))
        return 0
    else:
        words = list(options.arguments)
    found = find(words)
    if found is None:
        return _no_command(words, context)
    entry, count = found
    return _call(entry, words[count:], context, help_wanted=options.is_set("help"))


def _complete(words: list[str], context: Context, plugin: str) -> int:
    from polyarch.cli.complete import run_completion  # noqa: PLC0415 asked for by shells only

    asked, described = words[1:], words[0] == "__complete"
    if plugin in asked[:-1]:
        asked = asked[asked.index(plugin) + 1 :]
    return run_completion(asked, context, described=described)


def _root_options(flags: Sequence[Flag], words: Sequence[str], context: Context) -> Options:
    try:
        return parse_flags(flags, words, mixed=False)
    except UsageError as error:
        usage = (
            f"Usage:  {context.program} [OPTIONS] COMMAND\n\n"
            f"Run '{context.program} --help' for more information"
        )
        raise _wrong_call(error, usage, context) from error


def _wrong_call(error: UsageError, usage: str, context: Context) -> WrongCall:
    wrong = WrongCall(str(error), usage)
    if context.is_plugin and not isinstance(error, WrongCount):
        # By this status docker tells that it was its flags that were wrong.
        wrong.exit_status = _PLUGIN_USAGE_STATUS
    return wrong


def _with_globals(options: Options, context: Context) -> Context:
    return replace(
        context,
        builder=options.text("builder") or context.builder,
        debug=options.is_set("debug") or context.debug,
    )


def _no_command(words: Sequence[str], context: Context) -> int:
    if words[0] in {"help", "--help"}:
        return _help(words[1:], context)
    if words[0] == "buildx" and len(words) > 1:
        # Out of habit, or by an alias of docker.
        return _run(list(words[1:]), context)
    if words[0] in GROUPS:
        help_text = group_help(context.program, words[0])
        if len(words) == 1 or words[1] in {"--help", "-h"}:
            context.stdout.write(help_text)
            return 0
        context.stderr.write(help_text + "\n")
        raise InputError(f'unknown command: "{" ".join(words[:2])}"{_near(words[:2])}')
    # Only for those who ask for what has no use.
    from polyarch.cli.needless import NEEDLESS, refusal  # noqa: PLC0415

    if words[0] in NEEDLESS:
        raise refusal(words[0])
    context.stdout.write(root_help(context.program) + "\n")
    context.stdout.flush()
    raise InputError(
        f'unknown command: "{words[0]}"{_near(words[:1])}',
        hint=f"{context.program} --help lists the commands",
    )


def _near(words: Sequence[str]) -> str:
    """Suggest a command for the last of the words, among those that begin with the others."""
    group = "".join(f"{word} " for word in words[:-1])
    names = [entry.name for entry in COMMANDS if entry.name.startswith(group)]
    return suggestion(words[-1], [name.removeprefix(group) for name in names])


def _help(words: Sequence[str], context: Context) -> int:
    if not words:
        context.stdout.write(root_help(context.program))
        return 0
    return _run([*words, "--help"], context)


def _call(entry: Entry, words: Sequence[str], context: Context, *, help_wanted: bool) -> int:
    command = load(entry)
    own = {flag.name for flag in command.flags}
    shorts = {flag.short for flag in command.flags}
    shared = [
        replace(flag, short="") if flag.short in shorts else flag
        for flag in (*GLOBAL_FLAGS, _HELP)
        if flag.name not in own
    ]
    try:
        options = parse_flags((*command.flags, *shared), words, mixed=command.mixed)
        if help_wanted or options.is_set("help"):
            context.stdout.write(command_help(context.program, entry, command))
            return 0
        command.check_count(f"{context.program} {entry.name}", len(options.arguments))
    except UsageError as error:
        usage = usage_hint(context.program, entry, command)
        raise _wrong_call(error, usage, context) from error
    context = _with_globals(options, context)
    if command.needs_engine:
        context = _enter(context)
    return command.run(options, context)


def _enter(context: Context) -> Context:
    # Commands that only talk to a registry, or to nobody, don't pay for it.
    from polyarch.cli.frame.engine import enter  # noqa: PLC0415

    return enter(context)
