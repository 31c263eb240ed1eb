"""Lowering RUN to an exec op."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Literal, cast

from polyarch.dockerfile.args import PROXY_ARGS
from polyarch.dockerfile.lowering.lowering import Lowering, expand_in
from polyarch.dockerfile.lowering.state import StageState
from polyarch.dockerfile.lowering.targets import find_stage
from polyarch.dockerfile.syntax.instruction import Run
from polyarch.dockerfile.syntax.lexer import heredoc_from_word
from polyarch.dockerfile.syntax.mount import Mount, parse_mount
from polyarch.errors import DockerfileError, InputError
from polyarch.graph.op import (
    SCRIPT_DIRECTORY,
    BindMount,
    CacheMount,
    CopyAction,
    ExecMount,
    ExecOp,
    FileOp,
    MkdirAction,
    ScratchOp,
    SecretMount,
    Sharing,
    SshMount,
    TmpfsMount,
)
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import DEFAULT_PATH

__all__ = ["lower_run"]

_DEFAULT_HOSTNAME = "buildkitsandbox"
_MASK = "****"
"""Stands in a step's name for a variable that holds a secret."""


def lower_run(state: StageState, instruction: Run, lowering: Lowering) -> None:
    """Add the vertex of a RUN, and its history entry."""
    argv, scripts = _command(state, instruction)
    inputs, mounts = _mounts(state, instruction, lowering)
    options = lowering.options
    op = ExecOp(
        argv=tuple(argv),
        env=tuple(f"{name}={value}" for name, value in _environment(state).items()),
        cwd=state.workdir,
        user=state.user,
        platform=state.platform,
        network=_network(instruction, lowering),
        security=_security(instruction, lowering),
        hostname=options.hostname or _DEFAULT_HOSTNAME,
        mounts=mounts,
        scripts=scripts,
        extra_hosts=options.extra_hosts,
        ulimits=options.ulimits,
        shm_size=options.shm_size,
        cgroup_parent=options.cgroup_parent,
        resources=options.resources,
        devices=_devices(instruction, lowering),
        proxy_env=_proxies(lowering),
    )
    shown = instruction.text + _summary(instruction)
    secret = {each.env: _MASK for each in mounts if isinstance(each, SecretMount) and each.env}
    state.vertex = lowering.add(state, op, inputs, shown, instruction, masked=secret)
    state.record(_history(state, argv), layer=True)


def _command(state: StageState, instruction: Run) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """Return the argument vector, and the scripts that it needs as files."""
    words = list(instruction.arguments)
    scripts: tuple[tuple[str, str], ...] = ()
    documents = instruction.heredocs
    if documents and heredoc_from_word(words[0]) is None:
        # There is more than the here-documents: the shell reads it all.
        words = [words[0] + "".join(f"\n{each.content}{each.name}" for each in documents)]
    elif documents and documents[0].body.startswith("#!"):
        scripts = ((documents[0].name, documents[0].body),)
        words = [posixpath.join(SCRIPT_DIRECTORY, documents[0].name)]
    elif documents:
        # Handed over as an argument: works in shells that don't know here-documents, too.
        words = [documents[0].body]
    return ([*state.shell(), " ".join(words)] if instruction.shell else words), scripts


def _summary(instruction: Run) -> str:
    """Return what people see of a here-document that is all of the command: its first line."""
    documents = instruction.heredocs
    if not documents or heredoc_from_word(instruction.arguments[0]) is None:
        return ""
    first, *more = documents[0].body.strip().replace("\r\n", "\n").split("\n")
    return f" ({first}{'...' if more else ''})"


def _environment(state: StageState) -> dict[str, str]:
    environment = dict(state.variables)
    environment.setdefault("PATH", DEFAULT_PATH)  # Windows's images keep theirs elsewhere
    return environment


def _network(instruction: Run, lowering: Lowering) -> Literal["default", "none", "host"]:
    network = instruction.network or "default"
    if network == "default":
        network = lowering.options.network
    if network == "host" and instruction.network == "host":
        _check_allowed("network.host", instruction, lowering)
    if network not in ("default", "none", "host"):
        raise DockerfileError(f"invalid network mode {network!r}", place=instruction.location)
    return cast("Literal['default', 'none', 'host']", network)


def _security(instruction: Run, lowering: Lowering) -> Literal["sandbox", "insecure"]:
    if instruction.security != "insecure":
        return "sandbox"
    _check_allowed("security.insecure", instruction, lowering)
    return "insecure"


def _devices(instruction: Run, lowering: Lowering) -> tuple[str, ...]:
    grant = lowering.options.grant_devices
    if grant is None or not instruction.devices:
        return tuple(each.name for each in instruction.devices)
    try:
        return grant(instruction.devices)
    except InputError as error:
        error.place = error.place or instruction.location
        raise


def _check_allowed(entitlement: str, instruction: Run, lowering: Lowering) -> None:
    if entitlement not in lowering.options.allow:
        raise DockerfileError(
            f"{entitlement} is not allowed",
            hint=f"add --allow {entitlement} to the command",
            place=instruction.location,
        )


def _proxies(lowering: Lowering) -> tuple[str, ...]:
    """Return the proxies of the command line in both spellings; they are never part of a key."""
    # Of two spellings the one in small letters is the last.
    given = {name.upper(): value for name, value in sorted(lowering.build_args.items())}
    proxies = []
    for name in PROXY_ARGS:
        if name in given:
            proxies += [f"{name}={given[name]}", f"{name.lower()}={given[name]}"]
    return tuple(proxies)


def _mounts(
    state: StageState, instruction: Run, lowering: Lowering
) -> tuple[tuple[Vertex, ...], tuple[ExecMount, ...]]:
    """Return the vertex's inputs and its mounts, in the order of the instruction."""
    maker = _MountMaker(state, instruction, lowering)
    mounts = tuple(maker.make(text) for text in instruction.mounts)
    return tuple(maker.inputs), mounts


class _MountMaker:
    """Turns the mounts of one RUN into those of an exec, and gathers the inputs that they need."""

    def __init__(self, state: StageState, instruction: Run, lowering: Lowering) -> None:
        self.inputs = [state.vertex]
        self._state = state
        self._instruction = instruction
        self._lowering = lowering
        self._sockets = 0

    def make(self, text: str) -> ExecMount:
        """Make one mount. Raises DockerfileError."""
        mount = self._parsed(text)
        if mount.type == "cache":
            return self._cache(mount)
        if mount.type == "tmpfs":
            target = self._target(mount.target)
            return TmpfsMount(target=target, size=mount.size, read_only=mount.read_only)
        if mount.type == "secret":
            return self._secret(mount)
        return self._ssh(mount) if mount.type == "ssh" else self._bind(mount)

    def _parsed(self, text: str) -> Mount:
        def expanded(value: str) -> str:
            return expand_in(self._state, value, self._instruction, self._lowering)

        try:
            return parse_mount(text, expanded)
        except DockerfileError as error:
            error.place = error.place or self._instruction.location
            raise

    def _target(self, path: str) -> str:
        target = posixpath.normpath(posixpath.join(self._state.workdir, path))
        target = "/" + target.lstrip("/")
        if target == "/" or not path:
            raise DockerfileError(
                f"invalid mount target {path!r}",
                hint="name a directory below the root with target=",
                place=self._instruction.location,
            )
        return target

    def _input(self, mount: Mount) -> int:
        return self._number(self._source(mount))

    def _number(self, vertex: Vertex) -> int:
        if vertex not in self.inputs[1:]:
            self.inputs.append(vertex)
        return self.inputs.index(vertex, 1)

    def _source(self, mount: Mount) -> Vertex:
        lowering = self._lowering
        index = find_stage(lowering.written, mount.from_name)
        location = self._instruction.location
        vertex, is_context = lowering.source(self._state, mount.from_name, index, location)
        if is_context:
            vertex = self._copied(vertex, mount.source)
        return vertex

    def _copied(self, context: Vertex, source: str) -> Vertex:
        """Add the vertex of a copy of a context's part: with its owners, without what is ignored."""
        path = posixpath.normpath(posixpath.join("/", source))
        action = CopyAction(input=1, sources=(path,), destination=path)
        root = self._lowering.maker.add(ScratchOp())
        return self._lowering.maker.add(
            FileOp(actions=(action,)),
            (root, context),
            location=self._instruction.location,
            ignore_cache=self._state.ignore_cache,
        )

    def _bind(self, mount: Mount) -> BindMount:
        return BindMount(
            target=self._target(mount.target),
            input=self._input(mount),
            source=posixpath.join("/", mount.source),
            read_only=mount.read_only,
        )

    def _cache_source(self, mount: Mount) -> tuple[int | None, str]:
        """Return the input that a new cache begins with, if there is one, and the directory in it."""
        source = posixpath.normpath(posixpath.join("/", mount.source))
        is_owned = not (mount.mode is None and mount.uid is None and mount.gid is None)
        if is_owned and source == "/":
            # Whatever it comes from: a directory `/cache` of that, which is made if there is none.
            return self._owned_directory(mount), "/cache"
        return self._input(mount) if mount.from_name else None, source

    def _cache(self, mount: Mount) -> CacheMount:
        target = self._target(mount.target)
        namespace = self._lowering.build_args.get("BUILDKIT_CACHE_MOUNT_NS", "")
        index, source = self._cache_source(mount)
        identifier = mount.id or target
        self._state.taken.caches.setdefault(identifier, (self._instruction, False))
        return CacheMount(
            target=target,
            id=f"{namespace}/{identifier}",
            sharing=mount.sharing or Sharing.SHARED,
            read_only=mount.read_only,
            input=index,
            source=source,
            mode=0o755 if mount.mode is None else mount.mode,
            uid=mount.uid or 0,
            gid=mount.gid or 0,
        )

    def _owned_directory(self, mount: Mount) -> int:
        """Add what a cache with an owner or a mode begins as; without the cache it is made anew."""
        mode = 0o755 if mount.mode is None else mount.mode
        action = MkdirAction(path="/cache", mode=mode, owner=f"{mount.uid or 0}:{mount.gid or 0}")
        maker = self._lowering.maker
        base = self._source(mount) if mount.from_name else maker.add(ScratchOp())
        vertex = maker.add(
            FileOp(actions=(action,)),
            (base,),
            name="[internal] setting cache mount permissions",
            location=self._instruction.location,
            ignore_cache=self._state.ignore_cache,
        )
        return self._number(vertex)

    def _secret(self, mount: Mount) -> SecretMount:
        identifier = mount.source or mount.id or posixpath.basename(mount.target)
        target = mount.target
        if not target and mount.env is None:
            target = f"/run/secrets/{posixpath.basename(identifier)}"
        self._state.taken.secrets.setdefault(identifier, (self._instruction, mount.required))
        env = mount.env
        return SecretMount(
            id=identifier,
            target=self._target(target) if target else "",
            env=env or "",
            required=mount.required,
            mode=0o400 if mount.mode is None else mount.mode,
            uid=mount.uid or 0,
            gid=mount.gid or 0,
        )

    def _ssh(self, mount: Mount) -> SshMount:
        if mount.source:
            raise DockerfileError(
                "ssh does not support source",
                hint="name the agent with id=, as it is named by --ssh",
                place=self._instruction.location,
            )
        target = mount.target or f"/run/buildkit/ssh_agent.{self._sockets}"
        self._sockets += 1
        identifier = mount.id or "default"
        self._state.taken.agents.setdefault(identifier, (self._instruction, mount.required))
        return SshMount(
            id=identifier,
            target=self._target(target),
            required=mount.required,
            mode=0o600 if mount.mode is None else mount.mode,
            uid=mount.uid or 0,
            gid=mount.gid or 0,
        )


def _history(state: StageState, argv: Sequence[str]) -> str:
    """Write the command with the build arguments that it could see, as `|N name=value …`."""
    seen = [
        f"{name}={state.variables.get(name, value or '')}"
        for name, value in state.build_args.items()
    ]
    words = [f"|{len(seen)}", *seen, *argv] if seen else list(argv)
    return "RUN " + " ".join(words) + " # buildkit"
