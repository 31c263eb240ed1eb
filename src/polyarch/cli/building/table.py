"""The flags of `build`: a table, those kept for old scripts included."""

from __future__ import annotations

from polyarch.cli.building.signing import SIGN_FLAG
from polyarch.cli.display.flag import PROGRESS
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.network import AUTHORITIES, OFFLINE, PROXY_NETWORK

__all__ = ["BUILD_FLAGS", "ignored_flags", "resource_values"]

_RESOURCES = (
    Flag(name="memory", short="m", help="Memory limit", hidden=True),
    Flag(name="memory-swap", help="Swap limit equal to memory plus swap", hidden=True),
    Flag(name="cpu-shares", short="c", help="CPU shares", hidden=True),
    Flag(name="cpu-period", help="CPU CFS period", hidden=True),
    Flag(name="cpu-quota", help="CPU CFS quota", hidden=True),
    Flag(name="cpuset-cpus", help="CPUs to run on", hidden=True),
    Flag(name="cpuset-mems", help="Memory nodes to run on", hidden=True),
)
_SILENT = (
    Flag(name="compress", kind=Kind.SWITCH, help="Compress the build context", hidden=True),
    Flag(name="force-rm", kind=Kind.SWITCH, help="Always remove containers", hidden=True),
    Flag(name="rm", kind=Kind.SWITCH, default="true", help="Remove containers", hidden=True),
)
_IGNORED = {
    "isolation": "steps are always isolated by namespaces here",
    "security-opt": 'use "RUN --security=insecure" for a step that needs more',
    "squash": "a multi-stage Dockerfile gives an image of few layers",
}


def _check_ulimit(value: str) -> None:
    # Few builds limit their steps; completion and help, which read this table, check no values.
    from polyarch.cli.building.limits import ulimit_flag  # noqa: PLC0415

    ulimit_flag([value])


BUILD_FLAGS = (
    Flag(name="add-host", kind=Kind.FIELDS, help='Add a custom host-to-IP mapping ("host:ip")'),
    Flag(
        name="allow",
        kind=Kind.LIST,
        help='Allow extra privileged entitlement ("network.host", "security.insecure", "device")',
        choices=("network.host", "security.insecure", "device"),
    ),
    Flag(name="annotation", kind=Kind.LIST, help="Add annotation to the image"),
    Flag(name="attest", kind=Kind.LIST, help='Attestation parameters ("type=sbom")'),
    Flag(
        name="attest-as",
        default="index",
        help="Store attestations in the image's index, or as referrers of its manifests",
        choices=("index", "referrers"),
    ),
    Flag(name="build-arg", kind=Kind.LIST, help="Set build-time variables"),
    Flag(name="build-context", kind=Kind.LIST, help='Additional build contexts ("name=path")'),
    AUTHORITIES,
    Flag(
        name="cache-budget",
        help="Seconds that the build waits for caches of single steps at its end (default: as long as they get on)",
    ),
    Flag(name="cache-from", kind=Kind.LIST, help='External cache sources ("user/app:cache")'),
    Flag(
        name="cache-to",
        kind=Kind.LIST,
        help='Cache export destinations ("type=steps,ref=NAME", "type=local,dest=DIR")',
    ),
    Flag(
        name="call",
        default="build",
        help='Set method for evaluating build ("check", "outline", "targets")',
        choices=("build", "check", "outline", "targets"),
    ),
    Flag(name="cgroup-parent", help="Set the parent cgroup for RUN instructions"),
    Flag(name="check", kind=Kind.SWITCH, help='Shorthand for "--call=check"'),
    Flag(
        name="dotenv-file",
        help="Write changed=… and digest=… to a file, as GitLab's dotenv reports have it",
        completes="files",
    ),
    Flag(
        name="emulation",
        help="What of emulated steps runs natively: programs that can (auto), nothing (strict), or both, compared (verify); or run all steps in virtual machines (vm)",
        choices=("auto", "strict", "verify", "vm"),
    ),
    Flag(name="explain", kind=Kind.SWITCH, help="Say of each step that ran why it wasn't cached"),
    Flag(name="file", short="f", help='Name of the Dockerfile (default: "PATH/Dockerfile")', completes="files"),
    Flag(
        name="if-changed",
        help="Push nothing if the result is what this name stands for already, and say changed=true or false",
        completes="images",
    ),
    Flag(name="iidfile", help="Write the image ID to a file", completes="files"),
    Flag(
        name="jobs",
        kind=Kind.NUMBER,
        default="0",
        help="Number of steps to run at once, 0 for as many as can",
    ),
    Flag(name="label", kind=Kind.LIST, help="Set metadata for an image"),
    Flag(name="load", kind=Kind.SWITCH, help='Shorthand for "--output=type=docker"'),
    Flag(name="metadata-file", help="Write build result metadata to a file", completes="files"),
    Flag(
        name="network",
        default="default",
        help='Set the networking mode for the "RUN" instructions during build',
        choices=("default", "host", "none"),
    ),
    Flag(name="no-cache", kind=Kind.SWITCH, help="Do not use cache when building the image"),
    Flag(name="no-cache-filter", kind=Kind.LIST, help="Do not cache specified stages"),
    Flag(
        name="no-mask-secrets", kind=Kind.SWITCH, help="Show secrets that steps print, instead of ***"
    ),
    OFFLINE,
    Flag(name="output", short="o", kind=Kind.LIST, help='Output destination ("type=local,dest=path")'),
    Flag(
        name="platform",
        kind=Kind.LIST,
        help="Set target platform for build",
        completes="platforms",
    ),
    Flag(
        name="policy",
        kind=Kind.LIST,
        help=(
            'Policy configuration (format: "filename=path[,filename=path][,reset=true|false]'
            '[,disabled=true|false][,strict=true|false][,log-level=level]")'
        ),
    ),
    Flag(name="print", hidden=True),
    PROGRESS,
    PROXY_NETWORK,
    Flag(name="provenance", help='Shorthand for "--attest=type=provenance"'),
    Flag(name="pull", kind=Kind.SWITCH, help="Always attempt to pull all referenced images"),
    Flag(name="push", kind=Kind.SWITCH, help='Shorthand for "--output=type=registry"'),
    Flag(
        name="quiet",
        short="q",
        kind=Kind.SWITCH,
        help="Suppress the build output and print image ID on success",
    ),
    Flag(name="resource", kind=Kind.LIST, help='Limits of every step ("memory=512m")'),
    Flag(name="sbom", help='Shorthand for "--attest=type=sbom"'),
    Flag(name="secret", kind=Kind.LIST, help='Secret to expose to the build ("id=mysecret,src=FILE")'),
    Flag(
        name="shard",
        kind=Kind.LIST,
        help="Build for these platforms a part of an image, for polyarch join",
        completes="platforms",
    ),
    Flag(name="shm-size", kind=Kind.SIZE, help='Shared memory size for build containers ("64m")'),
    SIGN_FLAG,
    Flag(name="ssh", kind=Kind.LIST, help='SSH agent socket to expose ("default|<id>[=<socket>]")'),
    Flag(name="tag", short="t", kind=Kind.LIST, help='Image identifier ("[registry/]repository[:tag]")'),
    Flag(name="target", help="Set the target build stage to build"),
    Flag(name="ulimit", kind=Kind.ULIMIT, check=_check_ulimit, help="Ulimit options"),
    Flag(
        name="verify-reproducible",
        kind=Kind.SWITCH,
        help="Build twice, say what differs and why, and export only if nothing does",
    ),
    *_RESOURCES,
    *_SILENT,
    Flag(name="isolation", hidden=True),
    Flag(name="security-opt", kind=Kind.FIELDS, hidden=True),
    Flag(name="squash", kind=Kind.SWITCH, hidden=True),
)  # fmt: skip


def resource_values(options: Options) -> tuple[str, ...]:
    """Return the values of `--resource`, those of docker's older flags before them."""
    old = (
        f"{flag.name}={options.text(flag.name)}" for flag in _RESOURCES if options.given(flag.name)
    )
    return (*old, *options.values("resource"))


def ignored_flags(options: Options) -> list[str]:
    """Return a warning for each flag that was given and has no effect."""
    return [
        f"WARNING: --{name} has no effect: {why}"
        for name, why in _IGNORED.items()
        if options.given(name)
    ]
