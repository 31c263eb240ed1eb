"""The flags of `bake`, and what of them are changes of targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.bakefile.addresses import is_remote
from polyarch.bakefile.entries import attest_shorthand
from polyarch.cli.building.signing import SIGN_FLAG
from polyarch.cli.building.values import call_flag
from polyarch.cli.display.flag import PROGRESS
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.network import AUTHORITIES, OFFLINE, PROXY_NETWORK
from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.record import frozen
from polyarch.request.policies import parse_policy

__all__ = ["BAKE_FLAGS", "Words", "changes", "policies", "progress_mode", "read_variables", "words"]

BAKE_FLAGS = (
    Flag(name="allow", kind=Kind.LIST, help="Allow build to access specified resources"),
    AUTHORITIES,
    Flag(
        name="call",
        default="build",
        help='Set method for evaluating build ("check", "outline", "targets")',
        choices=("build", "check", "outline", "targets"),
    ),
    Flag(name="check", kind=Kind.SWITCH, help='Shorthand for "--call=check"'),
    Flag(
        name="file", short="f", kind=Kind.LIST, help="Build definition file", completes="files"
    ),
    Flag(
        name="graph",
        bare="text",
        help="Show targets, what they are built on, and the steps that they share",
        choices=("text", "json", "svg"),
    ),
    Flag(
        name="join",
        kind=Kind.LIST,
        help="Make images of the parts that --shard has left in this directory, or pushed (its metadata file)",
        completes="files",
    ),
    Flag(
        name="keep-going",
        kind=Kind.SWITCH,
        help="Go on with the other targets when one fails",
    ),
    Flag(name="list", help='List targets or variables ("targets", "type=variables,format=json")', choices=("targets", "variables")),
    Flag(name="list-targets", kind=Kind.SWITCH, help="List available targets", hidden=True),
    Flag(name="list-variables", kind=Kind.SWITCH, help="List defined variables", hidden=True),
    Flag(name="load", kind=Kind.SWITCH, help='Shorthand for "--set=*.output=type=docker"'),
    Flag(
        name="matrix",
        help="Print the targets as jobs of a CI",
        choices=("github", "gitlab"),
    ),
    Flag(name="metadata-file", help="Write build result metadata to a file", completes="files"),
    Flag(name="no-cache", kind=Kind.SWITCH, help="Do not use cache when building the image"),
    OFFLINE,
    Flag(
        name="policy",
        kind=Kind.LIST,
        help=(
            "Global policy evaluation options, not files "
            '(format: "[disabled=true|false][,strict=true|false][,log-level=level]")'
        ),
    ),
    Flag(name="print", kind=Kind.SWITCH, help="Print the options without building"),
    Flag(
        name="output",
        short="o",
        help="Directory for the parts of --shard",
        completes="directories",
    ),
    PROGRESS,
    PROXY_NETWORK,
    Flag(name="provenance", help='Shorthand for "--set=*.attest=type=provenance"'),
    Flag(name="pull", kind=Kind.SWITCH, help="Always attempt to pull all referenced images"),
    Flag(name="push", kind=Kind.SWITCH, help='Shorthand for "--set=*.output=type=registry"'),
    Flag(name="sbom", help='Shorthand for "--set=*.attest=type=sbom"'),
    Flag(name="set", kind=Kind.LIST, help='Override target value ("targetpattern.key=value")'),
    SIGN_FLAG,
    Flag(
        name="shard",
        kind=Kind.LIST,
        help="Build for these platforms a part of each target, for --join",
        completes="platforms",
    ),
    Flag(name="var", kind=Kind.LIST, help='Set a variable value ("name=value")'),
)  # fmt: skip


@frozen
class Words:
    """The arguments: an address of a definition, what its BAKE_CMD_CONTEXT is, and targets."""

    address: str
    context: str
    targets: tuple[str, ...]


def words(arguments: Sequence[str]) -> Words:
    """Sort the arguments."""
    rest = list(arguments)
    address = rest.pop(0) if rest and is_remote(rest[0]) else ""
    context = rest.pop(0) if address and rest and is_remote(rest[0]) else "cwd://"
    return Words(address=address, context=context, targets=tuple(rest) or ("default",))


def progress_mode(options: Options, context: Context) -> str:
    """Return how progress is shown: as the flag says, else the environment."""
    mode = options.text("progress")
    if options.given("progress"):
        return mode
    return context.environ.get("BUILDKIT_PROGRESS") or mode


def changes(options: Options) -> tuple[str, ...]:
    """Return the values of `--set`, those that other flags stand for last. Raises InputError."""
    found = list(options.values("set"))
    if options.is_set("push"):
        found.append("*.push=true")
    if options.is_set("load"):
        found.append("*.load=true")
    call = call_flag("check" if options.is_set("check") else options.text("call"))
    if call is not None:
        found.append(f"*.call={call.name}")
    switches = [name for name in ("no-cache", "pull") if options.given(name)]
    found += [f"*.{name}={'true' if options.is_set(name) else 'false'}" for name in switches]
    attests = [name for name in ("sbom", "provenance") if options.text(name)]
    found += [f"*.attest={attest_shorthand(name, options.text(name))}" for name in attests]
    return (*found, *policies(options)[0])


def policies(options: Options) -> tuple[tuple[str, ...], bool]:
    """Return what `--policy` changes, and whether it turns policies off. Raises InputError."""
    values = options.values("policy")
    for value in values:
        policy = parse_policy(value)
        if policy.files:
            raise InputError(
                "--policy does not accept filename; define policy files in the bake definition"
            )
        if policy.reset:
            raise InputError(
                "--policy does not accept reset; define policy composition in the bake definition"
            )
        if policy.disabled:
            if policy.strict is not None or policy.level is not None or len(values) > 1:
                raise InputError("disabled policy cannot be combined with other policy flags")
            return (), True
    return tuple(f"*.policy+={value}" for value in values), False


def read_variables(values: Sequence[str]) -> Mapping[str, str]:
    """Read the values of `--var`. Raises InputError."""
    found: dict[str, str] = {}
    for value in values:
        if not value:
            continue
        name, equals, setting = value.partition("=")
        if not equals:
            raise InputError(f"invalid variable {quote(value)}, expected key=value")
        if not name:
            raise InputError(f"invalid variable {quote(value)}, key is empty")
        found[name] = setting
    return found
