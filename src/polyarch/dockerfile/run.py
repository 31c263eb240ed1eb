"""Lowering RUN to an exec op."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Literal, cast

from polyarch.dockerfile.args import PROXY_ARGS
from polyarch.dockerfile.context import Lowering, expand_in
from polyarch.dockerfile.instruction import Run
from polyarch.dockerfile.lexer import heredoc_from_word
from polyarch.dockerfile.mount import Mount, parse_mount
from polyarch.dockerfile.stage import DEFAULT_PATH, StageState
from polyarch.dockerfile.stages import find_stage
from polyarch.errors import DockerfileError
from polyarch.graph.op import SCRIPT_FOLDER, ExecMount, ExecOp
from polyarch.graph.vertex import Vertex

__all__ = ["lower_run"]

_DEFAULT_HOSTNAME = "buildkitsandbox"


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
        proxy_env=_proxies(lowering),
    )
    shown = " ".join(instruction.text.split())
    state.vertex = lowering.add(state, op, inputs, shown, instruction)
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
        words = [posixpath.join(SCRIPT_FOLDER, documents[0].name)]
    elif documents:
        # Handed over as an argument: works in shells that don't know here-documents, too.
        words = [documents[0].body]
    return ([*state.shell(), *words] if instruction.shell else words), scripts


def _environment(state: StageState) -> dict[str, str]:
    return {"PATH": DEFAULT_PATH, **state.variables}


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


def _check_allowed(entitlement: str, instruction: Run, lowering: Lowering) -> None:
    if entitlement not in lowering.options.allow:
        raise DockerfileError(
            f"{entitlement} is not allowed",
            hint=f"add --allow {entitlement} to the command",
            place=instruction.location,
        )


def _proxies(lowering: Lowering) -> tuple[str, ...]:
    """Return the proxies of the command line in both spellings; they are never part of a key."""
    given = {name.upper(): value for name, value in lowering.build_args.items()}
    proxies = []
    for name in PROXY_ARGS:
        if name in given:
            proxies += [f"{name}={given[name]}", f"{name.lower()}={given[name]}"]
    return tuple(proxies)


def _mounts(
    state: StageState, instruction: Run, lowering: Lowering
) -> tuple[tuple[Vertex, ...], tuple[ExecMount, ...]]:
    inputs = [state.vertex]
    mounts = []
    for text in instruction.mounts:
        mount = _mount(text, state, instruction, lowering)
        if mount.type != "bind":
            raise DockerfileError(
                f"RUN --mount=type={mount.type} can't be carried out yet",
                hint="only bind mounts are; take the mount out",
                place=instruction.location,
            )
        index = find_stage(lowering.written, mount.from_name)
        source, _ = lowering.source(state, mount.from_name, index, instruction.location)
        if source not in inputs:
            inputs.append(source)
        mounts.append(
            ExecMount(
                target=posixpath.join(state.workdir, mount.target),
                input=inputs.index(source),
                source=posixpath.join("/", mount.source),
                read_only=mount.read_only,
            )
        )
    return tuple(inputs), tuple(mounts)


def _mount(text: str, state: StageState, instruction: Run, lowering: Lowering) -> Mount:
    try:
        return parse_mount(text, lambda value: expand_in(state, value, instruction, lowering))
    except DockerfileError as error:
        error.place = error.place or instruction.location
        raise


def _history(state: StageState, argv: Sequence[str]) -> str:
    """Write the command with the build arguments that it could see, as `|N name=value …`."""
    seen = [
        f"{name}={state.variables.get(name, value or '')}"
        for name, value in state.build_args.items()
    ]
    words = [f"|{len(seen)}", *seen, *argv] if seen else list(argv)
    return "RUN " + " ".join(words) + " # buildkit"
