"""What a definition wants beyond what was allowed: a terminal is asked, everybody else is told how to allow it.

Source: behaviour of buildx's `EntitlementConf.Prompt`.
"""

from __future__ import annotations

import sys

from polyarch.bakefile.allowed import Missing
from polyarch.cli.frame.command import Context
from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.text.shown import shown_line

__all__ = ["ask_for"]

_VARIABLE = "BUILDX_BAKE_ENTITLEMENTS_FS"
_ORIGINAL = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"


def ask_for(lacks: Missing, context: Context) -> None:
    """Ask for what wasn't allowed. Raises InputError unless somebody at a terminal says yes."""
    if not lacks.values:
        return
    flags = " ".join(f"--allow={each}" for each in lacks.values)
    may_answer = context.stdin.isatty()
    write = context.stderr.write
    write("Your build is requesting privileges for following possibly insecure capabilities:\n\n")
    # A path or an address of somebody else's file may hold what a terminal obeys.
    write("".join(f"{shown_line(each)}\n" for each in lacks.reasons))
    before = "In order to not see this message in the future pass" if may_answer else "Pass"
    write(f"\n{before} {quote(flags)} to grant requested privileges.\n")
    write(_whole_command(flags, context))
    if lacks.with_files and _VARIABLE not in context.environ:
        write(f"To disable filesystem entitlements checks, you can set {_VARIABLE}=0 .\n\n")
    if may_answer:
        write("Do you want to grant requested privileges and continue? [y/N] ")
        context.stderr.flush()
        if context.stdin.readline().strip().lower() == "y":
            return
    raise InputError("additional privileges requested", hint=f"if you trust the file: {flags}")


def _whole_command(flags: str, context: Context) -> str:
    words = [context.environ.get(_ORIGINAL) or sys.argv[0], *sys.argv[1:]]
    if "bake" not in words:
        return ""
    after = words.index("bake") + 1
    whole = shown_line(" ".join([*words[:after], flags, *words[after:]]))
    return f"\nYour full command with requested privileges:\n\n{whole}\n\n"
