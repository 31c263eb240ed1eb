"""The rules of checks as records, and the options that silence them. Names and words are BuildKit's."""

from __future__ import annotations

import re
from collections.abc import Iterable

from polyarch.errors import InputError
from polyarch.golang.strconv import parse_bool, quote
from polyarch.golang.unicode import SPACE
from polyarch.pattern import pattern
from polyarch.record import frozen

__all__ = [
    "CONSISTENT_INSTRUCTION_CASING",
    "COPY_IGNORED_FILE",
    "DUPLICATE_STAGE_NAME",
    "EMULATED_BUILD_STAGE",
    "EXPOSE_INVALID_FORMAT",
    "EXPOSE_PROTO_CASING",
    "FROM_AS_CASING",
    "FROM_PLATFORM_FLAG_CONST_DISALLOWED",
    "INVALID_BASE_IMAGE_PLATFORM",
    "INVALID_DEFAULT_ARG_IN_FROM",
    "INVALID_DEFINITION_DESCRIPTION",
    "JSON_ARGS_RECOMMENDED",
    "LEGACY_KEY_VALUE_FORMAT",
    "MAINTAINER_DEPRECATED",
    "MULTIPLE_INSTRUCTIONS_DISALLOWED",
    "NO_EMPTY_CONTINUATION",
    "NO_OPTIONS",
    "PROGRAM_OF_ANOTHER_PLATFORM",
    "REDUNDANT_TARGET_PLATFORM",
    "RESERVED_STAGE_NAME",
    "SECRETS_USED_IN_ARG_OR_ENV",
    "STAGE_NAME_CASING",
    "UNDEFINED_ARG_IN_FROM",
    "UNDEFINED_VAR",
    "WORKDIR_RELATIVE_PATH",
    "CheckOptions",
    "Rule",
    "comment_options",
    "is_check_comment",
    "parse_options",
]

_PAGE = "https://docs.docker.com/go/dockerfile/rule/"
_COMMENT = pattern(r"check\s*=\s*([^ ]*)", re.IGNORECASE)


@frozen
class Rule:
    """A rule: `description` says what it is about, a warning's detail what broke it.

    One that is `experimental` has to be asked for, and by its name if it is `own`: BuildKit doesn't have it.
    """

    name: str
    description: str
    has_page: bool = True
    experimental: bool = False
    own: bool = False

    @property
    def url(self) -> str:
        """The page about it, "" if there is none."""
        if not self.has_page:
            return ""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=JSON)(?=[A-Z])", "-", self.name)
        return f"{_PAGE}{words.lower()}/"


@frozen
class CheckOptions:
    """What `check=` asks for: rules by name, or all of them."""

    skipped: frozenset[str] = frozenset()
    skips_all: bool = False
    experimental: frozenset[str] = frozenset()
    all_experimental: bool = False
    fails: bool = False

    def skips(self, rule: Rule) -> bool:
        """Tell whether a rule isn't to be looked at."""
        return self.skips_all or rule.name in self.skipped

    def asks_for(self, rule: Rule) -> bool:
        """Tell whether an experimental rule is to be looked at."""
        return (self.all_experimental and not rule.own) or rule.name in self.experimental


NO_OPTIONS = CheckOptions()


def parse_options(text: str) -> CheckOptions:
    """Read `skip=A,B;error=true;experimental=C`. Raises InputError.

    `all` stands for all rules if it is alone.
    """
    named: dict[str, frozenset[str]] = {"skip": frozenset(), "experimental": frozenset()}
    has_all = {"skip": False, "experimental": False}
    fails = False
    text = text.strip(SPACE)
    for part in text.split(";", 2) if text else ():
        key, equals, value = part.partition("=")
        key, value = key.strip(SPACE), value.strip(SPACE)
        if not equals:
            raise InputError(
                f"invalid check option {quote(part)}",
                hint="write check=skip=RULE, without blanks",
            )
        if key in named and value == "all":
            has_all[key] = True
        elif key in named:
            named[key] = frozenset(name.strip(SPACE) for name in value.split(","))
        elif key == "error":
            fails = _parse_bool(value, part)
        else:
            raise InputError(
                f"invalid check option {quote(key)}", hint="use skip, error, experimental"
            )
    return CheckOptions(
        skipped=named["skip"],
        skips_all=has_all["skip"],
        experimental=named["experimental"],
        all_experimental=has_all["experimental"],
        fails=fails,
    )


def _parse_bool(value: str, part: str) -> bool:
    try:
        return parse_bool(value)
    except InputError as error:
        raise InputError(
            f"failed to parse check option {quote(part)}: {error}",
            hint="use error=true or error=false",
        ) from error


def comment_options(comments: Iterable[str]) -> CheckOptions:
    """Return the options in the comments above an instruction, `# check=skip=RULE`.

    Only the first such comment counts, up to a blank; one that can't be understood is a remark.
    """
    for comment in comments:
        match = _COMMENT.match(comment)
        if match is not None:
            try:
                return parse_options(match[1])
            except InputError:
                break
    return NO_OPTIONS


def is_check_comment(comment: str) -> bool:
    """Tell whether a comment is an option of checks rather than a remark."""
    return _COMMENT.match(comment) is not None


STAGE_NAME_CASING = Rule(name="StageNameCasing", description="Stage names should be lowercase")
FROM_AS_CASING = Rule(
    name="FromAsCasing",
    description="The 'as' keyword should match the case of the 'from' keyword",
)
NO_EMPTY_CONTINUATION = Rule(
    name="NoEmptyContinuation",
    description="Empty continuation lines will become errors in a future release",
)
CONSISTENT_INSTRUCTION_CASING = Rule(
    name="ConsistentInstructionCasing",
    description=(
        "All commands within the Dockerfile should use the same casing (either upper or lower)"
    ),
)
DUPLICATE_STAGE_NAME = Rule(name="DuplicateStageName", description="Stage names should be unique")
RESERVED_STAGE_NAME = Rule(
    name="ReservedStageName", description="Reserved words should not be used as stage names"
)
JSON_ARGS_RECOMMENDED = Rule(
    name="JSONArgsRecommended",
    description=(
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to "
        "OS signals"
    ),
)
MAINTAINER_DEPRECATED = Rule(
    name="MaintainerDeprecated",
    description=(
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author"
    ),
)
UNDEFINED_ARG_IN_FROM = Rule(
    name="UndefinedArgInFrom", description="FROM command must use declared ARGs"
)
WORKDIR_RELATIVE_PATH = Rule(
    name="WorkdirRelativePath",
    description=(
        "Relative workdir without an absolute workdir declared within the build can have "
        "unexpected results if the base image changes"
    ),
)
UNDEFINED_VAR = Rule(
    name="UndefinedVar", description="Variables should be defined before their use"
)
MULTIPLE_INSTRUCTIONS_DISALLOWED = Rule(
    name="MultipleInstructionsDisallowed",
    description="Multiple instructions of the same type should not be used in the same stage",
)
LEGACY_KEY_VALUE_FORMAT = Rule(
    name="LegacyKeyValueFormat",
    description="Legacy key/value format with whitespace separator should not be used",
)
INVALID_BASE_IMAGE_PLATFORM = Rule(
    name="InvalidBaseImagePlatform",
    description="Base image platform does not match expected target platform",
    has_page=False,
)
REDUNDANT_TARGET_PLATFORM = Rule(
    name="RedundantTargetPlatform",
    description=(
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the "
        "default behavior"
    ),
)
SECRETS_USED_IN_ARG_OR_ENV = Rule(
    name="SecretsUsedInArgOrEnv",
    description="Sensitive data should not be used in the ARG or ENV commands",
)
INVALID_DEFAULT_ARG_IN_FROM = Rule(
    name="InvalidDefaultArgInFrom",
    description="Default value for global ARG results in an empty or invalid base image name",
)
FROM_PLATFORM_FLAG_CONST_DISALLOWED = Rule(
    name="FromPlatformFlagConstDisallowed",
    description="FROM --platform flag should not use a constant value",
)
COPY_IGNORED_FILE = Rule(
    name="CopyIgnoredFile",
    description="Attempting to Copy file that is excluded by .dockerignore",
)
INVALID_DEFINITION_DESCRIPTION = Rule(
    name="InvalidDefinitionDescription",
    description=(
        "Comment for build stage or argument should follow the format: `# <arg/stage name> "
        "<description>`. If this is not intended to be a description comment, add an empty line "
        "or comment between the instruction and the comment."
    ),
    experimental=True,
)
EXPOSE_PROTO_CASING = Rule(
    name="ExposeProtoCasing", description="Protocol in EXPOSE instruction should be lowercase"
)
EXPOSE_INVALID_FORMAT = Rule(
    name="ExposeInvalidFormat",
    description=(
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will "
        "become an error in a future release"
    ),
)

PROGRAM_OF_ANOTHER_PLATFORM = Rule(
    name="ProgramOfAnotherPlatform",
    description="ENTRYPOINT and CMD should start programs that run on the platform of the image",
    has_page=False,
    own=True,
)
EMULATED_BUILD_STAGE = Rule(
    name="EmulatedBuildStage",
    description=(
        "Stages whose results don't depend on where they ran should be built on the build platform"
    ),
    has_page=False,
    experimental=True,
    own=True,
)
