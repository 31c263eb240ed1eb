"""Checks of a Dockerfile: what can be built, but shouldn't be written so.

The linter is handed from the parser to lowering, which tell it what they come across; it says nothing to
anybody by itself. The same remark on the same place is kept once, as every platform makes it anew.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from polyarch.dockerfile import rules
from polyarch.dockerfile.expand import Expansion
from polyarch.dockerfile.instruction import (
    Arg,
    Cmd,
    Entrypoint,
    Env,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Stage,
)
from polyarch.dockerfile.lexer import Directive, ParseWarning
from polyarch.dockerfile.rules import (
    CheckOptions,
    Rule,
    is_check_comment,
    parse_options,
    skipped_by,
)
from polyarch.errors import DockerfileError, InputError
from polyarch.graph.location import Location
from polyarch.platforms import Platform
from polyarch.platforms import parse as parse_platform
from polyarch.record import field, frozen, mutable
from polyarch.text.gotext import nearest, quote

__all__ = ["Finding", "Linter"]

_RESERVED = frozenset({"context", "scratch"})
_ONCE = (Cmd, Entrypoint, Healthcheck)
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)


@frozen
class Finding:
    """A rule that a place breaks; `detail` says how."""

    rule: Rule
    detail: str
    location: Location


@mutable
class Linter:
    """Gathers findings. `override` takes the place of the file's `# check=`; None leaves it that."""

    override: str | None = None
    options: CheckOptions = field(default_factory=CheckOptions)
    findings: list[Finding] = field(default_factory=list)
    _known: set[tuple[str, str, int, int]] = field(default_factory=set)

    def begin(
        self, directives: Iterable[Directive], warnings: Iterable[ParseWarning], place: Location
    ) -> None:
        """Start with what the lexer found; `place` is anywhere in the text. Raises DockerfileError."""
        text, line = self.override, 1
        for directive in directives:
            if directive.name == "check" and text is None:
                text, line = directive.value, directive.line
        try:
            self.options = parse_options(text or "")
        except InputError as error:
            where = Location(source=place.source, start=line, end=line)
            raise DockerfileError(str(error), hint=error.hint, place=where) from error
        for warning in warnings:
            where = Location(source=place.source, start=warning.line, end=warning.line)
            self.report(rules.NO_EMPTY_CONTINUATION, "Empty continuation line", where)

    def report(
        self, rule: Rule, detail: str, location: Location, comments: Sequence[str] = ()
    ) -> None:
        """Keep a finding, unless the rule isn't looked at there."""
        if not self.options.allows(rule) or skipped_by(comments, rule):
            return
        # Asked once for each platform, all in one text.
        identity = rule.name, detail, location.start, location.end
        if identity not in self._known:
            self._known.add(identity)
            self.findings.append(Finding(rule=rule, detail=detail, location=location))

    def check_failure(self) -> None:
        """Raise DockerfileError if `error=true` is asked for, and there are findings."""
        if self.options.fails and self.findings:
            names = sorted({finding.rule.name for finding in self.findings})
            raise DockerfileError(
                f"lint violation found for rules: {', '.join(names)}",
                hint="build with --check to see them, or leave error=true out of # check=",
            )

    # --- while parsing ---

    def parsed(self, item: Instruction | Stage) -> None:
        """Look at an instruction alone."""
        if isinstance(item, Stage):
            self._stage(item)
            return
        note = _Note(self, item.location, item.comments)
        if isinstance(item, Maintainer):
            note(
                rules.MAINTAINER_DEPRECATED,
                "Maintainer instruction is deprecated in favor of using label",
            )
        elif isinstance(item, Env | Label) and item.is_legacy:
            word = item.keyword
            note(
                rules.LEGACY_KEY_VALUE_FORMAT,
                f'"{word} key=value" should be used instead of legacy "{word} key value" format',
            )
        elif isinstance(item, Arg):
            note.description("ARG", [definition.name for definition in item.definitions])

    def _stage(self, stage: Stage) -> None:
        note = _Note(self, stage.location, stage.comments)
        name = stage.written_name
        if name != name.lower():
            note(rules.STAGE_NAME_CASING, f"Stage name '{name}' should be lowercase")
        keyword, other = stage.keyword, stage.as_keyword
        wanted = {keyword.lower(): other.lower(), keyword.upper(): other.upper()}.get(
            keyword, other
        )
        if other != wanted:
            note(rules.FROM_AS_CASING, f"'{other}' and '{keyword}' keywords' casing do not match")
        if stage.name:
            note.description("FROM", [stage.name])

    def stages(self, stages: Sequence[Stage]) -> None:
        """Look at the names of all stages, and at the case of all keywords."""
        names: set[str] = set()
        for stage in stages:
            note = _Note(self, stage.location, stage.comments)
            if stage.name in _RESERVED:
                note(
                    rules.RESERVED_STAGE_NAME,
                    f"Stage name should not use the same name as reserved stage {quote(stage.name)}",
                )
            if stage.name in names:
                note(
                    rules.DUPLICATE_STAGE_NAME,
                    f"Duplicate stage name {quote(stage.name)}, stage names should be unique",
                )
            names |= {stage.name} - {""}
        items: list[Stage | Instruction] = []
        for stage in stages:
            items += (stage, *stage.instructions)
        lower = sum(item.keyword == item.keyword.lower() for item in items)
        upper = sum(item.keyword == item.keyword.upper() for item in items)
        for item in items:
            word = item.keyword
            wanted = word.lower() if lower > upper else word.upper()
            if word != wanted:
                case = "lowercase" if lower > upper else "uppercase"
                _Note(self, item.location, item.comments)(
                    rules.CONSISTENT_INSTRUCTION_CASING,
                    f"Command '{word}' should match the case of the command majority ({case})",
                )

    # --- while lowering ---

    def base(self, stage: Stage, found: Expansion, known: Collection[str]) -> None:
        """Look at the variables of FROM; `known` are the arguments that it may use."""
        for name in sorted(found.unmatched - set(known)):
            near = nearest(name, known)
            hint = f" (did you mean {near}?)" if near else ""
            _Note(self, stage.location, stage.comments)(
                rules.UNDEFINED_ARG_IN_FROM, f"FROM argument '{name}' is not declared{hint}"
            )

    def default_base(self, stage: Stage) -> None:
        """Say that a stage has no usable base unless the command line gives an argument."""
        _Note(self, stage.location, stage.comments)(
            rules.INVALID_DEFAULT_ARG_IN_FROM,
            f"Default value for ARG {stage.base} results in empty or invalid base image name",
        )

    def stage_platform(self, stage: Stage, found: Expansion, target: str) -> None:
        """Look at `FROM --platform`; `target` is what TARGETPLATFORM stands for."""
        note = _Note(self, stage.location, stage.comments)
        if found.matched == {"TARGETPLATFORM"} and not found.unmatched and found.text == target:
            note(
                rules.REDUNDANT_TARGET_PLATFORM,
                f"Setting platform to predefined {stage.platform} in FROM is redundant as this is "
                "the default behavior",
            )
        if found.matched or found.unmatched:
            return
        try:
            platform = parse_platform(found.text)
        except InputError:
            return  # lowering says so
        if platform.os not in stage.name and platform.architecture not in stage.name:
            note(
                rules.FROM_PLATFORM_FLAG_CONST_DISALLOWED,
                f"FROM --platform flag should not use constant value {quote(found.text)}",
            )

    def base_platform(
        self, stage: Stage, name: str, expected: Platform, config: Mapping[str, object]
    ) -> None:
        """Look at whether an image is for the platform that it was asked for."""
        actual = (config.get("os"), config.get("architecture"))
        if actual == (expected.os, expected.architecture):
            return
        shown = "/".join(str(part) for part in (*actual, config.get("variant")) if part)
        _Note(self, stage.location, stage.comments)(
            rules.INVALID_BASE_IMAGE_PLATFORM,
            f"Base image {name} was pulled with platform {quote(shown)}, expected "
            f"{quote(str(expected))} for current build",
        )

    def dispatched(
        self, instruction: Instruction, shell: Sequence[str], seen: dict[type, Instruction]
    ) -> None:
        """Look at an instruction in its stage.

        `shell` is what SHELL or the base set, empty if nothing did; `seen` holds the stage's latest
        instructions of the kinds that count once.
        """
        note = _Note(self, instruction.location, instruction.comments)
        if isinstance(instruction, Cmd | Entrypoint) and instruction.shell and not shell:
            note(
                rules.JSON_ARGS_RECOMMENDED,
                f"JSON arguments recommended for {instruction.keyword} to prevent unintended "
                "behavior related to OS signals",
            )
        names: Iterable[str] = ()
        if isinstance(instruction, Arg):
            names = (definition.name for definition in instruction.definitions)
        elif isinstance(instruction, Env):
            names = (name for name, _ in instruction.pairs)
        for name in names:
            if _SECRET.search(name) and not _NO_SECRET.search(name):
                note(
                    rules.SECRETS_USED_IN_ARG_OR_ENV,
                    "Do not use ARG or ENV instructions for sensitive data "
                    f"({instruction.name} {quote(name)})",
                )
        if isinstance(instruction, _ONCE):
            earlier = seen.get(type(instruction))
            if earlier is not None:
                self.report(
                    rules.MULTIPLE_INSTRUCTIONS_DISALLOWED,
                    f"Multiple {instruction.keyword} instructions should not be used in the same "
                    "stage because only the last one will be used",
                    earlier.location,
                    instruction.comments,
                )
            seen[type(instruction)] = instruction

    def variables(
        self, instruction: Instruction, unmatched: Collection[str], known: Collection[str]
    ) -> None:
        """Say which variables were used and aren't set; `known` are those that are."""
        for name in sorted(unmatched):
            near = nearest(name, known)
            hint = f" (did you mean ${near}?)" if near else ""
            self.note(
                instruction, rules.UNDEFINED_VAR, f"Usage of undefined variable '${name}'{hint}"
            )

    def workdir(self, instruction: Instruction, path: str) -> None:
        """Say that a stage's first WORKDIR is relative."""
        self.note(
            instruction,
            rules.WORKDIR_RELATIVE_PATH,
            f"Relative workdir {quote(path)} can have unexpected results if the base image changes",
        )

    def ignored_source(self, instruction: Instruction, path: str) -> None:
        """Say that a source of COPY or ADD is left out of the build context."""
        verb = instruction.name.capitalize()
        self.note(
            instruction,
            rules.COPY_IGNORED_FILE,
            f"Attempting to {verb} file {quote(path)} that is excluded by .dockerignore",
        )

    def port(self, instruction: Instruction, port: str) -> None:
        """Look at a port of EXPOSE."""
        if ":" in port:
            self.note(
                instruction,
                rules.EXPOSE_INVALID_FORMAT,
                "EXPOSE instruction should not define an IP address or host-port mapping, found "
                f"'{port}'",
            )
        protocol = port.partition("/")[2]
        if protocol != protocol.lower():
            self.note(
                instruction,
                rules.EXPOSE_PROTO_CASING,
                f"Defined protocol '{port}' in EXPOSE instruction should be lowercase",
            )

    def note(self, instruction: Instruction, rule: Rule, detail: str) -> None:
        """Keep a finding about an instruction."""
        self.report(rule, detail, instruction.location, instruction.comments)


class _Note:
    """Findings about one place."""

    def __init__(self, linter: Linter, location: Location, comments: Sequence[str]) -> None:
        self._linter = linter
        self._location = location
        self._comments = comments

    def __call__(self, rule: Rule, detail: str) -> None:
        self._linter.report(rule, detail, self._location, self._comments)

    def description(self, instruction: str, names: Sequence[str]) -> None:
        """Look at whether the comment above describes one of the names."""
        remarks = [comment for comment in self._comments if not is_check_comment(comment)]
        if not remarks or remarks[-1].split(" ")[0] in names:
            return
        shown = names[0] if len(names) == 1 else "<arg_key>"
        self(
            rules.INVALID_DEFINITION_DESCRIPTION,
            f"Comment for {instruction} should follow the format: `# {shown} <description>`",
        )
