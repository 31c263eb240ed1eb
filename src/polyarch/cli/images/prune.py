"""`image prune`: fewer names of images in the local store.

It runs in the engine, as the collector goes after it: what steps have made may belong to users that exist only there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.prompt import confirm
from polyarch.cli.frame.store import open_store
from polyarch.engine.collect import prune
from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.golang.time import parse_duration
from polyarch.golang.units import human_size
from polyarch.images.pruning import Label, PruneWish, forget_images

__all__ = ["PRUNE", "read_wish"]

_FILTERS = "until=<timestamp or duration>, label=<key>[=<value>], label!=<key>[=<value>]"


def _prune(options: Options, context: Context) -> int:
    wish = read_wish(options.values("filter"), kept=options.is_set("all"))
    what = "all images" if wish.kept else "all images that a registry has"
    if not options.is_set("force") and not confirm(f"WARNING! This will remove {what}.", context):
        return 0
    with open_store(context, works=False, frees=True) as store:
        names = forget_images(store, wish)
        freed = prune(store, (), wait=True)
    if names:
        lines = "".join(f"untagged: {name.familiar}\n" for name in names)
        context.stdout.write(f"Deleted Images:\n{lines}\n")
    context.print(f"Total reclaimed space: {human_size(freed.size)}")
    return 0


def read_wish(filters: Sequence[str], *, kept: bool) -> PruneWish:
    """Read the values of `--filter`. Raises InputError."""
    older = 0.0
    labels = []
    for text in filter(None, filters):
        key, _, value = text.partition("=")
        match key.strip().lower():
            case "until":
                older = _age(value.strip())
            case "label" | "label!":
                name, is_valued, wanted = value.strip().partition("=")
                labels.append(
                    Label(
                        name=name,
                        value=wanted if is_valued else None,
                        is_wanted=not key.endswith("!"),
                    )
                )
            case _:
                raise InputError(f"invalid filter {quote(key)}", hint=f"filters are {_FILTERS}")
    return PruneWish(kept=kept, older=older, labels=tuple(labels))


def _age(text: str) -> float:
    """Return the seconds since a moment, or those of a duration, as docker takes either."""
    try:
        return parse_duration(text) / 1e9
    except InputError:
        pass
    try:
        moment = datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise InputError(
                f"until: {quote(text)} is neither a duration nor a time",
                hint="write 24h, 2026-01-31, 2026-01-31T12:00:00 or seconds since 1970",
            ) from error
    if moment.tzinfo is None:
        moment = moment.astimezone()
    # 0 would be no bound at all.
    return max(time.time() - moment.timestamp(), 1e-6)


PRUNE = Command(
    usage="[OPTIONS]",
    run=_prune,
    needs_engine=True,
    example=(
        "$ polyarch image prune --force --filter until=168h\n"
        "$ polyarch image prune --all --filter label=stage=test"
    ),
    description=(
        "Images that were pushed are entries of the cache, and go by themselves when room is wanted; with --all\n"
        "those go as well that are kept: that were built without --push, loaded, pulled or tagged. Until means\n"
        "when a name was set last. Layers stay as far as the build cache has them (polyarch prune)."
    ),
    flags=(
        Flag(name="all", short="a", kind=Kind.SWITCH, help="Remove kept images as well"),
        Flag(
            name="filter",
            kind=Kind.FILTER,
            help='Provide filter values (e.g., "until=<timestamp>")',
        ),
        Flag(name="force", short="f", kind=Kind.SWITCH, help="Do not prompt for confirmation"),
    ),
)
