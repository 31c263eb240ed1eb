"""Writes the reference of commands from the tables that the program itself uses.

`python -m tools.reference` prints it; `docs/commands.md` is what it printed last, which a test checks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from polyarch.cli.commands import COMMANDS, GROUPS, Entry, load

__all__ = ["main", "reference"]

_HEAD = """\
# Commands

Made from the program's own tables by `python -m tools.reference`; `polyarch COMMAND --help` says the same.

Flags before the command are for all of them: `--builder NAME` (which builder), `-D, --debug` (more
logging). A switch takes a value behind `=` only (`--push=false`); a flag that may be repeated says so by
`stringArray` or `strings` (several, with commas between them).
"""


def reference() -> str:
    """Return the reference as Markdown."""
    lines = [_HEAD]
    lines += ["| command | |", "|---|---|"]
    lines += [
        f"| [`{each.name}`](#polyarch-{each.name.replace(' ', '-')}) | {each.summary} |"
        for each in _shown()
    ]
    for entry in _shown():
        lines += ["", *_command(entry)]
    return "\n".join(lines) + "\n"


def _shown() -> Iterator[Entry]:
    for entry in COMMANDS:
        if not entry.hidden and entry.name not in GROUPS:
            yield entry


def _command(entry: Entry) -> Iterator[str]:
    command = load(entry)
    yield f"## polyarch {entry.name}"
    yield ""
    yield f"{entry.summary}."
    if entry.aliases:
        yield ""
        yield f"Also `polyarch {'`, `polyarch '.join(entry.aliases)}`."
    yield ""
    yield f"    polyarch {entry.name} {command.usage}".rstrip()
    flags = [each for each in command.flags if not each.hidden]
    if flags:
        yield ""
        yield "| flag | takes | |"
        yield "|---|---|---|"
        for flag in sorted(flags, key=lambda each: each.name):
            default = f" (default `{flag.default}`)" if flag.default else ""
            text = flag.help.replace("|", "\\|")
            yield f"| `{flag.title}` | {flag.kind} | {text}{default} |"
    yield ""
    for line in command.example.strip().splitlines():
        yield f"    {line.strip()}"


def main() -> int:
    """Print the reference."""
    sys.stdout.write(reference())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
