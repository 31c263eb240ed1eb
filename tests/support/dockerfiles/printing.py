"""A parsed Dockerfile -> the text of one that says the same, in its plainest form.

The oracle of the parser: parsing the text gives equal instructions, directives and comments, with
other places. Each instruction is on one line (but for here-documents, and lines that would be too long),
keywords are capitals, flags come in a fixed order with their defaults left out, and words are quoted
only where they have to be. Comments above instructions stay; those inside of them, and empty lines, aren't
part of what is parsed.

How a text has to be quoted depends on what else is on its line, so that every spelling is read back before
it is taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from polyarch.dockerfile.parser import Dockerfile, parse, parse_lines
from polyarch.dockerfile.syntax.instruction import (
    Add,
    Arg,
    Command,
    Copy,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stage,
    StopSignal,
    Transfer,
    User,
    Volume,
    Workdir,
)
from polyarch.dockerfile.syntax.lexer import MAX_LINE, Directive, Heredoc, heredoc_openers
from polyarch.dockerfile.syntax.mount import Device
from polyarch.dockerfile.syntax.typed import parse_instruction
from polyarch.errors import InputError
from polyarch.golang.time import duration_text
from polyarch.golang.unicode import SPACE
from polyarch.graph.location import SourceText
from polyarch.record import replace

__all__ = ["check_printing", "parsed", "print_dockerfile", "print_instruction"]

_QUOTINGS = ("escape", '"', "'")
_MAX_DUE = MAX_LINE - 100  # bytes in a line, with room for the mark that continues it
_BLANKS = frozenset("\t\v\f\r ")


def print_dockerfile(dockerfile: Dockerfile) -> str:
    """Print a Dockerfile. Raises InputError, as `print_instruction`, for one that was never parsed."""
    parts = ["".join(_directive(each) for each in dockerfile.directives)]
    items: list[Instruction | Stage] = [*dockerfile.global_args]
    for stage in dockerfile.stages:
        items += stage, *stage.instructions
    for number, item in enumerate(items):
        # An empty line ends the directives: a comment may look like one.
        is_apart = bool(item.comments or parts[0]) if number == 0 else isinstance(item, Stage)
        parts.append("\n" if is_apart else "")
        parts.append(print_instruction(item, dockerfile.escape, is_last=number == len(items) - 1))
    return "".join(parts)


def print_instruction(
    item: Instruction | Stage, escape: str = "\\", *, is_last: bool = False
) -> str:
    r"""Print an instruction, or the FROM of a stage, with its comments and here-documents.

    The text ends with a line feed, except that of an instruction that ends with a lone escape character,
    which only the end of the file can keep from continuing (`is_last`).

    Raises InputError for an instruction that no text gives.
    """
    comments = "".join(_comment(comment) for comment in item.comments)
    for rest, bodies in _spellings(item, escape):
        keyword = "FROM" if isinstance(item, Stage) else item.name
        line = f"{keyword} {rest}" if rest else keyword
        if _continues(line, escape):
            if bodies or not is_last:
                continue
            line += escape if line.endswith((" ", "\t")) else f" {escape}"
            text = comments + line
        else:
            text = "\n".join([comments + _broken(line, escape), *bodies, ""])
        if _reads_as(item, text, escape):
            return text
    raise InputError(
        f"no Dockerfile has this {'FROM' if isinstance(item, Stage) else item.name} instruction",
        hint="only what was parsed can be printed",
    )


def _reads_as(item: Instruction | Stage, text: str, escape: str) -> bool:
    """Tell if a text is read as this instruction alone."""
    head = "\n" if escape == "\\" else f"# escape={escape}\n\n"
    try:
        lines = parse_lines(SourceText(name="Dockerfile", text=head + text)).lines
        found = parse_instruction(lines[0])
    except InputError:
        return False
    if isinstance(item, Stage):
        item = replace(item, instructions=())
    return len(lines) == 1 and found == item and found.comments == item.comments


def _directive(directive: Directive) -> str:
    spaced = f"# {directive.name}={directive.value}\n"
    return spaced if _fits(spaced) else spaced.replace(" ", "", 1)


def _comment(comment: str) -> str:
    spaced = f"# {comment}\n"
    return spaced if _fits(spaced) else f"#{comment}\n"


def _fits(line: str) -> bool:
    return len(line) <= MAX_LINE // 4 or len(line.encode("utf-8", "replace")) <= MAX_LINE


def _continues(line: str, escape: str) -> bool:
    mark = re.escape(escape)
    return re.search(rf"(?<!{mark}){mark}[ \t]*\Z", line) is not None


def _broken(line: str, escape: str) -> str:
    """Break a line that is too long for the lexer, where that changes nothing."""
    lines: list[str] = []
    while not _fits(line):
        end = len(line.encode("utf-8", "replace")[:_MAX_DUE].decode("utf-8", "ignore"))
        while end > 1 and (line[end - 1] == escape or line[end] in SPACE or line[end] == "#"):
            end -= 1
        lines.append(line[:end] + escape)
        line = line[end:]
    return "\n".join([*lines, line])


_Spelling = tuple[str, list[str]]
"""What stands behind the keyword, and the bodies of here-documents."""


def _spellings(item: Instruction | Stage, escape: str) -> Iterator[_Spelling]:
    """Yield ways to write an instruction, the plainest first; some may mean something else."""
    bodies = _bodies(item.heredocs) if isinstance(item, Run) else []
    for quoting in _QUOTINGS:
        flags = [_flag(flag, quoting, escape) for flag in _flags(item)]
        if isinstance(item, Transfer):
            yield from _transfer(item, flags)
        else:
            for rest in _rests(item, escape):
                yield _joined(flags, rest), bodies
    # Quotes of one word may reach into the next. Then only what was written is left.
    written = item.text.partition(item.keyword)[2].strip(SPACE) if item.text else ""
    if isinstance(item, Transfer):
        bodies = _bodies(_contents(f"{item.name} {written}", item.contents))
    yield written, bodies


def _joined(flags: list[str], rest: str) -> str:
    # Whatever begins with two dashes is a flag before this.
    guard = ["--"] if rest.startswith("--") else []
    return " ".join([*flags, *guard, *([rest] if rest else [])])


def _flag(flag: str, quoting: str, escape: str) -> str:
    if not any(char in SPACE or char in {"'", '"', escape} for char in flag):
        return flag
    if quoting == "escape":
        return "".join(
            escape + char if char in SPACE or char in {"'", '"', escape} else char for char in flag
        )
    name, equals, value = flag.partition("=")
    inside = "".join(escape + char if char in {quoting, escape} else char for char in value)
    return f"{name}{equals}{quoting}{inside}{quoting}"


def _flags(item: Instruction | Stage) -> list[str]:
    match item:
        case Stage():
            return [f"--platform={item.platform}"] if item.platform else []
        case Run():
            return _run_flags(item)
        case Healthcheck():
            return _healthcheck_flags(item)
        case Transfer():
            return _transfer_flags(item)
    return []


def _run_flags(run: Run) -> list[str]:
    flags = [f"--mount={mount}" for mount in run.mounts]
    flags += [f"--device={_device(device)}" for device in run.devices]
    if run.network != "default":
        flags.append(f"--network={run.network}")
    if run.security != "sandbox":
        flags.append(f"--security={run.security}")
    return flags


def _device(device: Device) -> str:
    fields = [_csv_field(f"name={device.name}")] if device.name else []
    if device.required or not fields:
        fields.append("required" if device.required else "required=false")
    return ",".join(fields)


def _csv_field(text: str) -> str:
    if not any(char in text for char in ',"\n'):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _healthcheck_flags(check: Healthcheck) -> list[str]:
    times = {
        "interval": check.interval,
        "timeout": check.timeout,
        "start-period": check.start_period,
        "start-interval": check.start_interval,
    }
    flags = [f"--{name}={duration_text(time)}" for name, time in times.items() if time]
    return [*flags, f"--retries={check.retries}"] if check.retries else flags


def _transfer_flags(item: Transfer) -> list[str]:
    texts = {"chown": item.chown, "chmod": item.chmod}
    switches: dict[str, bool | None] = {"link": item.link or None}
    if isinstance(item, Copy):
        texts = {"from": item.from_name, **texts}
        switches["parents"] = item.parents or None
    if isinstance(item, Add):
        texts["checksum"] = item.checksum
        switches |= {"keep-git-dir": item.keep_git_dir, "unpack": item.unpack}
    flags = [f"--{name}={text}" for name, text in texts.items() if text]
    for name, value in switches.items():
        if value is not None:
            flags.append(f"--{name}" if value else f"--{name}=false")
    return [*flags, *(f"--exclude={pattern}" for pattern in item.exclude)]


def _rests(item: Instruction | Stage, escape: str) -> Iterator[str]:
    """Yield ways to write what stands behind the flags."""
    match item:
        case Stage():
            alias = f" {item.as_keyword or 'AS'} {item.written_name or item.name}"
            yield item.base + (alias if item.name else "")
        case Arg():
            yield " ".join(
                each.name if each.default is None else f"{each.name}={each.default}"
                for each in item.definitions
            )
        case Env() | Label():
            yield from _pairs(item, escape)
        case Shell():
            yield _json(item.arguments)
        case Command():
            yield "".join(item.arguments) if item.shell else _json(item.arguments)
        case Healthcheck():
            yield _healthcheck(item.test)
        case Expose():
            yield " ".join(item.ports)
        case Volume():
            yield " ".join(item.paths)
            yield _json(item.paths)
        case User() | Workdir() | StopSignal() | Maintainer() | Onbuild():
            yield _only_text(item)


def _only_text(item: User | Workdir | StopSignal | Maintainer | Onbuild) -> str:
    match item:
        case User():
            return item.user
        case Workdir():
            return item.path
        case StopSignal():
            return item.signal
        case Maintainer():
            return item.author
        case Onbuild():
            return item.trigger


def _pairs(item: Env | Label, escape: str) -> Iterator[str]:
    if item.is_legacy and len(item.pairs) == 1:
        ((key, value),) = item.pairs
        # An escaped blank doesn't part the words; two of them do.
        yield f"{key}{'  ' if key.endswith(escape) else ' '}{value}"
    yield " ".join(f"{key}={value}" for key, value in item.pairs)


def _healthcheck(test: tuple[str, ...]) -> str:
    kind, *arguments = test
    if kind == "CMD":
        return f"CMD {_json(tuple(arguments))}"
    return "NONE" if kind == "NONE" else f"CMD {''.join(arguments)}"


def _json(texts: tuple[str, ...]) -> str:
    return json.dumps(texts, ensure_ascii=False)


def _transfer(item: Transfer, flags: list[str]) -> Iterator[_Spelling]:
    """Yield words and, where those can't say it, a JSON array, which has no here-documents."""
    for quoting in _QUOTINGS:
        openers = [_opener(heredoc, quoting) for heredoc in item.contents]
        words = (*item.sources, *openers, item.destination)
        if all(word and _BLANKS.isdisjoint(word) for word in words):
            rest = _joined(flags, " ".join(words))
            yield rest, _bodies(_contents(f"{item.name} {rest}", item.contents))
        if not any(heredoc.content for heredoc in item.contents):
            yield _joined(flags, _json(words)), []


def _contents(line: str, heredocs: tuple[Heredoc, ...]) -> list[Heredoc]:
    """Give all here-documents that a line opens what they have to contain.

    Those that only a shell would see, since their names are more than one word, are in no instruction.
    Of those of one name the last has the content of all.
    """
    contents = {heredoc.name: heredoc.content for heredoc in heredocs}
    found = [
        replace(opener, content=contents.pop(opener.name, ""))
        for opener in reversed(heredoc_openers(line))
    ]
    return found[::-1]


def _bodies(heredocs: Iterable[Heredoc]) -> list[str]:
    return [heredoc.content + heredoc.name for heredoc in heredocs]


def _opener(heredoc: Heredoc, quoting: str) -> str:
    start = f"{heredoc.fd or ''}<<{'-' if heredoc.strip_tabs else ''}"
    if heredoc.expand:
        name = re.sub(r"""([\\'"$\s])""", r"\\\1", heredoc.name)
        return start + (name if quoting == "escape" else heredoc.name)
    if quoting == "'" or not any(char in heredoc.name for char in "'\"$\\"):
        return f"{start}'{heredoc.name}'"
    inside = re.sub(r"""([\\"$])""", r"\\\1", heredoc.name)
    return f'{start}"{inside}"'


# --- what must be the same of a Dockerfile that was printed and parsed again ---


def parsed(text: str) -> Dockerfile:
    return parse(SourceText(name="Dockerfile", text=text))


def _meaning(dockerfile: Dockerfile) -> tuple[object, ...]:
    """All but places, and how it was written."""
    stages = dockerfile.stages
    items = list(dockerfile.global_args)
    return (
        dockerfile.escape,
        [(each.name, each.value, each.word) for each in dockerfile.directives],
        dockerfile.global_args,
        stages,
        [(each.written_name, each.as_keyword, each.comment) for each in stages],
        [each.comments for each in items],
        [(stage.comments, *(each.comments for each in stage.instructions)) for stage in stages],
        [definition.comment for each in items for definition in each.definitions],
    )


def check_printing(dockerfile: Dockerfile) -> None:
    """Print and parse again: the same must come out, and printing that must change nothing more."""
    text = print_dockerfile(dockerfile)
    again = parsed(text)

    assert _meaning(again) == _meaning(dockerfile), text
    assert print_dockerfile(again) == text
