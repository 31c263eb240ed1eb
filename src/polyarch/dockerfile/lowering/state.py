"""A stage while it is lowered: its tree so far, its image config, its environment."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from polyarch.dockerfile.lowering.windows import windows_path
from polyarch.dockerfile.syntax.instruction import Arg, Definition, Instruction, Run, Stage
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import DEFAULT_PATH, BaseImage
from polyarch.oci.config import HistoryEntry, ImageConfig, RunConfig
from polyarch.platforms import Platform
from polyarch.record import field, frozen, mutable, replace

__all__ = ["HISTORY_COMMENT", "DeclaredArg", "StageState", "Taken"]

HISTORY_COMMENT = "buildkit.dockerfile.v0"


@frozen
class DeclaredArg:
    """A variable of an ARG, and its value, "" if it has none."""

    definition: Definition
    value: str
    instruction: Arg


@mutable
class Taken:
    """What a stage takes from outside, for whoever asks for an outline.

    `args` are those that its ARGs declare, `inherited` the names of those whose value is that of the
    global scope. `secrets`, `agents` and `caches` are the mounts by their ids, each with the first RUN
    that asks for it and whether it is required. `parent` is the stage that this one starts from, if it
    does, and `stages` are those that files come from.
    """

    args: dict[str, DeclaredArg] = field(default_factory=dict)
    inherited: dict[str, None] = field(default_factory=dict)
    secrets: dict[str, tuple[Run, bool]] = field(default_factory=dict)
    agents: dict[str, tuple[Run, bool]] = field(default_factory=dict)
    caches: dict[str, tuple[Run, bool]] = field(default_factory=dict)
    parent: int | None = None
    stages: dict[int, None] = field(default_factory=dict)


@mutable
class StageState:
    """What the next instruction of the stage number `index` builds on.

    `config` is the image config without layers and history; `history` its history: entries of the base as
    they are, new ones without times. `variables` is what `$NAME` means: ENV and ARG in the order of the
    file, the later one wins. `build_args` are the ARGs in order of declaration, for the history.
    `is_set` holds the instructions that were given in this stage itself, `counted` the latest of those
    that count once; `has_workdir` tells whether this Dockerfile has set it; `base` is the image it starts
    from, if it does; `taken` is what it takes from outside. `is_trigger` says that the instruction at
    hand comes from an ONBUILD of the base, `is_windows` that the tree has layers of Windows, which keep
    their files elsewhere.
    """

    stage: Stage
    index: int
    platform: Platform
    vertex: Vertex
    config: ImageConfig
    history: list[HistoryEntry] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    build_args: dict[str, str | None] = field(default_factory=dict)
    is_set: set[str] = field(default_factory=set)
    counted: dict[type, Instruction] = field(default_factory=dict)
    has_workdir: bool = False
    step: int = 0
    steps: int = 0
    is_trigger: bool = False
    is_windows: bool = False
    ignore_cache: bool = False
    base: BaseImage | None = None
    taken: Taken = field(default_factory=Taken)

    @property
    def run(self) -> RunConfig:
        """What a container of the image runs with."""
        return self.config.run

    def change(self, **fields: object) -> None:
        """Set fields of what a container of the image runs with."""
        self.config = replace(self.config, run=replace(self.run, **fields))

    @property
    def workdir(self) -> str:
        """The working directory, absolute, POSIX, without detours."""
        return _clean(self.posix(self.run.working_dir))

    def posix(self, path: str) -> str:
        """Return a path as all systems but Windows write it: without a drive, with slashes.

        Raises DockerfileError for a path that Windows has, but no image.
        """
        return windows_path(path, keep_slash=True) if self.platform.os == "windows" else path

    def change_directory(self, path: str) -> None:
        """Set the working directory; a relative path begins at the one before.

        An absolute path stays as it is written, detours and slashes at its end included: so does
        BuildKit. Raises DockerfileError for a path that Windows has, but no image.
        """
        is_windows = self.platform.os == "windows"
        before = self.run.working_dir
        if is_windows:
            before, path = windows_path(before), windows_path(path)
        before = _clean(before) if not before.startswith("/") else before
        path = path or before
        if not path.startswith("/"):
            path = _clean(posixpath.join(before, path))
        self.change(working_dir=path.replace("/", "\\") if is_windows else path)

    @property
    def user(self) -> str:
        """Who steps run as, as USER has it."""
        return self.run.user

    def shell(self) -> list[str]:
        """Return what shell forms run in."""
        is_windows = self.config.platform.os == "windows"
        return list(self.run.shell) or (["cmd", "/S", "/C"] if is_windows else ["/bin/sh", "-c"])

    def set_variable(self, name: str, value: str) -> None:
        """Set what `$NAME` means; the variables set last are the last of a step's environment."""
        self.variables.pop(name, None)
        self.variables[name] = value

    def enter(self) -> None:
        """Begin the stage with what its base's config says: the environment, and where it is.

        The config of a stage that this one is from counts too, so that its ENV goes before its ARG.
        Raises DockerfileError as `change_directory`.
        """
        env = self.run.env
        if self.platform.os != "windows" and not any(_name(entry) == "PATH" for entry in env):
            env = (*env, f"PATH={DEFAULT_PATH}")
            self.change(env=env)
        for entry in env:
            self.set_variable(_name(entry), entry.partition("=")[2])
        if directory := self.run.working_dir:
            self.change_directory(directory)

    def set_env(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Set environment variables of the image, in place where they exist."""
        env = list(self.run.env)
        places: dict[str, int] = {}
        for number, entry in enumerate(env):
            places.setdefault(_name(entry), number)
        for name, value in pairs:
            if name in places:
                env[places[name]] = f"{name}={value}"
            else:
                places[name] = len(env)
                env.append(f"{name}={value}")
            self.set_variable(name, value)
        self.change(env=tuple(env))

    def record(self, created_by: str, *, layer: bool = False, author: str = "") -> None:
        """Add a history entry; `layer` says that the instruction makes one."""
        self.history.append(
            HistoryEntry(
                created_by=created_by,
                comment=HISTORY_COMMENT,
                author=author,
                empty_layer=not layer,
            )
        )

    def step_name(self, text: str, prefix: str) -> str:
        """Return what people see of the next step that makes a vertex."""
        self.step += 1
        width = len(str(self.steps))
        number = f"{self.step:{width}d}/{self.steps}"
        return f"[{prefix} {number}] {text}" if prefix else f"[{number}] {text}"

    def arguments(self) -> tuple[str, ...]:
        """Return the names of variables whose values are those of ARG."""
        return tuple(
            name for name, value in self.build_args.items() if self.variables.get(name) == value
        )

    def fork(self, stage: Stage, index: int) -> StageState:
        """Start another stage from this one's tree, config and environment."""
        return StageState(
            stage=stage,
            index=index,
            platform=self.platform,
            vertex=self.vertex,
            config=self.config,
            history=list(self.history),
            variables=dict(self.variables),
            build_args=dict(self.build_args),
            has_workdir=self.has_workdir,
            is_windows=self.is_windows,
            ignore_cache=self.ignore_cache,
        )


def _clean(path: str) -> str:
    """Return the path as an absolute one without detours."""
    return "/" + posixpath.normpath(path or "/").lstrip("/")


def _name(entry: str) -> str:
    return entry.partition("=")[0]
