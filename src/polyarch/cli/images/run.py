"""`run`: a program of an image, of any platform, on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.engine import open_engine
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.interrupt import cancel_on_signals
from polyarch.cli.frame.network import AUTHORITIES, OFFLINE, with_network
from polyarch.cli.frame.report import CommandFailed
from polyarch.cli.images.terminal import open_talk
from polyarch.engine.run import ProgramRefused, RunRequest, run_image
from polyarch.errors import Cancelled, InputError, PolyarchError
from polyarch.http.offline import is_offline
from polyarch.platforms import parse_list
from polyarch.progress import Event, StatusEvent
from polyarch.record import replace
from polyarch.request.talk import SILENCE, Talk

__all__ = ["RUN", "RunFailed", "read_run"]

_OWN_FAILURE = 125


class _Announcer:
    """A sink that says once that an image has to be fetched: there is nothing to see otherwise."""

    def __init__(self, reference: str, context: Context) -> None:
        self._reference = reference
        self._context = context
        self._is_said = False

    def __call__(self, event: Event) -> None:
        if not self._is_said and isinstance(event, StatusEvent) and event.total:
            self._is_said = True
            self._context.warn(f"Fetching {self._reference}")


class RunFailed(CommandFailed):
    """The program never ran; told apart from its own failure by the exit status, as docker does."""

    exit_status = _OWN_FAILURE

    def __init__(self, error: PolyarchError) -> None:
        super().__init__("", error)
        is_refused = isinstance(error, ProgramRefused)
        self.exit_status = error.exit_status if is_refused else _OWN_FAILURE


def read_run(options: Options, environ: Mapping[str, str]) -> RunRequest:
    """Understand the command line of a run. Raises InputError."""
    platforms = parse_list(filter(None, (options.text("platform"),)))
    if len(platforms) > 1:
        raise InputError("a program runs on one platform: --platform takes one")
    network = options.text("network")
    if network not in {"default", "host", "none"}:
        raise InputError(f"network {network!r} isn't there: use host or none")
    pull = options.text("pull")
    if pull not in {"always", "missing"}:
        raise InputError(f"invalid pull option: {pull!r}: must be one of always or missing")
    reference, *arguments = options.arguments
    return RunRequest(
        reference=reference,
        arguments=tuple(arguments),
        platform=platforms[0] if platforms else None,
        env=(*_env_files(options), *_variables(options.values("env"), environ)),
        binds=tuple(map(_bind, options.values("volume"))),
        workdir=options.text("workdir"),
        user=options.text("user"),
        entrypoint=options.text("entrypoint") if options.given("entrypoint") else None,
        network=network,
        hostname=options.text("hostname"),
        pull=pull == "always",
    )


def _variables(values: tuple[str, ...], environ: Mapping[str, str]) -> Iterator[str]:
    """Give `NAME=value` each; a bare name has our own value, and is left out without one."""
    for value in values:
        if value.startswith("=") or not value:
            raise InputError(
                f"invalid environment variable: {value}",
                hint="write NAME=VALUE, or NAME for your own value",
            )
        if "=" in value:
            yield value
        elif value in environ:
            yield f"{value}={environ[value]}"


def _env_files(options: Options) -> Iterator[str]:
    for path in options.values("env-file"):
        try:
            with open(path, encoding="utf-8") as stream:
                lines = stream.read().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"can't read {path}: {error}") from error
        yield from _variables(
            tuple(line for line in map(str.lstrip, lines) if line and not line.startswith("#")),
            os.environ,
        )


def _bind(value: str) -> tuple[str, str, bool]:
    source, colon, rest = value.partition(":")
    target, _, mode = rest.partition(":")
    if not colon or not source or not target.startswith("/"):
        raise InputError(
            f"invalid volume specification: '{value}'", hint="-v DIRECTORY:/ABSOLUTE/PATH[:ro]"
        )
    if "/" not in source and source not in {".", ".."}:
        raise InputError(
            f"{source} would be a named volume, which there are none of", hint=f"-v ./{value}"
        )
    if mode not in {"", "rw", "ro"}:
        raise InputError(f"invalid mode: {mode}", hint="a volume is rw or ro")
    return os.path.abspath(source), target, mode == "ro"


def _talk(options: Options, context: Context) -> AbstractContextManager[Talk]:
    interactive, terminal = options.is_set("interactive"), options.is_set("tty")
    if not interactive and not terminal:
        return nullcontext(SILENCE)
    return open_talk(context, interactive=interactive, terminal=terminal)


def _run(options: Options, context: Context) -> int:
    context = with_network(options, context)
    request = read_run(options, context.environ)
    if is_offline(context.environ):
        request = replace(request, network="none")
    streams = {1: context.stdout, 2: context.stderr}

    def show(stream: int, data: bytes) -> None:
        streams[stream].buffer.write(data)
        streams[stream].flush()

    try:
        with (
            _talk(options, context) as talk,
            open_engine(context) as engine,
            cancel_on_signals() as cancel,
        ):
            sink = _Announcer(request.reference, context)
            return run_image(engine, request, on_output=show, sink=sink, cancel=cancel, talk=talk)
    except Cancelled:
        raise
    except PolyarchError as error:
        raise RunFailed(error) from error


RUN = Command(
    usage="[OPTIONS] IMAGE [COMMAND] [ARG...]",
    run=_run,
    least=1,
    most=None,
    needs_engine=True,
    mixed=False,
    completes="images",
    example=(
        "$ polyarch run --rm --platform linux/arm64 alpine uname -m\n"
        "$ polyarch run --rm -v .:/src -w /src registry.example/you/app:v1"
    ),
    description=(
        "The exit status is the program's; 127 if there is none, 126 if it can't be executed, 125 if it "
        "didn't come to that. Nothing of the container is kept, with or without --rm."
    ),
    flags=(
        Flag(name="entrypoint", help="Run this instead of the image's entrypoint"),
        Flag(name="env", short="e", kind=Kind.LIST, help='Set a variable ("NAME=value")'),
        Flag(name="env-file", kind=Kind.LIST, help="Read variables from a file", completes="files"),
        Flag(name="hostname", help="Host name"),
        Flag(name="interactive", short="i", kind=Kind.SWITCH, help="Keep standard input open"),
        Flag(
            name="network",
            default="default",
            help="Network: host or none",
            choices=("host", "none"),
        ),
        AUTHORITIES,
        OFFLINE,
        Flag(name="platform", help="Platform of the image", completes="platforms"),
        Flag(
            name="pull",
            default="missing",
            help="Fetch the image before running (always, missing)",
            choices=("always", "missing"),
        ),
        Flag(name="rm", kind=Kind.SWITCH, help="Remove the container afterwards; always done"),
        Flag(name="tty", short="t", kind=Kind.SWITCH, help="Allocate a terminal"),
        Flag(name="user", short="u", help='User ("name|uid[:group|gid]")'),
        Flag(name="volume", short="v", kind=Kind.LIST, help='Mount a directory ("SRC:DST[:ro]")'),
        Flag(name="workdir", short="w", help="Working directory"),
    ),
)
