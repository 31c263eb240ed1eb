"""`binfmt`: what runs the programs of each platform; and emulators for the whole machine.

The group's own form takes the flags of the image `tonistiigi/binfmt` and, given one of those, says what
that does and, like it, ends with 0 whatever became of each name; `install` and `uninstall` end with 1 if a name could
not be done.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.table import align
from polyarch.emulation.advertised import in_order
from polyarch.emulation.binfmt import BINFMT_DIRECTORY, HANDLERS, BinfmtMount, status
from polyarch.emulation.facts import Facts
from polyarch.emulation.machine import Change, install, mounted, uninstall
from polyarch.emulation.overview import overview
from polyarch.emulation.probe import executed
from polyarch.emulation.qemu import find_emulator
from polyarch.errors import MachineError
from polyarch.paths import state_directory
from polyarch.platforms import format_all
from polyarch.release import RELEASE

__all__ = ["BINFMT", "INSTALL", "STATUS", "UNINSTALL"]

_NAMES = ("all", *(handler.architecture for handler in HANDLERS))
_MOUNT = Flag(
    name="mount",
    default=BINFMT_DIRECTORY,
    help="Where binfmt_misc is, or shall be mounted",
    completes="directories",
)
_JSON = Flag(name="json", kind=Kind.SWITCH, help="Print JSON")
_RUNS = {
    "native": "natively",
    "emulator": "emulated",
    "handler": "by a handler",
    "image": "once fetched",
    "none": "not",
}


def _facts(context: Context) -> Facts:
    return Facts(state_directory(context.environ))


def _split(texts: Iterable[str]) -> list[str]:
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def _require_writable(directory: BinfmtMount) -> None:
    register = os.path.join(directory.path, "register")
    if not os.access(register, os.W_OK):
        raise MachineError(
            f"handlers at {directory.path} can't be changed: permission denied",
            hint="this needs root: run it with sudo (in a container: with --privileged)",
        )


def _change(
    context: Context, path: str, *, remove: Iterable[str] = (), add: Iterable[str] = ()
) -> bool:
    """Take handlers away, then register others, saying what becomes of each; tell if all went well."""
    remove, add = _split(remove), _split(add)
    with mounted(path, keep=True) as directory:
        _require_writable(directory)
        gone = [_tell(context, "uninstalling", each) for each in uninstall(remove, directory)]
        facts = _facts(context)
        new = [
            _tell(context, "installing", each)
            for each in install(add, directory, facts, context.environ)
        ]
    return all([*gone, *new])


def _tell(context: Context, what: str, change: Change) -> bool:
    context.warn(f"{what}: {change}")
    return not change.trouble


def _show(
    context: Context, path: str, show: Callable[[Context, BinfmtMount], None] | None = None
) -> None:
    show = show or _print_status
    directory = BinfmtMount(path)
    if directory.mounted or os.geteuid() != 0:
        show(context, directory)
        return
    with mounted(path, keep=False) as directory:
        show(context, directory)


def _print_status(context: Context, directory: BinfmtMount) -> None:
    context.print(_indented(_machine(context, directory)))


def _machine(context: Context, directory: BinfmtMount) -> dict[str, object]:
    """Return what `tonistiigi/binfmt` says of the machine as it is."""
    supported = [format_all(platform) for platform in in_order(executed(_facts(context)))]
    return status(supported, directory.entries())


def _indented(found: Mapping[str, object]) -> str:
    return json.dumps(found, indent=2)


# --- what builds would use ---


def _print_ways_json(context: Context, directory: BinfmtMount) -> None:
    ways = overview(_facts(context), context.environ, directory)
    platforms = [way.to_json() for way in ways]
    context.print(_indented({**_machine(context, directory), "platforms": platforms}))


def _print_ways(context: Context, directory: BinfmtMount) -> None:
    rows = ["PLATFORM\tRUNS\tSTART\tBY\tWHY"]
    for way in overview(_facts(context), context.environ, directory):
        start = "-" if way.start is None else f"{way.start * 1000:.1f} ms"
        by = f"{way.program} {way.version}".strip() or way.image or "-"
        rows.append(f"{way.platform}\t{_RUNS[way.how]}\t{start}\t{by}\t{way.why}")
    context.stdout.write(align("".join(f"{row}\n" for row in rows)))


def _ways(options: Options, context: Context) -> None:
    show = _print_ways_json if options.is_set("json") else _print_ways
    _show(context, options.text("mount"), show)


# --- the group's own form ---


def _binfmt(options: Options, context: Context) -> int:
    if options.is_set("version"):
        context.warn(_version(context))
        return 0
    path = options.text("mount")
    remove, add = options.values("uninstall"), options.values("install")
    if remove or add:
        _change(context, path, remove=remove, add=add)
        _show(context, path)
    else:
        _ways(options, context)
    return 0


def _version(context: Context) -> str:
    """Return the versions of ourselves, of the first emulator that is found, and of Python."""
    facts = _facts(context)
    qemu = "none"
    for handler in HANDLERS:
        emulator = find_emulator(handler.architecture, facts, context.environ)
        if emulator is not None:
            qemu = "v" + ".".join(map(str, emulator.version))
            break
    python = ".".join(map(str, sys.version_info[:3]))
    return f"binfmt/polyarch-{RELEASE} qemu/{qemu} python/{python}"


BINFMT = Command(
    usage="[OPTIONS] | COMMAND",
    run=_binfmt,
    example=(
        "$ polyarch binfmt\n"
        "$ sudo polyarch binfmt --install arm64,riscv64\n"
        "$ sudo polyarch binfmt --uninstall 'qemu-*'"
    ),
    description=(
        "Commands: install, status, uninstall. The flags are those of the image tonistiigi/binfmt.\n"
        "polyarch's own builds need none of this: they register emulators for themselves."
    ),
    flags=(
        Flag(
            name="install",
            kind=Kind.LIST,
            help='Architectures to install, comma separated, or "all"',
            choices=_NAMES,
        ),
        Flag(
            name="uninstall",
            kind=Kind.LIST,
            help="Architectures or entries to remove, comma separated",
            completes="emulators",
        ),
        _JSON,
        _MOUNT,
        Flag(name="version", kind=Kind.SWITCH, help="Show versions"),
    ),
)


# --- commands of the group ---


def _install(options: Options, context: Context) -> int:
    done = _change(context, options.text("mount"), add=options.arguments)
    _show(context, options.text("mount"))
    return 0 if done else 1


INSTALL = Command(
    usage="[OPTIONS] ARCH[,ARCH...] | all",
    run=_install,
    least=1,
    most=None,
    completes="architectures",
    example="$ sudo polyarch binfmt install all\n$ sudo polyarch binfmt install arm64,s390x",
    description=(
        "Emulators are looked for in $QEMU_BINARY_PATH and on PATH (Debian: qemu-user-static)."
    ),
    flags=(_MOUNT,),
)


def _uninstall(options: Options, context: Context) -> int:
    done = _change(context, options.text("mount"), remove=options.arguments)
    _show(context, options.text("mount"))
    return 0 if done else 1


UNINSTALL = Command(
    usage="[OPTIONS] NAME[,NAME...]",
    run=_uninstall,
    least=1,
    most=None,
    completes="emulators",
    example="$ sudo polyarch binfmt uninstall arm64\n$ sudo polyarch binfmt uninstall 'qemu-*'",
    flags=(_MOUNT,),
)


def _status(options: Options, context: Context) -> int:
    _ways(options, context)
    return 0


STATUS = Command(
    usage="[OPTIONS]",
    run=_status,
    example="$ polyarch binfmt status\n$ polyarch binfmt status --json",
    description=(
        "For each platform: what would run its programs in a build, why that, and how long it takes to start,\n"
        "which is measured. Nothing is fetched for it."
    ),
    flags=(_JSON, _MOUNT),
)
