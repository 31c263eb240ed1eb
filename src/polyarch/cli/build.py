"""`build`: the flags of `docker buildx build` -> a BuildRequest -> a build -> what is printed of it."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.cli import flags
from polyarch.cli.command import Command, Context
from polyarch.cli.options import Flag, Kind, Options
from polyarch.cli.report import CommandFailed
from polyarch.errors import Cancelled, InputError, PolyarchError
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import parse_list
from polyarch.progress import CancelToken
from polyarch.request import BuildRequest, Output, Secret

if TYPE_CHECKING:
    # The engine is imported once the namespaces are entered.
    from polyarch.build import BuildResult

__all__ = ["BUILD", "read_request"]

_LIST, _FIELDS, _SWITCH = Kind.LIST, Kind.FIELDS, Kind.SWITCH


def _list(name: str, text: str, **more: str) -> Flag:
    return Flag(name=name, kind=_LIST, help=text, **more)  # type: ignore[arg-type]


FLAGS = (
    Flag(name="add-host", kind=_FIELDS, help='Add a custom host-to-IP mapping (format: "host:ip")'),
    _list("allow", 'Allow extra privileges (e.g., "network.host", "security.insecure")'),
    _list("annotation", "Add annotation to the image"),
    _list("attest", 'Attestation parameters (format: "type=sbom,generator=image")'),
    _list("build-arg", "Set build-time variables"),
    _list("build-context", "Additional build contexts (e.g., name=path)"),
    _list("cache-from", 'External cache sources (e.g., "user/app:cache")'),
    _list("cache-to", 'Cache export destinations (e.g., "user/app:cache")'),
    Flag(name="call", default="build", help='Set method for evaluating build ("check", "outline")'),
    Flag(name="check", kind=_SWITCH, help='Shorthand for "--call=check"'),
    Flag(name="cgroup-parent", help="Set the parent cgroup for the RUN instructions"),
    Flag(name="file", short="f", help='Name of the Dockerfile (default: "PATH/Dockerfile")'),
    Flag(name="iidfile", help="Write the image ID to a file", completes="files"),
    _list("label", "Set metadata for an image"),
    Flag(name="load", kind=_SWITCH, help='Shorthand for "--output=type=docker"'),
    Flag(name="metadata-file", help="Write build result metadata to a file", completes="files"),
    Flag(
        name="network", default="default", help="Set the networking mode for the RUN instructions"
    ),
    Flag(name="no-cache", kind=_SWITCH, help="Do not use cache when building the image"),
    Flag(name="no-cache-filter", kind=_FIELDS, help="Do not cache specified stages"),
    Flag(
        name="output",
        short="o",
        kind=_LIST,
        help='Output destination (format: "type=local,dest=path")',
    ),
    Flag(
        name="platform", kind=_FIELDS, help="Set target platform for build", completes="platforms"
    ),
    Flag(
        name="progress",
        help='Set type of progress output ("auto", "none", "plain", "quiet", "rawjson", "tty")',
        choices=("auto", "none", "plain", "quiet", "rawjson", "tty"),
    ),
    Flag(name="provenance", help='Shorthand for "--attest=type=provenance"'),
    Flag(name="pull", kind=_SWITCH, help="Always attempt to pull all referenced images"),
    Flag(name="push", kind=_SWITCH, help='Shorthand for "--output=type=registry"'),
    Flag(
        name="quiet", short="q", kind=_SWITCH, help="Suppress the build output and print image ID"
    ),
    _list("resource", "Limits of the RUN instructions (e.g., memory=1g)"),
    Flag(name="sbom", help='Shorthand for "--attest=type=sbom"'),
    _list("secret", 'Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")'),
    Flag(name="shm-size", help="Shared memory size for build containers"),
    _list(
        "ssh", 'SSH agent socket or keys to expose to the build (format: "default|<id>[=<socket>]")'
    ),
    Flag(
        name="tag",
        short="t",
        kind=_LIST,
        help='Image identifier (format: "[registry/]repository[:tag]")',
    ),
    Flag(name="target", help="Set the target build stage to build"),
    _list("ulimit", "Ulimit options"),
    Flag(
        name="jobs", kind=Kind.NUMBER, default="0", help="How many steps at once (0: one per CPU)"
    ),
    Flag(name="policy", kind=_LIST, hidden=True),
    Flag(name="print", hidden=True),
    Flag(name="compress", kind=_SWITCH, hidden=True),
    Flag(name="rm", kind=_SWITCH, default="true", hidden=True),
    Flag(name="force-rm", kind=_SWITCH, hidden=True),
    Flag(name="isolation", hidden=True),
    Flag(name="security-opt", kind=_LIST, hidden=True),
    Flag(name="squash", kind=_SWITCH, hidden=True),
    Flag(name="memory", short="m", hidden=True),
    Flag(name="memory-swap", hidden=True),
    Flag(name="cpu-shares", short="c", hidden=True),
    Flag(name="cpu-period", hidden=True),
    Flag(name="cpu-quota", hidden=True),
    Flag(name="cpuset-cpus", hidden=True),
    Flag(name="cpuset-mems", hidden=True),
)

_IMAGE_TYPES = frozenset({"image", "registry", "oci", "docker"})
_PROXIES = {"httpProxy": "HTTP_PROXY", "httpsProxy": "HTTPS_PROXY", "noProxy": "NO_PROXY",
            "ftpProxy": "FTP_PROXY", "allProxy": "ALL_PROXY"}  # fmt: skip
_IGNORED = ("isolation", "security-opt", "squash")
_NOT_YET = (
    ("cache-to", "exporting the cache"),
    ("cache-from", "importing a cache"),
    ("resource", "limiting resources"),
    ("policy", "policies"),
    *((name, "limiting resources") for name in ("memory", "memory-swap", "cpu-shares", "cpu-period",
                                                 "cpu-quota", "cpuset-cpus", "cpuset-mems")),
)  # fmt: skip


# --- flags -> request ---


def read_request(options: Options, context: Context) -> BuildRequest:
    """Understand the flags of one call. Raises InputError for what can't be used or carried out."""
    refuse_unsupported(options)
    tags = tuple(dict.fromkeys(str(parse_reference(tag)) for tag in options.values("tag")))
    allowed = flags.allow_flag(options.values("allow"))
    network = options.text("network")
    if network not in {"default", "none", "host"}:
        raise InputError(f'network mode "{network}" not supported by buildkit')
    platforms = options.values("platform")
    if not platforms and context.environ.get("DOCKER_DEFAULT_PLATFORM"):
        platforms = (context.environ["DOCKER_DEFAULT_PLATFORM"],)
    path = options.arguments[0]
    if path == "-" and options.text("file") == "-":
        raise InputError("invalid argument: can't use stdin for both build context and dockerfile")
    shm_size = options.text("shm-size")
    return BuildRequest(
        context=path,
        dockerfile=options.text("file"),
        stdin=context.stdin.buffer.read() if "-" in (path, options.text("file")) else b"",
        platforms=parse_list(platforms),
        tags=tags,
        target=options.text("target"),
        build_args=_build_args(options, context.environ),
        build_contexts=flags.build_context_flag(
            options.values("build-context"), familiar=lambda text: parse_reference(text).familiar
        ),
        labels=_pairs(options.values("label"), {}),
        outputs=_outputs(options, tags),
        no_cache=options.is_set("no-cache"),
        no_cache_filter=options.values("no-cache-filter"),
        pull=options.is_set("pull"),
        network=network,
        add_hosts=flags.add_host_flag(options.values("add-host")),
        shm_size=flags.size_flag(shm_size) if shm_size else 0,
        ulimits=flags.ulimit_flag(options.values("ulimit")),
        cgroup_parent=options.text("cgroup-parent"),
        allow=(*allowed.entitlements, *(("network.host",) if network == "host" else ())),
        secrets=tuple(
            _secret(each, context.environ) for each in flags.secret_flag(options.values("secret"))
        ),
        ssh=_agents(options.values("ssh"), context.environ),
        annotations=tuple(
            (each.type, each.platform or "", each.key, each.value)
            for each in flags.annotation_flag(
                options.values("annotation"), parse_platform=lambda text: parse_list([text])[0]
            )
        ),
        jobs=options.number("jobs"),
    )


def refuse_unsupported(options: Options) -> None:
    """Refuse, by name, what is understood but can't be carried out yet. Raises InputError."""
    for name, what in _NOT_YET:
        if options.given(name):
            raise InputError(f"--{name}: {what} can't be carried out yet", hint="leave it out")
    wanted = list(options.values("attest"))
    wanted += [
        flags.attest_shorthand(kind, options.text(kind))
        for kind in ("provenance", "sbom")
        if options.given(kind)
    ]
    for each in flags.attest_flag(filter(None, wanted)):
        if not each.disabled:
            raise InputError(
                f"attestations of type {each.type} can't be made yet",
                hint=f"leave --{each.type} out",
            )


def _pairs(values: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Read `name=value`; a bare name is taken from the environment, or left out if it isn't there."""
    pairs = {}
    for value in values:
        name, equals, text = value.partition("=")
        if equals:
            pairs[name] = text
        elif name in environ:
            pairs[name] = environ[name]
    return pairs


def _build_args(options: Options, environ: Mapping[str, str]) -> dict[str, str]:
    given = _pairs(options.values("build-arg"), environ)
    for value in options.values("build-arg"):
        if not value.partition("=")[0]:
            raise InputError(f"invalid build argument {value!r}, expected name=value")
    proxies = _proxies(environ)
    if environ.get("SOURCE_DATE_EPOCH") and "SOURCE_DATE_EPOCH" not in given:
        given["SOURCE_DATE_EPOCH"] = environ["SOURCE_DATE_EPOCH"]
    return {**{key: value for key, value in proxies.items() if key not in given}, **given}


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies that docker's configuration has for containers."""
    from polyarch.paths import docker_config_folder  # noqa: PLC0415

    try:
        config = json.loads((docker_config_folder(environ) / "config.json").read_bytes())
        proxies = config["proxies"]["default"]
        items = proxies.items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    found = {}
    for key, value in items:
        if key in _PROXIES and isinstance(value, str):
            found[_PROXIES[key]] = found[_PROXIES[key].lower()] = value
    return found


def _secret(spec: flags.SecretSpec, environ: Mapping[str, str]) -> Secret:
    if not spec.file and not spec.env:
        is_variable = spec.id in environ
        return Secret(
            id=spec.id, env=spec.id if is_variable else "", path="" if is_variable else spec.id
        )
    if spec.file and not os.path.exists(spec.file):
        raise InputError(
            f"failed to stat {spec.file}: no such file or directory",
            hint="that is the secret's src",
        )
    return Secret(
        id=spec.id,
        env="" if spec.file else spec.env,
        path=os.path.abspath(spec.file) if spec.file else "",
    )


def _agents(values: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    agents = {}
    for spec in flags.ssh_flag(values):
        socket = spec.paths[0] if spec.paths else environ.get("SSH_AUTH_SOCK", "")
        if not socket:
            raise InputError(
                f"invalid empty ssh agent socket for {spec.id!r}",
                hint="start an ssh agent and set SSH_AUTH_SOCK",
            )
        if not Path(socket).is_socket():
            raise InputError(
                f"{socket} is no socket of an ssh agent",
                hint="add the key to an agent with ssh-add, and forward that",
            )
        agents[spec.id] = socket
    return agents


def _outputs(options: Options, tags: Sequence[str]) -> tuple[Output, ...]:
    """Merge -o, --push and --load as docker does, and give the images their names."""
    outputs = list(flags.output_flag(options.values("output")))
    if options.is_set("push"):
        outputs = _with_push(outputs)
    if options.is_set("load") and not any(_is_load(each) for each in outputs):
        outputs.append(Output(type="docker"))
    if not outputs:
        outputs = [Output(type="image")] if tags else [Output(type="cacheonly")]
    if not tags:
        return tuple(outputs)
    return tuple(
        replace(each, attributes={**each.attributes, "name": ",".join(tags)})
        if each.type in _IMAGE_TYPES
        else each
        for each in outputs
    )


def _with_push(outputs: list[Output]) -> list[Output]:
    if any(each.type == "registry" for each in outputs):
        return outputs
    images = [each for each in outputs if each.type == "image"]
    if images:
        return [
            replace(each, attributes={**each.attributes, "push": "true"})
            if each in images
            else each
            for each in outputs
        ]
    if all(each.type == "docker" for each in outputs):
        return [*outputs, Output(type="registry")]
    raise InputError(
        "push and " + ", ".join(each.type for each in outputs) + " output can't be used together",
        hint="add -o type=registry",
    )


def _is_load(output: Output) -> bool:
    return output.type == "docker" and not output.destination


# --- the build, and what is printed of it ---


def _build(options: Options, context: Context) -> int:
    from polyarch.build import build_on  # noqa: PLC0415 imported in the engine
    from polyarch.cli.display.base import Caption  # noqa: PLC0415
    from polyarch.cli.display.display import open_display  # noqa: PLC0415
    from polyarch.cli.engine import open_node  # noqa: PLC0415
    from polyarch.node.builder import require_local  # noqa: PLC0415
    from polyarch.node.saved import SavedBuilders  # noqa: PLC0415

    for name in _IGNORED:
        if options.given(name):
            context.warn(f"WARNING: {name} flag is ignored")
    mode = _mode(options, context)
    call = flags.call_flag("check" if options.is_set("check") else options.text("call"))
    if call is not None:
        raise InputError(f"--call={call.name} can't be carried out yet", hint="leave it out")
    request = read_request(options, context)
    builder = SavedBuilders(context.environ).get(context.builder)
    require_local(builder)
    _remove(options.text("iidfile"))
    caption = Caption(builder=builder.name, driver=builder.driver)
    with open_node(context) as node, _cancelling() as cancel:
        display = open_display(
            mode,
            stream=context.stderr,
            environ=context.environ,
            caption=caption,
            debug=context.debug,
        )
        with display:
            result = _prefixed(lambda: build_on(node, request, sink=display, cancel=cancel))
    _report(options, context, request, result)
    return 0


def _mode(options: Options, context: Context) -> str:
    mode = options.text("progress") or context.environ.get("BUILDKIT_PROGRESS", "") or "auto"
    if not options.is_set("quiet"):
        return mode
    if options.given("progress") and mode not in {"quiet", "auto"}:
        raise InputError(f"progress={mode} and quiet cannot be used together")
    return "quiet"


def _prefixed(work: Callable[[], BuildResult]) -> BuildResult:
    """Say before an error that it ended the build, in docker's words."""
    try:
        return work()
    except Cancelled:
        raise
    except PolyarchError as error:
        own = str(error).startswith("unable to prepare context")
        prefix = "failed to build: " if own else "failed to build: failed to solve: "
        raise CommandFailed(prefix, error) from error


@contextmanager
def _cancelling() -> Iterator[CancelToken]:
    """Give a token that an interrupt, or the request to end, cancels; a second one ends at once."""
    cancel = CancelToken()

    def stop(_number: int, _frame: object) -> None:
        if cancel.cancelled:
            os._exit(Cancelled.exit_status)
        # Callbacks take locks that the interrupted thread may hold.
        threading.Thread(target=cancel.cancel, name="cancel").start()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield cancel
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _remove(path: str) -> None:
    if path:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _report(options: Options, context: Context, request: BuildRequest, result: BuildResult) -> None:
    """Print the image's id and write the files that were asked for."""
    identifier = result.config_digest or result.digest or ""
    if options.is_set("quiet"):
        context.print(identifier)
    if options.text("iidfile"):
        _write(options.text("iidfile"), identifier)
    if options.text("metadata-file"):
        text = json.dumps(_metadata(request, result), indent=2, sort_keys=True)
        _write(options.text("metadata-file"), text + "\n")
    if (
        result.digest is None
        and request.outputs[0].type == "cacheonly"
        and not options.given("output")
    ):
        context.warn(
            "WARNING: No output specified with polyarch driver. Build result will only remain in the "
            "build cache. To push result image into registry use --push or to load image into docker "
            "use --load"
        )


def _metadata(request: BuildRequest, result: BuildResult) -> dict[str, object]:
    found: dict[str, object] = {}
    if result.descriptor is not None:
        found["containerimage.digest"] = result.descriptor.digest
        found["containerimage.descriptor"] = result.descriptor.to_json()
    if result.config_digest is not None:
        found["containerimage.config.digest"] = result.config_digest
    if request.tags and result.descriptor is not None:
        found["image.name"] = ",".join(request.tags)
    return found


def _write(path: str, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    aside = f"{path}.{os.getpid()}"
    try:
        with open(aside, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(aside, 0o644)
        os.rename(aside, path)
    except OSError as error:
        raise InputError(f"can't write {path}: {error.strerror}") from error


BUILD = Command(
    usage="[OPTIONS] PATH | URL | -",
    run=_build,
    description="Start a build",
    example="build -t registry.example/you/app --platform linux/amd64,linux/arm64 --push .",
    flags=FLAGS,
    least=1,
    most=1,
    needs_engine=True,
    completes="folders",
)
