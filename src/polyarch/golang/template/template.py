"""Templates of `--format`: parsed once, rendered for each record.

A subset of Go's text/template: fields, pipes, variables, if, with, range, break, continue, comments,
trimming, Go's functions and docker's. Not there: define, template, block, methods.
"""

from __future__ import annotations

from polyarch.golang.template.evaluate import Evaluator
from polyarch.golang.template.functions import FUNCTIONS, HEADER_FUNCTIONS, INDENTED_FUNCTIONS
from polyarch.golang.template.nodes import Node
from polyarch.golang.template.parser import parse
from polyarch.golang.template.values import Value
from polyarch.record import frozen

__all__ = ["Template", "parse_template"]


@frozen
class Template:
    """A template that parses."""

    source: str
    nodes: tuple[Node, ...]

    def render(self, data: Value, *, record: str = "", is_indented: bool = False) -> str:
        """Write `data`. Raises InputError with line and column where that can't be.

        Fields that aren't there show as `<no value>`; if `record` names a type, those missing at the top
        are errors, as for a record of that type. `is_indented` is for JSON that people read.
        """
        functions = INDENTED_FUNCTIONS if is_indented else FUNCTIONS
        return Evaluator(self.source, functions, record=record).run(self.nodes, data)

    def render_header(self, names: Value) -> str:
        """Write the names of columns in place of values: functions leave them as they are."""
        return Evaluator(self.source, HEADER_FUNCTIONS).run(self.nodes, names)


def parse_template(source: str) -> Template:
    """Parse a template. Raises InputError with the line."""
    return Template(source=source, nodes=parse(source, FUNCTIONS.keys() | {"and", "or"}))
