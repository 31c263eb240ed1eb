"""Checks of a Dockerfile: what can be built, but shouldn't be written so.

The linter is handed from the parser to lowering, which tell it what they come across; it says nothing to
anybody by itself. What is found, and how often, is as in BuildKit (`linter`, `validations.go`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from polyarch.dockerfile.args import HIDDEN_ARGS
from polyarch.dockerfile.expand.expand import Expansion
from polyarch.dockerfile.lint import rules
from polyarch.dockerfile.lint.rules import (
    NO_OPTIONS,
    CheckOptions,
    Rule,
    comment_options,
    is_check_comment,
    parse_options,
)
from polyarch.dockerfile.syntax.instruction import (
    Arg,
    Cmd,
    Entrypoint,
    Env,
    Healthcheck,
    Instruction,
    Label,
    Stage,
)
from polyarch.dockerfile.syntax.lexer import ParseWarning, find_directive
from polyarch.dockerfile.syntax.line import ParsedLine
from polyarch.errors import DockerfileError, InputError
from polyarch.golang.strconv import quote
from polyarch.graph.location import Location, SourceText
from polyarch.platforms import Platform, normalize
from polyarch.platforms import parse as parse_platform
from polyarch.record import field, frozen, mutable
from polyarch.text.nearest import nearest
from polyarch.text.secretname import is_secret_name

__all__ = ["CHECK_ARG", "Finding", "Linter"]

CHECK_ARG = "BUILDKIT_DOCKERFILE_CHECK"
"""The build argument that replaces `# check=`."""

_RESERVED = frozenset({"context", "scratch"})
_ONCE = (Cmd, Entrypoint, Healthcheck)
_PROTOCOLS = frozenset({"", "tcp", "udp", "sctp"})


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
    options: CheckOptions = NO_OPTIONS
    findings: list[Finding] = field(default_factory=list)

    @classmethod
    def mute(cls) -> Linter:
        """Return one that says nothing: for platforms after the first, which has told it all."""
        return cls(options=CheckOptions(skips_all=True))

    def begin(self, source: SourceText) -> None:
        """Read the options of a Dockerfile, before it is parsed. Raises DockerfileError.

        They end at a blank. They count even if the line `#!` of an interpreter stands before them.
        """
        text, what, place = self.override, f"build-arg:{CHECK_ARG}", None
        if text is None:
            directive = find_directive("check", source.text)
            if directive is None:
                return
            text, what = directive.word, "check options"
            place = Location(source=source, start=directive.line, end=directive.line)
        try:
            self.options = parse_options(text)
        except InputError as error:
            message = f"failed to parse {what}: {error}"
            raise DockerfileError(message, hint=error.hint, place=place) from error

    def report(
        self, rule: Rule, detail: str, location: Location, comments: Sequence[str] = ()
    ) -> None:
        """Keep a finding, unless the file or a comment above the place says otherwise."""
        above = comment_options(comments)
        if rule.experimental:
            is_wanted = self.options.asks_for(rule) or above.asks_for(rule)
        else:
            is_wanted = not (self.options.skips(rule) or above.skips(rule))
        if is_wanted:
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

    def empty_continuations(self, warnings: Iterable[ParseWarning], source: SourceText) -> None:
        """Tell of the instructions with empty lines in them, which the lexer has found."""
        for warning in warnings:
            where = Location(source=source, start=warning.line, end=warning.line)
            self.report(rules.NO_EMPTY_CONTINUATION, "Empty continuation line", where)

    def reading(self, line: ParsedLine) -> None:
        """Look at an instruction that may yet turn out to be wrong."""
        note = _Note(self, line.location, line.comments)
        if line.statement.name == "maintainer":
            note(
                rules.MAINTAINER_DEPRECATED,
                "Maintainer instruction is deprecated in favor of using label",
            )
        elif line.statement.name == "from" and len(line.arguments) >= 3:
            _, other, *names = line.arguments
            if len(names) == 1 and names[0] != names[0].lower():
                note(rules.STAGE_NAME_CASING, f"Stage name '{names[0]}' should be lowercase")
            keyword = line.statement.keyword
            wanted = {keyword.lower(): other.lower(), keyword.upper(): other.upper()}
            if other != wanted.get(keyword, other):
                detail = f"'{other}' and '{keyword}' keywords' casing do not match"
                note(rules.FROM_AS_CASING, detail)

    def parsed(self, item: Instruction | Stage) -> None:
        """Look at an instruction alone."""
        note = _Note(self, item.location, item.comments)
        if isinstance(item, Stage):
            if item.name:
                note.description("FROM", [item.name])
        elif isinstance(item, Arg):
            note.description("ARG", [definition.name for definition in item.definitions])

    def stages(self, stages: Sequence[Stage]) -> None:
        """Look at the names of all stages, and at the case of all keywords.

        Both are about the file as a whole, so that comments above an instruction don't count.
        """
        names: set[str] = set()
        for stage in stages:
            if stage.name in _RESERVED:
                self.report(
                    rules.RESERVED_STAGE_NAME,
                    f"Stage name should not use the same name as reserved stage {quote(stage.name)}",
                    stage.location,
                )
            if stage.name in names:
                self.report(
                    rules.DUPLICATE_STAGE_NAME,
                    f"Duplicate stage name {quote(stage.name)}, stage names should be unique",
                    stage.location,
                )
            names |= {stage.name} - {""}
        self._keywords(stages)
        rule = rules.EMULATED_BUILD_STAGE
        if self.options.asks_for(rule) or any(
            comment_options(stage.comments).asks_for(rule) for stage in stages
        ):
            # Few ask for it.
            from polyarch.dockerfile.lint.crossbuild import find_pinnable  # noqa: PLC0415

            for stage, detail in find_pinnable(stages):
                self.report(rule, detail, stage.location, stage.comments)

    def _keywords(self, stages: Sequence[Stage]) -> None:
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
                self.report(
                    rules.CONSISTENT_INSTRUCTION_CASING,
                    f"Command '{word}' should match the case of the command majority ({case})",
                    item.location,
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
        self.report(
            rules.INVALID_DEFAULT_ARG_IN_FROM,
            f"Default value for ARG {stage.base} results in empty or invalid base image name",
            stage.location,
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

    def base_platform(self, stage: Stage, name: str, expected: Platform, actual: Platform) -> None:
        """Look at whether an image is for the platform that it was asked for."""
        if (actual.os, actual.architecture) == (expected.os, expected.architecture):
            return
        self.report(
            rules.INVALID_BASE_IMAGE_PLATFORM,
            f"Base image {name} was pulled with platform {quote(str(normalize(actual)))}, expected "
            f"{quote(str(expected))} for current build",
            stage.location,
        )

    def dispatched(
        self, instruction: Instruction, shell: Sequence[str], seen: dict[type, Instruction]
    ) -> None:
        """Look at an instruction in its stage.

        `shell` is what SHELL or the base set, empty if nothing did; `seen` holds the stage's latest
        instructions of the kinds that count once.
        """
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
        if isinstance(instruction, Cmd | Entrypoint) and instruction.shell and not shell:
            self.note(
                instruction,
                rules.JSON_ARGS_RECOMMENDED,
                f"JSON arguments recommended for {instruction.keyword} to prevent unintended "
                "behavior related to OS signals",
            )

    def pair(self, instruction: Env | Label, name: str) -> None:
        """Look at a pair of ENV or LABEL; the name is expanded."""
        if instruction.is_legacy:
            word = instruction.keyword
            self.note(
                instruction,
                rules.LEGACY_KEY_VALUE_FORMAT,
                f'"{word} key=value" should be used instead of legacy "{word} key value" format',
            )
        if isinstance(instruction, Env):
            self.secret(instruction, name)

    def secret(self, instruction: Arg | Env, name: str) -> None:
        """Look at whether a variable may be made for a secret."""
        if is_secret_name(name):
            self.note(
                instruction,
                rules.SECRETS_USED_IN_ARG_OR_ENV,
                "Do not use ARG or ENV instructions for sensitive data "
                f"({instruction.name} {quote(name)})",
            )

    def variables(
        self, instruction: Instruction, unmatched: Collection[str], known: Collection[str]
    ) -> None:
        """Say which variables were used and aren't set; `known` are those that are."""
        for name in sorted(set(unmatched) - HIDDEN_ARGS):
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
        mapped, _, own = port.rpartition(":")
        protocol = own.partition("/")[2]
        if protocol.lower() not in _PROTOCOLS:
            return  # lowering says so
        if protocol != protocol.lower():
            self.note(
                instruction,
                rules.EXPOSE_PROTO_CASING,
                f"Defined protocol '{port}' in EXPOSE instruction should be lowercase",
            )
        if mapped.strip(":"):
            self.note(
                instruction,
                rules.EXPOSE_INVALID_FORMAT,
                "EXPOSE instruction should not define an IP address or host-port mapping, found "
                f"'{port}'",
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
