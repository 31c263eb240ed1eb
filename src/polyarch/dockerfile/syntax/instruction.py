"""The instructions of a Dockerfile as values. Nothing in them is expanded yet.

Equality is that of what they do: places, comments and the way they are written don't count.
"""

from __future__ import annotations

from typing import ClassVar

from polyarch.dockerfile.syntax.lexer import Heredoc
from polyarch.dockerfile.syntax.mount import Device
from polyarch.graph.location import Location
from polyarch.record import field, frozen

__all__ = [
    "Add",
    "Arg",
    "Cmd",
    "Command",
    "Copy",
    "Definition",
    "Entrypoint",
    "Env",
    "Expose",
    "Healthcheck",
    "Instruction",
    "Label",
    "Maintainer",
    "Onbuild",
    "Run",
    "Shell",
    "Stage",
    "StopSignal",
    "Transfer",
    "User",
    "Volume",
    "Workdir",
]


@frozen
class Instruction:
    """What all instructions have.

    `location` covers the lines, here-documents included; `text` is the instruction with its lines
    joined, without here-documents; `comments` are the comment lines above, without `#`.
    """

    name: ClassVar[str] = ""
    location: Location = field(compare=False, repr=False)
    text: str = field(default="", compare=False, repr=False)
    comments: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def keyword(self) -> str:
        """The first word, as it was written."""
        return self.text.split(maxsplit=1)[0]


@frozen
class Definition:
    """One variable of an ARG; `default` is None for a bare name.

    `comment` is what a comment line above says of it: the line that begins with the name.
    """

    name: str
    default: str | None = None
    comment: str = field(default="", compare=False)


@frozen
class Arg(Instruction):
    """ARG."""

    name: ClassVar[str] = "ARG"
    definitions: tuple[Definition, ...]


@frozen
class Env(Instruction):
    """ENV. Quotes are still in keys and values. `is_legacy` tells `ENV name value`."""

    name: ClassVar[str] = "ENV"
    pairs: tuple[tuple[str, str], ...]
    is_legacy: bool = field(default=False, compare=False)


@frozen
class Label(Instruction):
    """LABEL, as ENV."""

    name: ClassVar[str] = "LABEL"
    pairs: tuple[tuple[str, str], ...]
    is_legacy: bool = field(default=False, compare=False)


@frozen
class Transfer(Instruction):
    """What ADD and COPY have in common. Texts that weren't given are "".

    `contents` are the here-documents among the sources; use their `body`.
    """

    sources: tuple[str, ...]
    contents: tuple[Heredoc, ...] = ()
    destination: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()


@frozen
class Copy(Transfer):
    """COPY; `from_name` is a stage, its number, a build context or an image."""

    name: ClassVar[str] = "COPY"
    from_name: str = ""
    parents: bool = False


@frozen
class Add(Transfer):
    """ADD; None stands for a flag that wasn't given, where its default depends on the source."""

    name: ClassVar[str] = "ADD"
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@frozen
class Command(Instruction):
    """What RUN, CMD and ENTRYPOINT have in common.

    With `shell` the arguments are one text (or none) for the stage's shell, else they are the JSON
    form's.
    """

    arguments: tuple[str, ...]
    shell: bool


@frozen
class Run(Command):
    """RUN. `mounts` are the texts of the flags, for `mount.parse_mount`."""

    name: ClassVar[str] = "RUN"
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    network: str = "default"
    security: str = "sandbox"


@frozen
class Cmd(Command):
    """CMD."""

    name: ClassVar[str] = "CMD"


@frozen
class Entrypoint(Command):
    """ENTRYPOINT."""

    name: ClassVar[str] = "ENTRYPOINT"


@frozen
class Shell(Instruction):
    """SHELL."""

    name: ClassVar[str] = "SHELL"
    arguments: tuple[str, ...]


@frozen
class Healthcheck(Instruction):
    """HEALTHCHECK; `test` is as in the image config, times are in nanoseconds, 0 if not given."""

    name: ClassVar[str] = "HEALTHCHECK"
    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@frozen
class Expose(Instruction):
    """EXPOSE; the words in order of their characters."""

    name: ClassVar[str] = "EXPOSE"
    ports: tuple[str, ...]


@frozen
class Volume(Instruction):
    """VOLUME."""

    name: ClassVar[str] = "VOLUME"
    paths: tuple[str, ...]


@frozen
class User(Instruction):
    """USER."""

    name: ClassVar[str] = "USER"
    user: str


@frozen
class Workdir(Instruction):
    """WORKDIR."""

    name: ClassVar[str] = "WORKDIR"
    path: str


@frozen
class StopSignal(Instruction):
    """STOPSIGNAL."""

    name: ClassVar[str] = "STOPSIGNAL"
    signal: str


@frozen
class Maintainer(Instruction):
    """MAINTAINER."""

    name: ClassVar[str] = "MAINTAINER"
    author: str


@frozen
class Onbuild(Instruction):
    """ONBUILD; `trigger` is the instruction behind it, with its here-documents."""

    name: ClassVar[str] = "ONBUILD"
    trigger: str


@frozen
class Stage:
    """FROM and the instructions up to the next one.

    `name` is in lower case, "" if there is none; `written_name` and `as_keyword` are as written.
    `comment` is what a comment line above FROM says of the stage.
    """

    name: str
    base: str
    platform: str = ""
    instructions: tuple[Instruction, ...] = ()
    location: Location = field(compare=False, repr=False)
    text: str = field(default="", compare=False, repr=False)
    comments: tuple[str, ...] = field(default=(), compare=False, repr=False)
    comment: str = field(default="", compare=False)
    written_name: str = field(default="", compare=False)
    as_keyword: str = field(default="", compare=False)

    @property
    def keyword(self) -> str:
        """`FROM`, as it was written."""
        return self.text.split(maxsplit=1)[0]
