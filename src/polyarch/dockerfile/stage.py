"""A stage while it is lowered: its tree so far, its image config, its environment.

The config is kept as the JSON object that the image will have (Docker's superset of the OCI image
spec's), so that whatever a base image holds beside the known keys passes through.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import cast

from polyarch.dockerfile.instruction import Arg, Definition, Instruction, Run, Stage
from polyarch.graph.op import JSONObject
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import BaseImage
from polyarch.platforms import Platform
from polyarch.record import field, frozen, mutable

__all__ = ["DEFAULT_PATH", "HISTORY_COMMENT", "DeclaredArg", "StageState", "Taken"]

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HISTORY_COMMENT = "buildkit.dockerfile.v0"
_DRIVE = re.compile(r"\A[Cc]:")


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

    `config` is the whole image config without `rootfs`; `history` its history: entries of the base as
    they are, new ones without times. `variables` is what `$NAME` means: ENV and ARG in the order of the
    file, the later one wins. `build_args` are the ARGs in order of declaration, for the history.
    `is_set` holds the instructions that were given in this stage itself, `counted` the latest of those
    that count once; `has_workdir` tells whether this Dockerfile has set it; `base` is the image it starts
    from, if it does; `taken` is what it takes from outside.
    """

    stage: Stage
    index: int
    platform: Platform
    vertex: Vertex
    config: JSONObject
    history: list[JSONObject] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    build_args: dict[str, str | None] = field(default_factory=dict)
    is_set: set[str] = field(default_factory=set)
    counted: dict[type, Instruction] = field(default_factory=dict)
    has_workdir: bool = False
    step: int = 0
    steps: int = 0
    prefix: str = ""
    ignore_cache: bool = False
    base: BaseImage | None = None
    taken: Taken = field(default_factory=Taken)

    @property
    def run(self) -> JSONObject:
        """The `config` part of the image config: what a container of the image runs with."""
        return cast("JSONObject", self.config.setdefault("config", {}))

    @property
    def workdir(self) -> str:
        """The working directory, absolute, POSIX."""
        return self.posix(self.text("WorkingDir")) or "/"

    def posix(self, path: str) -> str:
        """Return a path as all systems but Windows write it: without a drive, with slashes."""
        if self.platform.os != "windows":
            return path
        return _DRIVE.sub("", path).replace("\\", "/")

    @property
    def user(self) -> str:
        """Who steps run as, as USER has it."""
        return self.text("User")

    def text(self, key: str) -> str:
        """Return a text of the run config, "" if there is none."""
        value = self.run.get(key)
        return value if isinstance(value, str) else ""

    def texts(self, key: str) -> list[str]:
        """Return a list of texts of the run config, empty if there is none."""
        value = self.run.get(key)
        return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []

    def mapping(self, key: str) -> dict[str, object]:
        """Return an object of the run config to be changed in place."""
        value = self.run.get(key)
        if not isinstance(value, dict):
            value = self.run[key] = {}
        return cast("dict[str, object]", value)

    def shell(self) -> list[str]:
        """Return what shell forms run in."""
        return self.texts("Shell") or ["/bin/sh", "-c"]

    def set_env(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Set environment variables of the image, in place where they exist."""
        env = self.texts("Env")
        places = {entry.partition("=")[0]: number for number, entry in enumerate(env)}
        for name, value in pairs:
            if name in places:
                env[places[name]] = f"{name}={value}"
            else:
                places[name] = len(env)
                env.append(f"{name}={value}")
            self.variables[name] = value
        self.run["Env"] = env

    def record(self, created_by: str, *, layer: bool = False, author: str = "") -> None:
        """Add a history entry; `layer` says that the instruction makes one."""
        entry: JSONObject = {"created_by": created_by, "comment": HISTORY_COMMENT}
        if author:
            entry["author"] = author
        if not layer:
            entry["empty_layer"] = True
        self.history.append(entry)

    def step_name(self, text: str) -> str:
        """Return what people see of the next step that makes a vertex."""
        self.step += 1
        width = len(str(self.steps))
        number = f"{self.step:{width}d}/{self.steps}"
        return f"[{self.prefix} {number}] {text}" if self.prefix else f"[{number}] {text}"

    def fork(self, stage: Stage, index: int) -> StageState:
        """Start another stage from this one's tree, config and environment."""
        return StageState(
            stage=stage,
            index=index,
            platform=self.platform,
            vertex=self.vertex,
            config=copy.deepcopy(self.config),
            history=copy.deepcopy(self.history),
            variables=dict(self.variables),
            build_args=dict(self.build_args),
            has_workdir=self.has_workdir,
            ignore_cache=self.ignore_cache,
        )
