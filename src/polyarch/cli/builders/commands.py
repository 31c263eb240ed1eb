"""`inspect`, `use`: one builder at a time."""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, count

from polyarch.builders.collecting import read_settings, settings_of
from polyarch.builders.saved import SavedBuilders
from polyarch.builders.values import ELSEWHERE, BuilderNode, SavedBuilder, require_local
from polyarch.buildkit.needs import require_grpc
from polyarch.cdi.devices import Devices, find_devices, spec_directories
from polyarch.cli.builders.chosen import working_builder
from polyarch.cli.builders.states import NodeState, states_of
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.table import align
from polyarch.errors import NotFound
from polyarch.golang.strconv import quote
from polyarch.golang.time import duration_text, find_time
from polyarch.golang.units import bytes_size
from polyarch.platforms import column
from polyarch.store.policy import Policy

__all__ = ["INSPECT", "UNSUPPORTED", "USE", "inspection"]

UNSUPPORTED = "driver {} can't be used by polyarch yet"
_FEATURES = (
    "Cache export",
    "Direct push",
    "Docker exporter",
    "Multi-platform build",
    "OCI exporter",
)
_TIMEOUT = Flag(name="timeout", kind=Kind.DURATION, default="20s", hidden=True)

# --- inspect ---


def _inspect(options: Options, context: Context) -> int:
    name = options.arguments[0] if options.arguments else context.builder
    builders = SavedBuilders(context.environ)
    builder = builders.get(name)
    if builder.is_remote and options.is_set("bootstrap"):
        _boot(builder, context)
    states = states_of(builder, context.environ, options.seconds("timeout"))
    policies = _policies(builder, context) if builder.is_local else ()
    devices = find_devices(spec_directories(context.environ)) if builder.is_local else None
    if not name:
        # Says so if another one does its work.
        working_builder(context, builders, elsewhere=ELSEWHERE)
    elif options.is_set("bootstrap") and not builder.is_elsewhere:
        require_local(builder)
    text = inspection(builder, states, policies, devices=devices, debug=context.debug)
    context.stdout.write(text)
    return 0


def _boot(builder: SavedBuilder, context: Context) -> None:
    # gRPC, and what it is made of.
    require_grpc()
    from polyarch.cli.builders.driving import boot_all  # noqa: PLC0415

    boot_all(builder, context)


def _policies(builder: SavedBuilder, context: Context) -> tuple[Policy, ...]:
    """Return what the store is collected by; says what of the settings isn't what it may seem to be."""
    settings = settings_of(builder.nodes[0], context.environ)
    collecting = read_settings(settings, context.environ)
    for remark in collecting.remarks:
        context.warn(f"WARNING: {remark}")
    return collecting.policies


def inspection(
    builder: SavedBuilder,
    states: Mapping[str, NodeState],
    policies: Iterable[Policy],
    *,
    devices: Devices | None = None,
    debug: bool = False,
) -> str:
    """Write what `inspect` shows; `states` are those of the nodes, by name.

    `policies` and `devices` are those of this machine.
    """
    extra = _devices(devices) if devices is not None else []
    lines = [f"Name:\t{builder.name}", f"Driver:\t{builder.driver}"]
    if builder.last_activity:
        lines.append(f"Last Activity:\t{find_time(builder.last_activity) or builder.last_activity}")
    if not builder.is_usable:
        lines.append(f"Error:\t{UNSUPPORTED.format(builder.driver)}")
    lines += ["", "Nodes:"]
    shown = [
        _node(node, states[node.name], tuple(policies), extra, local=builder.is_local, debug=debug)
        for node in builder.nodes
    ]
    text = "\n".join(lines) + "\n" + "\n".join(shown)
    return align(text, min_width=0, padding=1)


def _node(
    node: BuilderNode,
    state: NodeState,
    policies: tuple[Policy, ...],
    devices: list[str],
    *,
    local: bool,
    debug: bool,
) -> str:
    options = (f"{key}={quote(value)}" for key, value in sorted(node.driver_opts.items()))
    facts = (
        ("Driver Options", " ".join(options)),
        ("Status", state.status),
        ("Error", state.error),
        ("BuildKit daemon flags", " ".join(node.flags)),
        ("BuildKit version", state.version),
        ("Platforms", ", ".join(column(node.platforms, state.platforms))),
    )
    lines = [f"Name:\t{node.name}", f"Endpoint:\t{node.endpoint}"]
    lines += [f"{title}:\t{text}" for title, text in facts if text]
    if local and debug:
        lines += ["Features:", *(f" {feature}:\ttrue" for feature in _FEATURES)]
    lines += _label_lines(_labels() if local else sorted(state.labels.items()))
    if local:
        lines += [*devices, *chain.from_iterable(map(_policy, count(), policies))]
    return "\n".join([*lines, *_files(node)]) + "\n"


def _files(node: BuilderNode) -> Iterator[str]:
    for name, data in sorted(node.files.items()):
        yield f"File#{name}:"
        yield from (f" > {line}" for line in b64decode(data).decode(errors="replace").split("\n"))


def _label_lines(labels: Sequence[tuple[str, str]]) -> list[str]:
    return ["Labels:", *(f" {key}:\t{value}" for key, value in labels)] if labels else []


def _labels() -> tuple[tuple[str, str], ...]:
    prefix = "org.mobyproject.buildkit.worker"
    return (
        (f"{prefix}.executor", "oci"),
        (f"{prefix}.hostname", os.uname().nodename),
        (f"{prefix}.network", "host"),
        (f"{prefix}.oci.process-mode", "sandbox"),
    )


def _devices(devices: Devices) -> list[str]:
    """Return the lines of the devices that steps may be given."""
    lines = ["Devices:"] if devices.known else []
    for name, device in devices.known.items():
        free = str(devices.is_free(name)).lower()
        lines += [f"\tName:\t{name}", f"\tAutomatically allowed:\t{free}"]
        if device.annotations:
            lines.append("\tAnnotations:")
            lines += [f"\t\t{key}:\t{text}" for key, text in sorted(device.annotations.items())]
    return lines


def _policy(number: int, policy: Policy) -> list[str]:
    lines = [f"GC Policy rule#{number}:", f" All:\t{str(policy.all).lower()}"]
    if policy.filters:
        lines.append(f" Filters:\t{','.join(policy.filters)}")
    if policy.keep_seconds:
        lines.append(f" Keep Duration:\t{duration_text(int(policy.keep_seconds * 1e9))}")
    sizes = (
        ("Reserved Space", policy.reserved),
        ("Max Used Space", policy.max_used),
        ("Min Free Space", policy.min_free),
    )
    return lines + [f" {title}:\t{bytes_size(size)}" for title, size in sizes if size]


INSPECT = Command(
    usage="[OPTIONS] [NAME]",
    run=_inspect,
    most=1,
    completes="builders",
    example="$ polyarch inspect mybuilder --bootstrap",
    flags=(
        Flag(
            name="bootstrap",
            kind=Kind.SWITCH,
            help="Ensure builder has booted before inspecting",
        ),
        _TIMEOUT,
    ),
)


# --- use ---


def _use(options: Options, context: Context) -> int:
    name = options.arguments[0]
    builders = SavedBuilders(context.environ)
    with builders.change():
        builder = builders.find(name)
        if builder is None:
            raise NotFound(
                f"failed to find instance {quote(name)}: no such builder",
                hint=f"make it with {context.program} create --name {name} --use",
            )
        builders.use(
            builder.name,
            is_default=options.is_set("default"),
            is_global=options.is_set("global"),
        )
    if not builder.is_usable:
        context.warn(f"WARNING: {UNSUPPORTED.format(builder.driver)}: this machine does its work")
    return 0


USE = Command(
    usage="[OPTIONS] NAME",
    run=_use,
    least=1,
    most=1,
    completes="builders",
    example="$ polyarch use mybuilder",
    flags=(
        Flag(name="default", kind=Kind.SWITCH, help="Set builder as default for current context"),
        Flag(name="global", kind=Kind.SWITCH, help="Builder persists context changes"),
    ),
)
