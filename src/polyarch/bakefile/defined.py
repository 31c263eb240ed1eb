"""Blocks that are worked out -> targets and groups, which know where they are written."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.bakefile.blocks import context_of
from polyarch.bakefile.hcl.body import Block
from polyarch.bakefile.hcl.place import HclError
from polyarch.bakefile.target import Bases, Group, Target
from polyarch.record import replace

__all__ = ["group_of", "target_of"]


def target_of(
    block: Block, name: str, fields: Mapping[str, object], directory: str | None
) -> Target:
    """Return the target of a block; its paths are relative to `directory`."""
    target = Target(name=name, **fields)  # type: ignore[arg-type]
    written = block.body.attributes
    context = written.get("context")
    return replace(
        target,
        bases=Bases(
            default=directory,
            context=directory if context is not None else None,
            reference=context_of(context.expression) if context is not None else "",
            contexts=dict.fromkeys(target.contexts or {}, directory),
        ),
        places={"": block.head, **{each: written[each].expression.at for each in written}},
    )


def group_of(block: Block, name: str, fields: Mapping[str, object]) -> Group:
    """Return the group of a block. Raises HclError for one that names no targets."""
    written = block.body.attributes.get("targets")
    if written is None:
        detail = 'The argument "targets" is required, but no definition was found.'
        raise HclError("Missing required argument", detail, block.head)
    return Group(
        name=name,
        description=str(fields.get("description") or ""),
        targets=fields.get("targets"),  # type: ignore[arg-type]
        at=written.expression.at,
    )
