"""Help, laid out as docker's command line does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from polyarch.cli.commands import COMMANDS, GROUPS, Entry
from polyarch.cli.frame.command import Command
from polyarch.cli.frame.flags import Flag, Kind

__all__ = ["GLOBAL_FLAGS", "command_help", "group_help", "root_help", "usage_hint"]

GLOBAL_FLAGS = (
    Flag(name="builder", help="Override the configured builder instance", completes="builders"),
    Flag(name="debug", short="D", kind=Kind.SWITCH, help="Enable debug logging"),
)
_HELP = Flag(name="help", short="h", kind=Kind.SWITCH, help="Show this help")


def root_help(program: str) -> str:
    """Return the help of the program: the table of commands."""
    own = [entry for entry in COMMANDS if " " not in entry.name and not entry.hidden]
    plain = [entry for entry in own if entry.name not in GROUPS]
    version = Flag(name="version", kind=Kind.SWITCH, help="Show the version")
    return (
        f"Usage:  {program} [OPTIONS] COMMAND\n\n"
        "Build container images for many platforms, without a daemon or root\n\n"
        + _flags((*GLOBAL_FLAGS, version))
        + _table("Management Commands:", ((f"{name} *", text) for name, text in GROUPS.items()))
        + _table("Commands:", ((entry.name, entry.summary) for entry in plain))
        + f"Run '{program} COMMAND --help' for more information on a command.\n"
    )


def group_help(program: str, group: str) -> str:
    """Return the help of a group of commands."""
    members = [entry for entry in COMMANDS if entry.name.startswith(f"{group} ")]
    rows = ((entry.name.partition(" ")[2], entry.summary) for entry in members)
    return (
        f"Usage:  {program} {group} COMMAND\n\n{GROUPS[group]}\n\n"
        + _table("Commands:", rows)
        + f"Run '{program} {group} COMMAND --help' for more information on a command.\n"
    )


def command_help(program: str, entry: Entry, command: Command) -> str:
    """Return the help of a command."""
    path = f"{program} {entry.name}"
    parts = [f"Usage:  {path} {command.usage}".rstrip(), entry.summary]
    if command.description:
        parts.append(command.description)
    if entry.aliases:
        names = ", ".join(f"{program} {name}" for name in (entry.name, *entry.aliases))
        parts.append(f"Aliases:\n  {names}")
    lines = "\n".join(f"  {line}" if line else "" for line in command.example.splitlines())
    parts.append("Examples:\n" + lines.replace("polyarch ", f"{program} "))
    # A command's own flag takes the place of the shared one, if only to hide it.
    named = {flag.name: flag for flag in (*GLOBAL_FLAGS, _HELP, *command.flags)}
    flags = sorted(named.values(), key=lambda flag: flag.name)
    return "\n\n".join(parts) + "\n\n" + _flags(flags).rstrip("\n") + "\n"


def usage_hint(program: str, entry: Entry, command: Command) -> str:
    """Return what stands below the complaint about a wrong call."""
    path = f"{program} {entry.name}"
    usage = f"Usage:  {path} {command.usage}".rstrip()
    return f"{usage}\n\nRun '{path} --help' for more information"


def _table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    listed = list(rows)
    if not listed:
        return ""
    width = max(len(name) for name, _ in listed)
    lines = [f"  {name.ljust(width)}  {text}" for name, text in listed]
    return "\n".join([title, *lines, "", ""])


def _flags(flags: Sequence[Flag]) -> str:
    rows = []
    for flag in flags:
        if flag.hidden:
            continue
        short = f"-{flag.short}, " if flag.short else "    "
        default = f" (default {_default(flag)})" if flag.default not in {"", "false"} else ""
        rows.append((f"{short}--{flag.name} {_kind(flag)}".rstrip(), flag.help + default))
    return _table("Options:", rows)


def _default(flag: Flag) -> str:
    return f'"{flag.default}"' if flag.kind is Kind.TEXT else flag.default


def _kind(flag: Flag) -> str:
    return f'{flag.kind}[="{flag.bare}"]' if flag.bare else flag.kind
