"""`rm`: builders, and the daemons that were started for them."""

from __future__ import annotations

from polyarch.builders.saved import SavedBuilders
from polyarch.builders.values import DEFAULT_NAME, SavedBuilder
from polyarch.buildkit.needs import require_grpc
from polyarch.cli.builders.states import all_states
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.prompt import confirm
from polyarch.errors import InputError, NotFound, PolyarchError
from polyarch.golang.strconv import quote

__all__ = ["RM"]


def _run(options: Options, context: Context) -> int:
    builders = SavedBuilders(context.environ)
    if options.is_set("all-inactive"):
        return _remove_inactive(builders, options, context)
    named = context.builder or context.environ.get("BUILDX_BUILDER", "")
    names = options.arguments or (named or builders.current().name,)
    failed = False
    for name in names:
        try:
            builder = _known(builders, name)
            _remove(builders, builder, options, context)
        except PolyarchError as error:
            context.warn(f"failed to remove {name}: {error}")
            failed = True
        else:
            context.warn(f"{name} removed")
    if failed:
        raise InputError("failed to remove one or more builders")
    return 0


def _known(builders: SavedBuilders, name: str) -> SavedBuilder:
    if name == DEFAULT_NAME:
        raise InputError(
            "default builder cannot be removed", hint="polyarch use NAME makes another one current"
        )
    builder = builders.find(name)
    if builder is None:
        raise NotFound(f"no builder {quote(name)} found", hint="polyarch ls lists the builders")
    if builder.is_context:
        raise InputError(
            f"context builder cannot be removed, run `docker context rm {name}` to remove this context"
        )
    return builder


def _remove_inactive(builders: SavedBuilders, options: Options, context: Context) -> int:
    if options.arguments:
        raise InputError("cannot specify builder name when --all-inactive is set")
    question = "WARNING! This will remove all builders that are not in running state."
    if not options.is_set("force") and not confirm(question, context):
        return 0
    # Those of other drivers aren't ours, and those of this machine are always ready.
    known = [each for each in builders.all() if each.is_remote and not each.is_context]
    states = all_states(known, context.environ, options.seconds("timeout"))
    for builder in known:
        if all(state.status != "running" for state in states[builder.name].values()):
            _remove(builders, builder, options, context)
            context.warn(f"{builder.name} removed")
    return 0


def _remove(
    builders: SavedBuilders, builder: SavedBuilder, options: Options, context: Context
) -> None:
    """Forget a builder, also if its daemons can't be removed, which is raised then."""
    trouble = None
    if builder.is_remote and not options.is_set("keep-daemon"):
        # gRPC, and what it is made of.
        require_grpc()
        from polyarch.cli.builders.driving import remove_all  # noqa: PLC0415

        try:
            remove_all(builder, context, keeps_state=options.is_set("keep-state"))
        except PolyarchError as error:
            trouble = error
    with builders.change():
        builders.remove(builder)
    if trouble is not None:
        raise trouble


RM = Command(
    usage="[OPTIONS] [NAME...]",
    run=_run,
    most=None,
    completes="builders",
    example="$ polyarch rm mybuilder",
    flags=(
        Flag(name="all-inactive", kind=Kind.SWITCH, help="Remove all inactive builders"),
        Flag(name="force", short="f", kind=Kind.SWITCH, help="Do not prompt for confirmation"),
        Flag(name="keep-daemon", kind=Kind.SWITCH, help="Keep the BuildKit daemon running"),
        Flag(name="keep-state", kind=Kind.SWITCH, help="Keep BuildKit state"),
        Flag(name="timeout", kind=Kind.DURATION, default="20s", hidden=True),
    ),
)
