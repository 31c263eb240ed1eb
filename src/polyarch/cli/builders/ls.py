"""`ls`: all builders with their nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.builders.saved import SavedBuilders
from polyarch.builders.values import BuilderNode, SavedBuilder
from polyarch.cli.builders.commands import UNSUPPORTED
from polyarch.cli.builders.states import NodeState, all_states
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.table import LINE, Format, fitted, parse_format, table_width
from polyarch.golang.template.values import Value
from polyarch.platforms import column, parse
from polyarch.record import frozen

__all__ = ["LS", "Listing", "truncate_platforms"]

_DEFAULT = "{{.Name}}\t{{.DriverEndpoint}}\t{{.Status}}\t{{.Buildkit}}\t{{.Platforms}}"
_TITLES = {
    "Name": "NAME/NODE",
    "DriverEndpoint": "DRIVER/ENDPOINT",
    "LastActivity": "LAST ACTIVITY",
    "Status": "STATUS",
    "Buildkit": "BUILDKIT",
    "Platforms": "PLATFORMS",
    "Error": "ERROR",
}
_COLUMNS = {name: title for name, title in _TITLES.items() if name not in {"LastActivity", "Error"}}
_MAJOR = (
    "linux/amd64",
    "linux/arm64",
    "linux/arm",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
    "linux/mips64",
)
_MAX_GROUPS = 4


@frozen
class Listing:
    """What `ls` lists; `states` are those of the nodes, by the names of builder and node."""

    builders: tuple[SavedBuilder, ...]
    current: str
    states: Mapping[str, Mapping[str, NodeState]]
    truncate: bool = True
    is_fitted: bool = False
    """Whether the table is to fit a line, too."""
    cuts_names: bool = True
    """Whether names are cut for that: programs that look for one want all of it."""

    def render(self, form: Format) -> str:
        """Write the listing in a form that isn't JSON: a row for each builder, and for each node."""
        rows = self._rows(form, _MAX_GROUPS)
        if self.is_fitted:
            # Platforms first: those that are left out are counted.
            for groups in range(_MAX_GROUPS - 1, 0 if self.cuts_names else -1, -1):
                if table_width(rows, _COLUMNS) <= LINE:
                    break
                rows = self._rows(form, groups)
            names = {"Name": (9, False)} if self.cuts_names else {}
            rows = fitted(rows, _COLUMNS, {**names, "DriverEndpoint": (9, False)})
        return form.render(rows, titles=_TITLES, record="*commands.lsContext")

    def _rows(self, form: Format, groups: int) -> list[Mapping[str, Value]]:
        rows: list[Mapping[str, Value]] = []
        for builder in self.builders:
            rows.append(self._builder_row(builder, form))
            rows += [self._node_row(builder, node, form, groups) for node in builder.nodes]
        return rows

    def objects(self) -> list[dict[str, Value]]:
        """Return the builders as JSON has them."""
        return [self._object(builder) for builder in self.builders]

    def _object(self, builder: SavedBuilder) -> dict[str, Value]:
        error = {"Err": UNSUPPORTED.format(builder.driver)} if _is_unusable(builder) else {}
        return {
            "Current": builder.name == self.current,
            "Driver": builder.driver,
            "Dynamic": builder.dynamic,
            "LastActivity": builder.last_activity,
            "Name": builder.name,
            "Nodes": [self._node_object(builder, node) for node in builder.nodes],
            **error,
        }

    def _node_object(self, builder: SavedBuilder, node: BuilderNode) -> dict[str, Value]:
        fields: dict[str, Value] = {"Endpoint": node.endpoint, "Name": node.name}
        if node.driver_opts:
            fields["DriverOpts"] = dict(node.driver_opts)
        if node.flags:
            fields["Flags"] = list(node.flags)
        state = self._state(builder, node)
        if state.error:
            fields["Err"] = state.error
        if state.platforms:
            shown = column(node.platforms, state.platforms)
            fields["Platforms"] = [text.removesuffix("*") for text in shown]
            fields["Version"] = state.version
        fields["Status"] = state.status
        return fields

    def _state(self, builder: SavedBuilder, node: BuilderNode) -> NodeState:
        return self.states.get(builder.name, {}).get(node.name, NodeState())

    def _builder_row(self, builder: SavedBuilder, form: Format) -> dict[str, Value]:
        mark = "*" if form.is_table and builder.name == self.current else ""
        return {
            "Name": builder.name + mark,
            "DriverEndpoint": builder.driver,
            "LastActivity": builder.last_activity,
            "Status": "error" if _is_unusable(builder) else "",
            "Buildkit": "",
            "Platforms": "",
            "Error": UNSUPPORTED.format(builder.driver) if _is_unusable(builder) else "",
            "Builder": self._object(builder),
        }

    def _node_row(
        self, builder: SavedBuilder, node: BuilderNode, form: Format, groups: int
    ) -> dict[str, Value]:
        indent = " \\_ " if form.is_table else ""
        state = self._state(builder, node)
        shown = column(node.platforms, state.platforms)
        return {
            "Name": indent + node.name,
            "DriverEndpoint": indent + node.endpoint,
            "LastActivity": "",
            "Status": state.status,
            "Buildkit": state.version,
            "Platforms": truncate_platforms(shown, groups) if self.truncate else ", ".join(shown),
            "Error": "",
            "Builder": self._object(builder),
        }


def truncate_platforms(texts: Sequence[str], most: int = _MAX_GROUPS) -> str:
    """Write platforms (those that the user chose end with `*`) in a few groups, by architecture."""
    groups: dict[str, list[str]] = {}
    for text in texts:
        platform = parse(text.removesuffix("*"))
        groups.setdefault(f"{platform.os}/{platform.architecture}", []).append(text)
    major = [name for name in _MAJOR if name in groups]
    names = (major + sorted(groups.keys() - set(major)))[:most]
    shown = [_group(name, groups[name]) for name in names]
    left = len(texts) - sum(len(groups[name]) for name in names)
    return ", ".join([*shown, *([f"({left} more)"] if left else [])])


def _group(name: str, members: Sequence[str]) -> str:
    if len(members) == 1:
        return members[0]
    mark = "*" if any(member.endswith("*") for member in members) else ""
    return f"{name}{mark} (+{len(members)})"


def _ls(options: Options, context: Context) -> int:
    form = parse_format(options.text("format"), default=_DEFAULT)
    builders = SavedBuilders(context.environ)
    known = builders.all()
    states = all_states(known, context.environ, options.seconds("timeout"))
    listing = Listing(
        builders=known,
        current=builders.current().name,
        states=states,
        truncate=not options.is_set("no-trunc"),
        is_fitted=not options.is_set("no-trunc") and options.text("format") == "table",
        cuts_names=context.stdout.isatty(),
    )
    if options.text("format") == "json":
        context.stdout.write(form.render(listing.objects(), titles={}))
        return 0
    context.stdout.write(listing.render(form))
    for builder in filter(_is_unusable, known):
        context.warn(f"Cannot load builder {builder.name}: {UNSUPPORTED.format(builder.driver)}")
    if form.is_table:
        for name, nodes in states.items():
            for node, state in nodes.items():
                if state.error:
                    context.warn(f"Failed to get status for {name} ({node}): {state.error}")
    return 0


def _is_unusable(builder: SavedBuilder) -> bool:
    return not builder.is_usable


LS = Command(
    usage="[OPTIONS]",
    run=_ls,
    example="$ polyarch ls\n$ polyarch ls --format '{{.Name}}: {{.Platforms}}'",
    flags=(
        Flag(name="builder", hidden=True),
        Flag(name="format", default="table", help="Format the output", choices=("table", "json")),
        Flag(name="no-trunc", kind=Kind.SWITCH, help="Don't truncate output"),
        Flag(name="timeout", kind=Kind.DURATION, default="20s", hidden=True),
    ),
)
