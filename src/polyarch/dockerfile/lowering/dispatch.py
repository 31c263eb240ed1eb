"""Lowering instructions: one function for each kind, from a stage's state to its next state.

Config, history texts and which instructions make layers are BuildKit's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polyarch.dockerfile.args import HIDDEN_ARGS
from polyarch.dockerfile.lowering.files import check_owner, lower_copy
from polyarch.dockerfile.lowering.lowering import Lowering, expand_in, expand_words_in
from polyarch.dockerfile.lowering.ports import parse_ports
from polyarch.dockerfile.lowering.run import lower_run
from polyarch.dockerfile.lowering.state import DeclaredArg, StageState
from polyarch.dockerfile.syntax.instruction import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from polyarch.errors import DockerfileError, InputError
from polyarch.golang.fmt import quoted_list, value_list
from polyarch.golang.strconv import parse_int
from polyarch.golang.time import duration_text
from polyarch.graph.op import FileOp, MkdirAction, ScratchOp
from polyarch.oci.config import HealthcheckConfig
from polyarch.progress import check_cancelled
from polyarch.record import replace

__all__ = ["dispatch"]

_SIGNALS = frozenset(
    [
        "ABRT",
        "ALRM",
        "BUS",
        "CHLD",
        "CLD",
        "CONT",
        "FPE",
        "HUP",
        "ILL",
        "INT",
        "IO",
        "IOT",
        "KILL",
        "PIPE",
        "POLL",
        "PROF",
        "PWR",
        "QUIT",
        "SEGV",
        "STKFLT",
        "STOP",
        "SYS",
        "TERM",
        "TRAP",
        "TSTP",
        "TTIN",
        "TTOU",
        "URG",
        "USR1",
        "USR2",
        "VTALRM",
        "WINCH",
        "XCPU",
        "XFSZ",
        "RTMIN",
        "RTMAX",
    ]
) | {
    *(f"RTMIN+{number}" for number in range(1, 16)),
    *(f"RTMAX-{number}" for number in range(1, 15)),
}


def dispatch(state: StageState, instruction: Instruction, lowering: Lowering) -> None:
    """Carry out one instruction on `state`. Raises DockerfileError with its place."""
    handler = _HANDLERS.get(type(instruction))
    if handler is None:
        raise DockerfileError(
            f"{instruction.name} can't be carried out yet", place=instruction.location
        )
    lowering.lint.dispatched(instruction, state.run.shell, state.counted)
    try:
        handler(state, instruction, lowering)
    except DockerfileError as error:
        error.place = error.place or instruction.location
        raise


def _env(state: StageState, instruction: Env, lowering: Lowering) -> None:
    pairs = _expanded_pairs(state, instruction, lowering)
    state.set_env(pairs)
    state.record("ENV " + " ".join(f"{name}={value}" for name, value in pairs))


def _label(state: StageState, instruction: Label, lowering: Lowering) -> None:
    pairs = _expanded_pairs(state, instruction, lowering)
    state.change(labels={**state.run.labels, **dict(pairs)})
    state.record("LABEL " + " ".join(f"{name}={value}" for name, value in pairs))


def _expanded_pairs(
    state: StageState, instruction: Env | Label, lowering: Lowering
) -> list[tuple[str, str]]:
    # All values of one line see the environment as it was before the line.
    pairs = [
        (
            expand_in(state, name, instruction, lowering),
            expand_in(state, value, instruction, lowering),
        )
        for name, value in instruction.pairs
    ]
    for name, _ in pairs:
        lowering.lint.pair(instruction, name)
    return pairs


def _arg(state: StageState, instruction: Arg, lowering: Lowering) -> None:
    shown = []
    for declared in instruction.definitions:
        name = declared.name
        lowering.lint.secret(instruction, name)
        is_own = True
        if name in lowering.build_args:
            value: str | None = lowering.build_args[name]
        elif declared.default is not None:
            value = expand_in(state, declared.default, instruction, lowering)
        else:
            value = lowering.global_args.get(name)
            is_own = value is None
        if is_own:
            state.taken.args[name] = DeclaredArg(
                definition=declared, value=value or "", instruction=instruction
            )
        else:
            state.taken.inherited[name] = None
        shown.append(name if value is None else f"{name}={value}")
        state.build_args[name] = value
        if value is not None and name not in HIDDEN_ARGS:
            state.set_variable(name, value)
    state.record("ARG " + " ".join(shown))


def _workdir(state: StageState, instruction: Workdir, lowering: Lowering) -> None:
    path = expand_in(state, instruction.path, instruction, lowering)
    if not (state.has_workdir or state.posix(path).startswith("/")):
        lowering.lint.workdir(instruction, path)
    state.has_workdir = True
    state.change_directory(path)
    shown = state.posix(state.run.working_dir)
    if shown == "/":
        state.record(f"WORKDIR {shown}")
        return
    check_owner(state.user, instruction, is_scratch=isinstance(state.vertex.op, ScratchOp))
    action = MkdirAction(path=state.workdir, owner=state.user, created=lowering.options.epoch)
    # BuildKit takes a directory from the cache even with --no-cache: nothing in it can be out of date.
    state.vertex = lowering.add(
        state,
        FileOp(actions=(action,)),
        (state.vertex,),
        instruction.text,
        instruction,
        may_ignore_cache=False,
    )
    state.record(f"WORKDIR {shown}", layer=True)


def _user(state: StageState, instruction: User, lowering: Lowering) -> None:
    user = expand_in(state, instruction.user, instruction, lowering)
    state.change(user=user)
    state.record(f"USER {user}")


def _cmd(state: StageState, instruction: Cmd, _lowering: Lowering) -> None:
    command = _command(state, instruction)
    state.change(cmd=tuple(command), args_escaped=True)
    state.is_set.add("cmd")
    state.record("CMD " + quoted_list(command))


def _entrypoint(state: StageState, instruction: Entrypoint, _lowering: Lowering) -> None:
    command = _command(state, instruction)
    state.change(entrypoint=tuple(command))
    if "cmd" not in state.is_set:
        state.change(cmd=())
    state.record("ENTRYPOINT " + quoted_list(command))


def _command(state: StageState, instruction: Cmd | Entrypoint) -> list[str]:
    words = list(instruction.arguments)
    return [*state.shell(), " ".join(words)] if instruction.shell else words


def _shell(state: StageState, instruction: Shell, _lowering: Lowering) -> None:
    state.change(shell=tuple(instruction.arguments))
    state.record("SHELL " + value_list(instruction.arguments))


def _expose(state: StageState, instruction: Expose, lowering: Lowering) -> None:
    words: list[str] = []
    for port in instruction.ports:
        words += expand_words_in(state, port, instruction, lowering)
    for word in words:
        lowering.lint.port(instruction, word)
    # The words are in order already; what a range stands for stays together.
    ports: list[str] = []
    exposed = dict.fromkeys(state.run.exposed_ports)
    for word in words:
        check_cancelled()
        found = parse_ports(word)
        lowering.grow(sum(map(len, found)) + len(found), instruction)
        exposed.update(dict.fromkeys(found))
        ports += found
    state.change(exposed_ports=tuple(exposed))
    shown = value_list(ports)
    state.record("EXPOSE " + shown)


def _volume(state: StageState, instruction: Volume, lowering: Lowering) -> None:
    paths = [expand_in(state, path, instruction, lowering) for path in instruction.paths]
    for path in paths:
        if not path:
            raise DockerfileError(
                "VOLUME specified can not be an empty string", place=instruction.location
            )
    state.change(volumes=tuple(dict.fromkeys((*state.run.volumes, *paths))))
    state.record("VOLUME " + value_list(paths))


def _stopsignal(state: StageState, instruction: StopSignal, lowering: Lowering) -> None:
    name = expand_in(state, instruction.signal, instruction, lowering)
    if not _is_signal(name):
        raise DockerfileError(
            f"invalid signal: {name}",
            hint="give a number or a name such as SIGTERM",
            place=instruction.location,
        )
    state.change(stop_signal=name)
    state.record(f"STOPSIGNAL {name}")


def _is_signal(name: str) -> bool:
    try:
        return parse_int(name, bits=64) != 0
    except InputError:
        return name.upper().removeprefix("SIG") in _SIGNALS


def _healthcheck(state: StageState, instruction: Healthcheck, _lowering: Lowering) -> None:
    check = HealthcheckConfig(
        test=tuple(instruction.test),
        interval=instruction.interval,
        timeout=instruction.timeout,
        start_period=instruction.start_period,
        start_interval=instruction.start_interval,
        retries=instruction.retries,
    )
    shown = [f"Test:{value_list(instruction.test)}"]
    times = (
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    )
    shown += [f"{name}:{duration_text(value)}" for name, value in times]
    shown.append(f"Retries:{check.retries}")
    state.change(healthcheck=check)
    state.record("HEALTHCHECK {" + " ".join(shown) + "}")


def _maintainer(state: StageState, instruction: Maintainer, _lowering: Lowering) -> None:
    state.config = replace(state.config, author=instruction.author)
    state.record(f"MAINTAINER {instruction.author}")


def _onbuild(state: StageState, instruction: Onbuild, _lowering: Lowering) -> None:
    state.change(on_build=(*state.run.on_build, instruction.trigger))


def _copy(state: StageState, instruction: Copy | Add, lowering: Lowering) -> None:
    lower_copy(state, instruction, lowering)


def _run(state: StageState, instruction: Run, lowering: Lowering) -> None:
    lower_run(state, instruction, lowering)


_HANDLERS: dict[type, Callable[[StageState, Any, Lowering], None]] = {
    Add: _copy,
    Arg: _arg,
    Cmd: _cmd,
    Copy: _copy,
    Entrypoint: _entrypoint,
    Env: _env,
    Expose: _expose,
    Healthcheck: _healthcheck,
    Label: _label,
    Maintainer: _maintainer,
    Onbuild: _onbuild,
    Run: _run,
    Shell: _shell,
    StopSignal: _stopsignal,
    User: _user,
    Volume: _volume,
    Workdir: _workdir,
}
