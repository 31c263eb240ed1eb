"""Bodies of bake files -> targets, groups and variables: what refers to what is worked out when it is asked for.

Attributes may refer to variables and to attributes of other targets in any order, as long as no circle comes of
it. Source: documentation of bake files, and behaviour of buildx's `hclparser`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from polyarch.bakefile.attributes import (
    GROUP_ATTRIBUTES,
    TARGET_ATTRIBUTES,
    AttributeRule,
    read_attribute,
    target_value,
)
from polyarch.bakefile.blocks import check_contents, check_labels, description_of
from polyarch.bakefile.defined import group_of, target_of
from polyarch.bakefile.hcl.body import Attribute, Block, Body
from polyarch.bakefile.hcl.convert import ConversionError, as_text
from polyarch.bakefile.hcl.evaluate import Scope, evaluate
from polyarch.bakefile.hcl.functions.library import LIBRARY
from polyarch.bakefile.hcl.functions.spec import Function
from polyarch.bakefile.hcl.nodes import Attr, Expression, Traversal, calls, start_of, traversals
from polyarch.bakefile.hcl.place import HclError, Range, Undefined
from polyarch.bakefile.hcl.types import STRING, map_of
from polyarch.bakefile.hcl.values import NULL, Value, map_value, null_of, object_value, string
from polyarch.bakefile.matrix import combinations
from polyarch.bakefile.names import check_name
from polyarch.bakefile.target import Group, Target
from polyarch.bakefile.userfunctions import user_function
from polyarch.bakefile.variables import (
    Setting,
    Shown,
    Variable,
    as_truth,
    overridden,
    read_variable,
    shown,
    with_default,
)
from polyarch.errors import BakeFileError
from polyarch.golang.strconv import quote
from polyarch.record import frozen

__all__ = ["Resolved", "Resolver"]

_DEFINING = ("target", "group")
_NO_MESSAGE = "This check failed, but has an invalid error message."


@frozen
class Resolved:
    """What files define: targets and groups in their order, and variables."""

    targets: tuple[Target, ...]
    groups: tuple[Group, ...]
    variables: tuple[Shown, ...] = ()


class _Cell:
    """One target or group that a block defines; a matrix makes several of one block."""

    def __init__(self, scope: Scope, label: str) -> None:
        self.scope = scope
        self.name = label
        self.fields: dict[str, object] = {}
        self.done: set[str] = set()
        self.busy: set[str] = set()


class _Names(NamedTuple):
    """What the files define by name, before anything is worked out."""

    variables: dict[str, Variable]
    attributes: dict[str, Attribute]
    functions: dict[str, Block]


class Resolver:
    """Works out one definition. `find` looks a variable up outside, `builtins` are those that bake itself sets.

    `directories` are what the paths of each body are relative to, None for the current directory.
    """

    def __init__(
        self,
        bodies: Sequence[Body],
        *,
        find: Callable[[str], str | None],
        builtins: Mapping[str, str],
        directories: Sequence[str | None] = (),
    ) -> None:
        self._find = find
        self._builtins = builtins
        self._functions: dict[str, Function] = dict(LIBRARY)
        self._values: dict[str, Value] = {}
        self._scope = Scope(self._values, self._functions)
        self._busy_values: set[tuple[int, str]] = set()
        self._busy_functions: set[tuple[int, str]] = set()
        self._cells: dict[int, list[_Cell]] = {}
        self._blocks: dict[str, dict[str, list[Block]]] = {}
        self._knows_blocks = False
        self._defining = [each for body in bodies for each in body.blocks if each.type in _DEFINING]
        self._names = self._collect(bodies)
        self._directories = {
            id(block): directory
            for body, directory in zip(bodies, directories, strict=False)
            for block in body.blocks
        }

    def _collect(self, bodies: Sequence[Body]) -> _Names:
        reserved = {*_DEFINING, *self._builtins}
        names = _Names({}, {}, {})
        for block in (each for body in bodies for each in body.blocks):
            if block.type in {*_DEFINING, "variable", "function"}:
                check_labels(block)
                check_contents(block)
            if block.type == "variable" and block.labels[0] not in reserved:
                names.variables[block.labels[0]] = read_variable(block, description_of(block))
            elif block.type == "function" and block.labels[0] not in reserved:
                names.functions[block.labels[0]] = block
        for body in bodies:
            for name, attribute in body.attributes.items():
                if name not in reserved and name != "function":
                    names.attributes[name] = attribute
        return names

    # --- everything ---

    def resolve(self, targets: Iterable[Target] = (), groups: Iterable[Group] = ()) -> Resolved:
        """Work out everything, over targets and groups that are there already. Raises HclError."""
        for name in self._builtins:
            self._value(self._scope, name)
        variables = self._all_variables()
        self._validate()
        self._all_functions()
        self._knows_blocks = True
        renamed = self._name_blocks()
        found_targets = {each.name: each for each in targets}
        found_groups = {each.name: each for each in groups}
        for block in self._defining:
            self._wrapped("Invalid block", block.label_ats[0], partial(self._block, block, None))
            self._define(block, found_targets, found_groups)
        for name, attribute in self._names.attributes.items():
            self._wrapped(
                "Invalid attribute", attribute.at, partial(self._value, self._scope, name)
            )
        more = [Group(name=old, targets=tuple(new)) for old, new in renamed if list(new) != [old]]
        return Resolved(
            targets=tuple(found_targets.values()),
            groups=(*found_groups.values(), *more),
            variables=variables,
        )

    def _all_variables(self) -> tuple[Shown, ...]:
        """Work out all variables; return them as lists of them show them."""
        listed = []
        for name, variable in self._names.variables.items():
            self._wrapped(
                "Invalid value", variable.block.head, partial(self._value, self._scope, name)
            )
            listed.append(shown(variable, self._values[name]))
        return tuple(listed)

    def _all_functions(self) -> None:
        for name, block in self._names.functions.items():
            params = block.body.attributes.get("params")
            at = params.at if params is not None else block.label_ats[0]
            self._wrapped("Invalid function", at, partial(self._function, self._scope, name))

    def _define(self, block: Block, targets: dict[str, Target], groups: dict[str, Group]) -> None:
        """Add what a block defines, one for each cell of its matrix, to the targets or the groups."""
        for cell in self._cells[id(block)]:
            if block.type == "group":
                groups[cell.name] = group_of(block, cell.name, cell.fields)
                continue
            directory = self._directories.get(id(block))
            target = target_of(block, cell.name, cell.fields, directory)
            before = targets.get(cell.name)
            targets[cell.name] = before.merged(target) if before else target

    @staticmethod
    def _wrapped(summary: str, at: Range, work: Callable[[], object]) -> None:
        """Set the place of errors without one to that of the attribute that is being worked out."""
        try:
            work()
        except HclError:
            raise
        except BakeFileError as error:
            raise HclError(summary, _said(error), at) from error

    def _validate(self) -> None:
        for variable in self._names.variables.values():
            for rule in variable.validations:
                self._check(rule)

    def _check(self, rule: Block) -> None:
        condition = rule.body.attributes.get("condition")
        at = condition.expression.at if condition is not None else rule.head
        value = NULL if condition is None else evaluate(condition.expression, self._scope)
        summary = "Invalid condition result"
        if value.is_null:
            detail = "Condition expression must return either true or false, not null."
            raise HclError(summary, detail, at)
        try:
            holds = as_truth(value)
        except ConversionError as error:
            detail = f"Invalid condition result value: {error}"
            raise HclError(summary, detail, at) from None
        if not holds:
            written = rule.body.attributes.get("error_message")
            message = NULL if written is None else evaluate(written.expression, self._scope)
            detail = message.raw if isinstance(message.raw, str) else _NO_MESSAGE
            raise HclError("Validation failed", detail, at)

    def _name_blocks(self) -> list[tuple[str, dict[str, None]]]:
        """Find out the names of all targets and groups; return for each label the names that became of it."""
        renamed: dict[tuple[str, str], dict[str, None]] = {}
        for block in self._defining:
            names: list[str] = []
            at = block.label_ats[0]
            self._wrapped("Invalid name", at, partial(self._add_names, block, names))
            for name in names:
                self._blocks.setdefault(block.type, {}).setdefault(name, []).append(block)
                renamed.setdefault((block.type, block.labels[0]), {})[name] = None
        return [(label, names) for (_kind, label), names in renamed.items()]

    def _add_names(self, block: Block, names: list[str]) -> None:
        names.extend(self._block_names(block))

    def _block_names(self, block: Block) -> list[str]:
        label = block.labels[0]
        cells = self._cells_of(block)
        if cells:
            check_name(label)
        attribute = block.body.attributes.get("name")
        if attribute is not None and block.type == "group":
            raise BakeFileError("name is not supported for groups")
        for cell in cells:
            if attribute is not None:
                if "matrix" not in block.body.attributes:
                    raise BakeFileError("name requires matrix")
                cell.name = self._cell_name(attribute.expression, cell.scope)
                check_name(cell.name)
        names = [cell.name for cell in cells]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise BakeFileError(f"duplicate name {quote(name)}")
        return names

    def _cell_name(self, expression: Expression, scope: Scope) -> str:
        self._load(scope, expression)
        try:
            return as_text(evaluate(expression, scope))
        except ConversionError as error:
            raise BakeFileError(str(error)) from None

    # --- what an expression needs ---

    def _load(
        self,
        scope: Scope,
        expression: Expression,
        known: frozenset[str] = frozenset(),
        *,
        strict: bool = False,
    ) -> None:
        """Work out what an expression refers to. What isn't there is passed over, unless `strict`."""
        try:
            for name in calls(expression):
                self._maybe(partial(self._function, scope, name), strict)
            for each in traversals(expression):
                if each.root in known:
                    continue
                if self._knows_blocks and each.root in _DEFINING:
                    self._load_block(each, strict)
                else:
                    self._maybe(partial(self._value, scope, each.root), strict)
        except HclError:
            raise
        except BakeFileError as error:
            raise HclError("Invalid expression", _said(error), expression.at) from error

    @staticmethod
    def _maybe(work: Callable[[], object], strict: bool) -> None:
        try:
            work()
        except Undefined:
            if strict:
                raise

    def _load_block(self, reference: Traversal, strict: bool) -> None:
        if not reference.steps:
            raise BakeFileError(f"cannot access {reference.root} as a variable")
        first, *rest = reference.steps
        if not isinstance(first, Attr):
            raise BakeFileError(f"cannot traverse {reference.root} without attribute")
        wanted = {rest[0].name} if rest and isinstance(rest[0], Attr) else None
        for block in self._blocks.get(reference.root, {}).get(first.name, ()):
            self._maybe(partial(self._block, block, wanted), strict)

    def _function(self, scope: Scope, name: str) -> None:
        if name in self._functions or name in {"try", "can", "convert"}:
            return
        block = self._names.functions.get(name)
        if block is None:
            raise Undefined(f"function {quote(name)} does not exist")
        if (id(scope), name) in self._busy_functions:
            raise BakeFileError(f"function cycle not allowed for {name}")
        self._busy_functions.add((id(scope), name))

        def prepare(expression: Expression, names: frozenset[str]) -> None:
            self._load(self._scope, expression, names, strict=True)

        self._functions[name] = user_function(block, self._scope, prepare)

    def _value(self, scope: Scope, name: str) -> None:
        if name in self._values or scope.find(name) is not None:
            return
        if (id(scope), name) in self._busy_values:
            raise BakeFileError(f"variable cycle not allowed for {name}")
        self._busy_values.add((id(scope), name))
        if name in self._builtins:
            self._values[name] = string(self._builtins[name])
            return
        attribute = self._names.attributes.get(name)
        if attribute is not None:
            self._load(scope, attribute.expression)
            self._values[name] = evaluate(attribute.expression, scope)
            return
        variable = self._names.variables.get(name)
        if variable is None:
            raise Undefined(f"variable {quote(name)} does not exist")
        self._values[name] = self._variable(variable)

    def _variable(self, variable: Variable) -> Value:
        default: Value | None = None
        if variable.default is not None:
            self._load(self._scope, variable.default.expression)
            value = evaluate(variable.default.expression, self._scope)
            default = with_default(variable, value)
        setting = self._setting(variable.name, favours_json=variable.type is not None)
        if setting is not None:
            return overridden(variable, default, setting)
        if default is not None:
            return default
        return null_of(variable.type) if variable.type is not None else string("")

    def _setting(self, name: str, *, favours_json: bool) -> Setting | None:
        """Find what a variable is set to outside: as it is, or as JSON in NAME_JSON."""
        plain = self._find(name)
        if plain is None or favours_json:
            other = f"{name}_JSON"
            if other not in self._names.variables and other not in self._builtins:
                found = self._find(other)
                if found is not None:
                    return Setting(found, is_json=True)
        return None if plain is None else Setting(plain, is_json=False)

    # --- blocks ---

    def _cells_of(self, block: Block) -> list[_Cell]:
        self._values.setdefault(block.type, map_value({}, map_of(STRING)))
        if id(block) not in self._cells:
            self._cells[id(block)] = [
                _Cell(scope, block.labels[0]) for scope in self._scopes(block)
            ]
        return self._cells[id(block)]

    def _scopes(self, block: Block) -> list[Scope]:
        attribute = block.body.attributes.get("matrix")
        if attribute is None:
            return [self._scope]
        if block.type == "group":
            raise BakeFileError("matrix is not supported for groups")
        self._load(self._scope, attribute.expression)
        value = evaluate(attribute.expression, self._scope)
        return [self._scope.child(each) for each in combinations(value)]

    def _block(self, block: Block, wanted: set[str] | None) -> None:
        """Work out a block, or one attribute of it."""
        for cell in self._cells_of(block):
            self._cell(block, cell, wanted)

    def _cell(self, block: Block, cell: _Cell, wanted: set[str] | None) -> None:
        known = TARGET_ATTRIBUTES if block.type == "target" else GROUP_ATTRIBUTES
        names = set(known) if wanted is None else wanted
        names = names - cell.done
        if not names and wanted is not None:
            return
        if wanted is not None:
            for name in names & cell.busy:
                raise BakeFileError(
                    f"reference cycle not allowed for {block.type}.{cell.name}.{name}"
                )
            cell.busy |= names
        present = [
            (name, each)
            for name, each in block.body.attributes.items()
            if name in names and name in known
        ]
        for _name, each in present:
            self._load(cell.scope, each.expression)
        for name, each in present:
            if name in cell.done:
                continue
            cell.fields[known[name].field] = _read(known[name], each, cell.scope)
            cell.done.add(name)
        if wanted is not None:
            cell.done |= names
        self._publish(block, cell)

    def _publish(self, block: Block, cell: _Cell) -> None:
        """Let others refer to what is known of a block so far."""
        if block.type == "target":
            value = target_value(Target(name=cell.name, **cell.fields))  # type: ignore[arg-type]
        else:
            group = Target(name=cell.name, tags=cell.fields.get("targets"))  # type: ignore[arg-type]
            fields = target_value(group).raw
            value = object_value(
                {
                    "name": string(cell.name),
                    "description": string(str(cell.fields.get("description") or "")),
                    "targets": fields["tags"],
                }
            )
        before = self._values[block.type]
        self._values[block.type] = object_value({**before.raw, cell.name: value})


def _said(error: BakeFileError) -> str:
    return f"{error}: undefined" if isinstance(error, Undefined) else str(error)


def _read(attribute: AttributeRule, written: Attribute, scope: Scope) -> object:
    value = evaluate(written.expression, scope)
    try:
        return read_attribute(attribute, value)
    except ConversionError as error:
        detail = f"Unsuitable value: {error}"
        raise HclError("Unsuitable value type", detail, start_of(written.expression)) from None
