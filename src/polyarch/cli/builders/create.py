"""`create`: make a builder, or change one. The rules are docker buildx's.

polyarch builds on this machine itself, so a builder is little more than a name for settings. The driver
docker-container, which articles and CI scripts ask for, would be BuildKit on this very machine: without an endpoint it is
taken for the local one, with a warning. With one, a context of docker or the address of an engine, it is what
it is for docker buildx. BuildKit daemons that run already are reached by the driver remote, and the driver kubernetes
has some run in pods of a cluster.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

from polyarch.builders.collecting import CONFIG_NAME, read_settings
from polyarch.builders.saved import SavedBuilders
from polyarch.builders.values import (
    CONTAINER_DRIVER,
    DASK_DRIVER,
    DEFAULT_NAME,
    DOCKER_DRIVER,
    KUBERNETES_DRIVER,
    LOCAL_DRIVER,
    LOCAL_ENDPOINT,
    REMOTE_DRIVER,
    NodeChange,
    SavedBuilder,
    check_name,
    random_name,
    with_node,
    without_node,
)
from polyarch.buildkit.needs import require_grpc
from polyarch.cli.builders.asked import (
    cluster_change,
    container_change,
    driver_opts,
    opts_with_files,
    remote_change,
)
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.emulation.advertised import local_platforms
from polyarch.errors import InputError, NotFound
from polyarch.golang.strconv import quote
from polyarch.platforms import parse_list
from polyarch.record import frozen
from polyarch.text.nearest import hint_for
from polyarch.text.toml import normalized

__all__ = ["CREATE"]

_REMOTE = frozenset({"cloud"})
_DRIVERS = frozenset(
    {"", LOCAL_DRIVER, REMOTE_DRIVER, CONTAINER_DRIVER, KUBERNETES_DRIVER, DASK_DRIVER}
)
_LOCAL_ENDPOINTS = frozenset({"", LOCAL_ENDPOINT, DEFAULT_NAME})


@frozen
class _Asked:
    """What `create` was asked for, after it was checked."""

    name: str
    change: NodeChange
    driver: str


def _run(options: Options, context: Context) -> int:
    builders = SavedBuilders(context.environ)
    if options.is_set("leave"):
        _leave(options, builders)
        return 0
    asked = _asked(options, context)
    with builders.change():
        builder = _create(asked, builders)
        if builder.is_remote:
            # gRPC isn't needed to make one, but most of what it is made of is loaded for its drivers.
            require_grpc()
            from polyarch.cli.builders.driving import check_nodes  # noqa: PLC0415

            check_nodes(builder, context)
        builders.save(builder)
        if options.is_set("use"):
            builders.use(builder.name)
    if options.is_set("bootstrap") and builder.is_remote:
        from polyarch.cli.builders.driving import boot_all  # noqa: PLC0415 see above

        boot_all(builder, context)
    elif options.is_set("bootstrap"):
        # Looking what runs here takes a while, and is remembered.
        local_platforms(context.environ)
    context.print(builder.name)
    return 0


def _leave(options: Options, builders: SavedBuilders) -> None:
    name, node = options.text("name"), options.text("node")
    if not name:
        raise InputError("leave requires instance name")
    if not node:
        raise InputError("leave requires node name but --node not set")
    with builders.change():
        builder = builders.find(name)
        if builder is None:
            raise NotFound(
                f"failed to find instance {quote(name)} for leave",
                hint="polyarch ls lists the builders",
            )
        builders.save(without_node(builder, node))


def _asked(options: Options, context: Context) -> _Asked:
    name, append = options.text("name"), options.is_set("append")
    if name == DEFAULT_NAME:
        raise InputError(
            f"{DEFAULT_NAME} is a reserved name and cannot be used to identify builder instance"
        )
    if append and not name:
        raise InputError("append requires a builder name")
    endpoint = options.arguments[0] if options.arguments else ""
    name = check_name(name) if name else ""
    known, wanted = _driver_of(name, context), options.text("driver")
    driver = known if known and wanted in {"", known} else _driver(wanted, endpoint, context)
    if driver == DASK_DRIVER:
        return _asked_cluster(options, name, endpoint)
    if driver == REMOTE_DRIVER:
        return _Asked(name=name, change=remote_change(options, endpoint, context), driver=driver)
    if driver == CONTAINER_DRIVER:
        change = container_change(options, endpoint, context)
        return _Asked(name=name, change=change, driver=driver)
    if driver == KUBERNETES_DRIVER:
        # Endpoints have the builder's name.
        name = name or _new_name(SavedBuilders(context.environ))
        change = cluster_change(options, name, endpoint, context)
        return _Asked(name=name, change=change, driver=driver)
    return _Asked(name=name, change=_local_change(options, context), driver=driver)


def _local_change(options: Options, context: Context) -> NodeChange:
    """Return what is asked for of a node on this machine. Raises InputError."""
    flags = options.text("buildkitd-flags") or options.text("buildkitd-config")
    if flags or options.text("config"):
        _warn(
            context,
            "there is no buildkitd here: of its flags and settings only max-parallelism and those of the collector count",
        )
    return NodeChange(
        name=options.text("node"),
        endpoint=LOCAL_ENDPOINT,
        platforms=parse_list(options.values("platform")),
        driver_opts=driver_opts(options.values("driver-opt")),
        flags=tuple(options.text("buildkitd-flags").split()) or None,
        files=_files(options.text("buildkitd-config") or options.text("config"), context),
        append=options.is_set("append"),
    )


def _driver_of(name: str, context: Context) -> str:
    """Return the driver of a builder of other machines."""
    known = SavedBuilders(context.environ).find(name)
    return known.driver if known is not None and known.is_remote else ""


def _asked_cluster(options: Options, name: str, endpoint: str) -> _Asked:
    """Return what is asked for of a Dask cluster. Raises InputError."""
    # Only for builders of this driver.
    from polyarch.cluster.address import parse_cluster  # noqa: PLC0415

    if not endpoint:
        raise InputError(
            "the dask driver requires an endpoint",
            hint="give the address of its scheduler: tcp://HOST:PORT",
        )
    if options.is_set("append"):
        raise InputError(
            "a builder of the driver dask has one node, its cluster",
            hint=f"more machines join that by themselves: polyarch worker {endpoint}",
        )
    given = opts_with_files(options.values("driver-opt"))
    parse_cluster(endpoint, given or {})
    change = NodeChange(name=options.text("node"), endpoint=endpoint, driver_opts=given)
    return _Asked(name=name, change=change, driver=DASK_DRIVER)


def _warn(context: Context, text: str) -> None:
    """Print a warning, but not into what a program reads as the builder's name.

    Some read both streams as one: then the name must stay the only line.
    """
    if not context.is_read_as_one:
        context.warn(f"WARNING: {text}")


def _driver(driver: str, endpoint: str, context: Context) -> str:
    """Return the driver that is meant; without a word, it is docker buildx's for such an endpoint."""
    if driver == DOCKER_DRIVER:
        raise InputError(
            'additional instances of driver "docker" cannot be created',
            hint="without --driver the builder is on this machine; an engine builds by --driver docker-container",
        )
    if driver in _REMOTE:
        raise InputError(
            f"the driver {driver} is for another machine, which polyarch can't build on yet",
            hint="without --driver and endpoint, the builder is on this machine; a BuildKit daemon "
            "that runs already is reached by --driver remote ADDRESS",
        )
    if not driver and "://" in endpoint:
        return REMOTE_DRIVER
    if not driver and endpoint not in _LOCAL_ENDPOINTS:
        return CONTAINER_DRIVER
    if driver == CONTAINER_DRIVER and endpoint in {"", LOCAL_ENDPOINT}:
        _warn(context, f"driver {driver} replaced: polyarch builds on this machine by itself")
        return LOCAL_DRIVER
    if driver not in _DRIVERS:
        raise InputError(
            f"failed to find driver {quote(driver)}", hint=hint_for(driver, filter(None, _DRIVERS))
        )
    return driver


def _files(path: str, context: Context) -> Mapping[str, str] | None:
    if not path:
        return None
    what = "buildkit configuration file"
    try:
        text = normalized(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        reason = f"stat {path}: no such file or directory"
        raise InputError(f"{what} not found: {path}: {reason}") from error
    except OSError as error:
        raise InputError(f"failed to read {what}: {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"failed to parse {what}: {path}: {error}") from error
    for remark in read_settings(text, context.environ).remarks:
        _warn(context, remark)
    return {CONFIG_NAME: b64encode(text.encode()).decode()}


def _create(asked: _Asked, builders: SavedBuilders) -> SavedBuilder:
    """Make the builder that was asked for; to be called under the lock."""
    name = asked.name or _new_name(builders)
    known = builders.find(name)
    if known is not None and known.is_context:
        if not asked.change.append:
            raise InputError(f"instance name {quote(name)} already exists as context builder")
        known = None
    if known is None and asked.change.append:
        raise NotFound(
            f"failed to find instance {quote(name)} for append",
            hint="polyarch ls lists the builders; without --append a new one is made",
        )
    if known is None or (builders.hides(known) and not asked.change.append):
        new = SavedBuilder(name=name, driver=asked.driver or LOCAL_DRIVER)
        return with_node(new, asked.change)
    _check_change(asked, known)
    return with_node(known, asked.change)


def _new_name(builders: SavedBuilders) -> str:
    return random_name([each.name for each in builders.all()])


def _check_change(asked: _Asked, known: SavedBuilder) -> None:
    """Raise InputError if that can't be changed about a builder that is there."""
    name = known.name
    if not asked.change.name and not asked.change.append:
        raise InputError(
            f"existing instance for {quote(name)} but no append mode, specify the node name to make "
            "changes for existing instances"
        )
    if asked.driver and asked.driver != known.driver:
        raise InputError(
            f"existing instance for {quote(name)} but has mismatched driver {quote(known.driver)}"
        )


CREATE = Command(
    usage="[OPTIONS] [CONTEXT|ENDPOINT]",
    run=_run,
    most=1,
    example="$ polyarch create --use --name mybuilder",
    flags=(
        Flag(
            name="append", kind=Kind.SWITCH, help="Append a node to builder instead of changing it"
        ),
        Flag(name="bootstrap", kind=Kind.SWITCH, help="Boot builder after creation"),
        Flag(name="builder", hidden=True),
        Flag(
            name="buildkitd-config",
            help="BuildKit daemon config file (max-parallelism and the collector's settings are read)",
            completes="files",
        ),
        Flag(name="config", hidden=True),
        Flag(
            name="buildkitd-flags",
            help="BuildKit daemon flags (ignored on this machine: there is no daemon)",
        ),
        Flag(
            name="driver",
            help="Driver to use",
            choices=(
                LOCAL_DRIVER,
                CONTAINER_DRIVER,
                KUBERNETES_DRIVER,
                REMOTE_DRIVER,
                DASK_DRIVER,
            ),
        ),
        Flag(
            name="driver-opt",
            kind=Kind.LIST,
            help='Options for the driver ("jobs=4", "emulation=strict", "qemu-image=NAME")',
        ),
        Flag(
            name="leave", kind=Kind.SWITCH, help="Remove a node from builder instead of changing it"
        ),
        Flag(name="name", help="Builder instance name"),
        Flag(name="node", help="Create/modify node with given name"),
        Flag(
            name="platform",
            kind=Kind.LIST,
            help="Fixed platforms for current node",
            completes="platforms",
        ),
        Flag(name="timeout", kind=Kind.DURATION, default="20s", hidden=True),
        Flag(name="use", kind=Kind.SWITCH, help="Set the current builder instance"),
    ),
)
