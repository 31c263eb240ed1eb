"""`dap build`: a build that an editor debugs, over standard input and output; `dap attach`: a terminal for it."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polyarch
from polyarch.cli.building.build import run_build
from polyarch.cli.building.request import read_flags
from polyarch.cli.building.table import BUILD_FLAGS
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Options, parse_flags
from polyarch.debugger.link import Link
from polyarch.errors import InputError, PolyarchError
from polyarch.record import replace

if TYPE_CHECKING:
    from polyarch.debugger.adapter import Launch

__all__ = ["ATTACH", "DAP"]

# Terminals of editors don't know where the package is, if it isn't installed.
_MAIN = (
    f"import sys; sys.path.insert(0, {str(Path(polyarch.__file__).parent.parent)!r}); "
    "from polyarch.__main__ import main; sys.exit(main())"
)
_ATTACH = (sys.executable, "-P", "-c", _MAIN, "dap", "attach")


def _build(options: Options, context: Context) -> int:
    link = _taken(context)
    # What talks with editors, once there is one.
    from polyarch.debugger.adapter import Adapter  # noqa: PLC0415

    adapter = Adapter(link, _ATTACH)
    launch = adapter.launched(lambda launch: _check(_merged(options, launch), context))
    output = _output(link)
    builder = launch.builder or context.builder
    shown = replace(context, stdout=output, stderr=output, builder=builder)
    try:
        status = run_build(_merged(options, launch), shown, adapter)
    except PolyarchError as error:
        failure = error
        _end(lambda: adapter.ended(failure.exit_status, str(failure)))
        raise
    except BaseException:
        _end(lambda: adapter.ended(1, "the build ended unexpectedly"))
        raise
    _end(lambda: adapter.ended(status))
    return status


def _taken(context: Context) -> Link:
    """Return the link over our standard streams, which nobody else reads or writes from now on."""
    context.stdout.flush()
    link = Link(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return link


def _end(tell: Callable[[], None]) -> None:
    """Tell the editor of the end; what it does to us then makes no difference to the status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell()


def _merged(options: Options, launch: Launch) -> Options:
    """Return the flags of the command line with what an editor has said. Raises InputError."""
    given = parse_flags(BUILD_FLAGS, launch.words)
    named = {"file": launch.dockerfile, "target": launch.target}
    merged = options.with_others(given, {name: each for name, each in named.items() if each})
    arguments = (launch.context,) if launch.context else given.arguments or options.arguments
    return replace(merged, arguments=arguments)


def _check(options: Options, context: Context) -> None:
    """Raise InputError for what can't be built."""
    if not options.arguments:
        raise InputError("there is no build context: contextPath isn't given")
    if len(options.arguments) > 1:
        raise InputError(f"a build has one context, and these are {len(options.arguments)}")
    read_flags(options, context.environ)


class _Output(io.RawIOBase):
    """A file that is shown by the editor."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def writable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def write(self, data: Any, /) -> int:
        """See io.RawIOBase."""
        found = bytes(data)
        self._link.tell("stdout", found.decode(errors="replace"))
        return len(found)


def _output(link: Link) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(link)), encoding="utf-8", errors="replace", line_buffering=True
    )


def _attach(options: Options, context: Context) -> int:
    from polyarch.debugger.terminals import lend_terminal  # noqa: PLC0415 which the other doesn't

    lend_terminal(options.arguments[0], context.stdin.fileno(), context.stdout.fileno())
    return 0


DAP = Command(
    usage="[OPTIONS] [PATH | URL | -]",
    run=_build,
    least=0,
    most=1,
    needs_engine=True,
    completes="directories",
    flags=BUILD_FLAGS,
    example="$ polyarch dap build .    # by an editor, which speaks the Debug Adapter Protocol with it",
    description=(
        "Speaks the Debug Adapter Protocol over standard input and output: editors stop a build before its steps, look at\n"
        "arguments and files, and open terminals there. What the editor's launch request says goes before the flags."
    ),
)

ATTACH = Command(
    usage="PATH",
    run=_attach,
    least=1,
    most=1,
    example="$ polyarch dap attach /tmp/polyarch-debug-x/s.sock    # by an editor",
)
