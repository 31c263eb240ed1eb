"""`bake --matrix`: the targets of a plan as the jobs of a CI, those that others are built on before these."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from polyarch.bakefile.config import Plan
from polyarch.cli.baking.told import links
from polyarch.errors import InputError
from polyarch.golang.json import compact

__all__ = ["levels", "matrix"]


def matrix(plan: Plan, form: str) -> str:
    """Return the jobs as the CI called `form` takes them. Raises InputError for one that isn't known."""
    if form not in _FORMS:
        raise InputError(f"--matrix can't be {form}", hint=f"use {' or '.join(_FORMS)}")
    return _FORMS[form](plan)


def levels(plan: Plan) -> dict[str, int]:
    """Return how many targets have to be there before each: 0, or one more than those that it is built on."""
    found: dict[str, int] = {}

    def level(name: str) -> int:
        if name not in found:
            found[name] = 1 + max(map(level, links(plan.targets[name])), default=-1)
        return found[name]

    for name in sorted(plan.targets):
        level(name)
    return dict(sorted(found.items(), key=lambda each: (each[1], each[0])))


def _github(plan: Plan) -> str:
    """Return one line: what `strategy.matrix` takes by `fromJSON`, a job for each target."""
    jobs = []
    for name, level in levels(plan).items():
        target = plan.targets[name]
        jobs.append(
            {
                "target": name,
                "level": level,
                "needs": sorted(set(links(target))),
                "platforms": ",".join(target.platforms or ()),
            }
        )
    return compact({"include": jobs}).decode() + "\n"


def _gitlab(plan: Plan) -> str:
    """Return a child pipeline: a job for each target, which extends `.bake`."""
    return "".join(f"{line}\n" for line in _pipeline(plan))


def _pipeline(plan: Plan) -> Iterator[str]:
    found = levels(plan)
    yield f"stages: [{', '.join(f'bake-{number}' for number in sorted(set(found.values())))}]"
    yield ""
    yield "# What each job does; put another .bake into a file that is included after this one."
    yield ".bake:"
    yield "  script:"
    yield "    - polyarch bake $TARGET"
    for name, level in found.items():
        target = plan.targets[name]
        needs = ", ".join(map(json.dumps, sorted(set(links(target)))))
        yield ""
        yield f"{json.dumps(name)}:"
        yield "  extends: .bake"
        yield f"  stage: bake-{level}"
        yield f"  needs: [{needs}]"
        yield "  variables:"
        yield f"    TARGET: {json.dumps(name)}"
        yield f"    PLATFORMS: {json.dumps(','.join(target.platforms or ()))}"


_FORMS: Mapping[str, Callable[[Plan], str]] = {"github": _github, "gitlab": _gitlab}
