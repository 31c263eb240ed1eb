"""Many images from a bake file, by an engine of their own.

file = polyarch.BakeFile.load("docker-bake.hcl", variables={"TAG": "v2"})
result = polyarch.bake(file, ["app", "tests"], push=True)
print(result["app"].digest)
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypedDict

from polyarch.api.builds import Builder
from polyarch.api.watching import Progress, in_thread, shown
from polyarch.bakefile.allowed import missing, read_allowed
from polyarch.bakefile.config import Plan
from polyarch.bakefile.validate import check_target
from polyarch.bakefile.value import BakeFile
from polyarch.cli.baking.bake import cleaned
from polyarch.cli.baking.requests import request_of
from polyarch.cli.baking.told import failure, prefixed
from polyarch.cli.frame.command import Context
from polyarch.errors import InputError
from polyarch.progress import CancelToken, Sink, ignore_events
from polyarch.record import replace
from polyarch.request.baked import BakeResult
from polyarch.request.values import BuildRequest

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["BakeOptions", "bake", "bake_async"]

File = BakeFile | str | os.PathLike[str]


class BakeOptions(TypedDict, total=False):
    """What else a bake may be asked for.

    `overrides` are values of `--set`. `environ` are the variables that a bake file may see and that settings are taken
    from, `allow` what it may ask for beyond its directory, as `--allow` has it. With `keep_going` targets that don't depend on one
    that failed are finished, and errors are in the result. `builder` is an open Builder.
    """

    overrides: Sequence[str]
    push: bool
    load: bool
    no_cache: bool
    pull: bool
    allow: Sequence[str]
    environ: Mapping[str, str]
    keep_going: bool
    builder: Builder


def bake(
    file: File,
    targets: Sequence[str] = (),
    *,
    sink: Sink = ignore_events,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    **options: Unpack[BakeOptions],
) -> BakeResult:
    """Build targets and groups of a bake file, "default" if none is named, as one graph.

    Steps are named as those of their targets: `[app 2/3] RUN make`. Raises as `Builder.run`; unless told to keep
    going, the error of a target, which names it.
    """
    plan, requests = _understood(file, targets, options)
    own = Builder() if "builder" not in options else None
    builder = options.get("builder") or own
    assert builder is not None
    keeps_going = options.get("keep_going", False)
    with shown(progress, sink, builder="default", driver="polyarch") as watched:
        each = partial(prefixed, watched, logged={})
        carry_out = partial(
            builder.carry_out_all, requests, sink=each, cancel=cancel, keeps_going=keeps_going
        )
        if own is None:
            result = carry_out()
        else:
            with own:
                result = carry_out()
    if result.errors and not keeps_going:
        raise failure(result.errors, plan)
    return result


async def bake_async(
    file: File,
    targets: Sequence[str] = (),
    *,
    sink: Sink = ignore_events,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    **options: Unpack[BakeOptions],
) -> BakeResult:
    """Build as `bake` does, in a thread; cancelling the task cancels the bake and waits for its end."""

    def work(token: CancelToken) -> BakeResult:
        return bake(file, targets, sink=sink, progress=progress, cancel=token, **options)

    return await in_thread(work, cancel)


def _understood(
    file: File, targets: Sequence[str], options: BakeOptions
) -> tuple[Plan, dict[str, BuildRequest]]:
    unknown = options.keys() - BakeOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"a bake has no option {', '.join(sorted(unknown))}")
    environ = options.get("environ", {})
    if not isinstance(file, BakeFile):
        file = BakeFile.load(file, environ=environ, allow=options.get("allow", ()))
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    plan = file.plan(*names, overrides=_overrides(options), environ=environ)
    allowed = read_allowed(options.get("allow", ()))
    lacks = missing(plan, allowed, environ, is_remote=False)
    if lacks.values:
        raise InputError(
            f"the bake file asks for more than it may: {', '.join(lacks.reasons)}",
            hint=f"if you trust it: allow={list(lacks.values)}",
        )
    found = {}
    for name, each in plan.targets.items():
        check_target(each, environ)
        found[name] = cleaned(each)
    plan = replace(plan, targets=found)
    nothing = io.StringIO()
    context = Context(
        program="polyarch", environ=environ, stdin=nothing, stdout=nothing, stderr=nothing
    )
    return plan, {name: request_of(each, context) for name, each in sorted(found.items())}


def _overrides(options: BakeOptions) -> list[str]:
    given = {
        "push": options.get("push"),
        "load": options.get("load"),
        "no-cache": options.get("no_cache"),
        "pull": options.get("pull"),
    }
    switches = [f"*.{name}=true" for name, value in given.items() if value]
    return [*options.get("overrides", ()), *switches]
