"""What blocks of bake files say of themselves: labels, descriptions, whose context they have."""

from __future__ import annotations

from polyarch.bakefile.hcl.body import Block
from polyarch.bakefile.hcl.convert import ConversionError, as_text
from polyarch.bakefile.hcl.evaluate import Scope, evaluate
from polyarch.bakefile.hcl.nodes import Attr, Expression, IndexStep, Traversal, start_of, traversals
from polyarch.bakefile.hcl.place import HclError
from polyarch.bakefile.hcl.types import Kind
from polyarch.golang.strconv import quote
from polyarch.text.nearest import nearest

__all__ = ["check_contents", "check_labels", "context_of", "description_of"]

_ARGUMENTS = {
    "function": ("params", "variadic_params", "result"),
    "validation": ("condition", "error_message"),
}


def check_labels(block: Block) -> None:
    """Raise HclError unless a block has one label."""
    if not block.labels:
        detail = f"All {block.type} blocks must have 1 labels (name)."
        raise HclError(f"Missing name for {block.type}", detail, block.head)
    if len(block.labels) > 1:
        detail = f"Only 1 labels (name) are expected for {block.type} blocks."
        raise HclError(f"Extraneous label for {block.type}", detail, block.label_ats[1])


def check_contents(block: Block) -> None:
    """Raise HclError for what a block of fixed arguments doesn't have, and for such blocks in one."""
    known = _ARGUMENTS.get(block.type)
    if known is None:
        for each in block.body.blocks:
            if each.type == "validation":
                check_contents(each)
        return
    for name, attribute in block.body.attributes.items():
        if name not in known:
            near = nearest(name, known)
            hint = f" Did you mean {quote(near)}?" if near else ""
            detail = f"An argument named {quote(name)} is not expected here.{hint}"
            raise HclError("Unsupported argument", detail, attribute.name_at)
    for each in block.body.blocks:
        detail = f"Blocks of type {quote(each.type)} are not expected here."
        raise HclError("Unsupported block type", detail, each.head)


def description_of(block: Block) -> str:
    """Return what a block says of itself, "" for nothing. Raises HclError."""
    attribute = block.body.attributes.get("description")
    if attribute is None:
        return ""
    for each in traversals(attribute.expression):
        raise HclError("Variables not allowed", "Variables may not be used here.", each.at)
    value = evaluate(attribute.expression, Scope({}))
    try:
        return as_text(value)
    except ConversionError as error:
        detail = f"Unsuitable value: {error}"
        raise HclError("Unsuitable value type", detail, start_of(attribute.expression)) from None


def context_of(expression: Expression) -> str:
    """Return NAME if an expression is `target.NAME.context`, else ""."""
    if not isinstance(expression, Traversal) or expression.root != "target":
        return ""
    if len(expression.steps) != 2:
        return ""
    first, second = expression.steps
    if not isinstance(second, Attr) or second.name != "context":
        return ""
    if isinstance(first, IndexStep):
        return str(first.key.raw) if first.key.type.kind is Kind.STRING else ""
    return first.name
