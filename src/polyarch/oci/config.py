"""Configs of images: what an image is for, how its programs start, what it was made of.

Like a struct of Go that is written with `omitempty`, a value that says nothing is as good as none: what
is read and written again means the same, but lacks its empty lists.

Source: OCI image-spec v1.1, config.md; moby/docker-image-spec v1.3 for what Docker added to it
(ArgsEscaped, Healthcheck, OnBuild, Shell).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from polyarch.digest import DiffID, parse_digest
from polyarch.errors import IntegrityError, InvalidDigest
from polyarch.oci.fields import Fields, naming, read_document
from polyarch.oci.platform import platform_json, read_platform
from polyarch.platforms import Platform
from polyarch.record import frozen

__all__ = ["HealthcheckConfig", "HistoryEntry", "ImageConfig", "RunConfig", "parse_config"]

_NOTHING: Mapping[str, str] = MappingProxyType({})
_NO_REST: Mapping[str, object] = MappingProxyType({})
_KEYS = frozenset({
    "architecture", "author", "config", "created", "history", "os", "os.features", "os.version",
    "rootfs", "variant",
})  # fmt: skip
_RUN_KEYS = frozenset({
    "ArgsEscaped", "Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels", "OnBuild",
    "Shell", "StopSignal", "User", "Volumes", "WorkingDir",
})  # fmt: skip


@frozen
class HealthcheckConfig:
    """How to find out whether a container is well; times are in nanoseconds.

    What is empty or 0 is as the base has it, or as the engine does it.
    """

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0

    def to_json(self) -> dict[str, object]:
        """Return the JSON object."""
        return _told({
            "Test": list(self.test),
            "Interval": self.interval,
            "Timeout": self.timeout,
            "StartPeriod": self.start_period,
            "StartInterval": self.start_interval,
            "Retries": self.retries,
        })  # fmt: skip

    @staticmethod
    def from_fields(fields: Fields) -> HealthcheckConfig:
        """Read a health check out of its document. Raises IntegrityError."""
        return HealthcheckConfig(
            test=fields.texts("Test"),
            interval=fields.integer("Interval"),
            timeout=fields.integer("Timeout"),
            start_period=fields.integer("StartPeriod"),
            start_interval=fields.integer("StartInterval"),
            retries=fields.integer("Retries"),
        )


@frozen
class RunConfig:
    """How the programs of an image start, if nobody says otherwise: the `config` of the document.

    `env` are `NAME=value`, `exposed_ports` `PORT/PROTOCOL`, `on_build` instructions for images that are
    built from this one; `args_escaped` says that `cmd` was made by this kind of builder. `rest` are
    further fields as they were read: what an engine or another builder noted.
    """

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: Mapping[str, str] = _NOTHING
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: HealthcheckConfig | None = None
    on_build: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    rest: Mapping[str, object] = _NO_REST

    def to_json(self) -> dict[str, object]:
        """Return the JSON object, keys in the order of BuildKit's."""
        written = _told({
            **self.rest,
            "User": self.user,
            "ExposedPorts": {port: {} for port in sorted(self.exposed_ports)},
            "Env": list(self.env),
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.cmd),
            "Volumes": {path: {} for path in sorted(self.volumes)},
            "WorkingDir": self.working_dir,
            "Labels": dict(sorted(self.labels.items())),
            "StopSignal": self.stop_signal,
            "ArgsEscaped": self.args_escaped,
        })  # fmt: skip
        if self.healthcheck is not None:
            # It is there even if it is empty: then it stands for the default.
            written["Healthcheck"] = self.healthcheck.to_json()
        return {**written, **_told({"OnBuild": list(self.on_build), "Shell": list(self.shell)})}

    @staticmethod
    def from_fields(fields: Fields) -> RunConfig:
        """Read the `config` out of its document. Raises IntegrityError."""
        has_check = "Healthcheck" in fields
        return RunConfig(
            user=fields.text("User"),
            exposed_ports=fields.names("ExposedPorts"),
            env=fields.texts("Env"),
            entrypoint=fields.texts("Entrypoint"),
            cmd=fields.texts("Cmd"),
            volumes=fields.names("Volumes"),
            working_dir=fields.text("WorkingDir"),
            labels=fields.text_map("Labels"),
            stop_signal=fields.text("StopSignal"),
            args_escaped=fields.flag("ArgsEscaped"),
            healthcheck=HealthcheckConfig.from_fields(fields.object("Healthcheck"))
            if has_check
            else None,
            on_build=fields.texts("OnBuild"),
            shell=fields.texts("Shell"),
            rest=fields.rest(_RUN_KEYS),
        )


@frozen
class HistoryEntry:
    """What an instruction did: `created` is RFC 3339, "" if it isn't known (yet)."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    def to_json(self) -> dict[str, object]:
        """Return the JSON object, keys in the order of the specification."""
        return _told({
            "created": self.created,
            "created_by": self.created_by,
            "author": self.author,
            "comment": self.comment,
            "empty_layer": self.empty_layer,
        })  # fmt: skip

    @staticmethod
    def from_fields(fields: Fields) -> HistoryEntry:
        """Read an entry out of its document. Raises IntegrityError."""
        return HistoryEntry(
            created=fields.text("created"),
            created_by=fields.text("created_by"),
            author=fields.text("author"),
            comment=fields.text("comment"),
            empty_layer=fields.flag("empty_layer"),
        )


@frozen
class ImageConfig:
    """The config of an image for one platform, which is as it is written: not normalized.

    `diff_ids` name its layers, unpacked, lowest first; `history` tells of them and of the instructions
    that made none. `created` is RFC 3339, "" if it isn't known. `rest` are further fields as they were read.
    """

    platform: Platform
    run: RunConfig = RunConfig()
    diff_ids: tuple[DiffID, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    created: str = ""
    author: str = ""
    rest: Mapping[str, object] = _NO_REST

    def to_json(self) -> dict[str, object]:
        """Return the JSON object; in images its own keys are sorted, as BuildKit writes them, those of its parts aren't."""
        told = _told({**self.rest, "author": self.author, **platform_json(self.platform)})
        return {
            **told,
            "config": self.run.to_json(),
            # As BuildKit has it: an image without any history says that it doesn't know.
            "created": self.created or None,
            "history": [entry.to_json() for entry in self.history],
            "rootfs": {"type": "layers", "diff_ids": list(self.diff_ids)},
        }

    @staticmethod
    def from_json(value: object, place: str = "") -> ImageConfig:
        """Read the JSON object of a config; `place` is where it stands in its document.

        Raises IntegrityError, naming the field.
        """
        return ImageConfig.from_fields(Fields(value, place))

    @staticmethod
    def from_fields(fields: Fields) -> ImageConfig:
        """Read a config. Raises IntegrityError, naming the field."""
        has_run, has_layers = "config" in fields, "rootfs" in fields
        return ImageConfig(
            platform=read_platform(fields),
            run=RunConfig.from_fields(fields.object("config")) if has_run else RunConfig(),
            diff_ids=_diff_ids(fields.object("rootfs")) if has_layers else (),
            history=tuple(map(HistoryEntry.from_fields, fields.objects("history"))),
            created=fields.text("created"),
            author=fields.text("author"),
            rest=fields.rest(_KEYS),
        )


def parse_config(data: bytes) -> ImageConfig:
    """Read the config of an image. Raises IntegrityError, naming the config by its digest and the field."""
    with naming("image config", data):
        return ImageConfig.from_fields(read_document(data))


def _diff_ids(fields: Fields) -> tuple[DiffID, ...]:
    """Read the diff IDs; they name snapshots, so nothing else may pass for one. Raises IntegrityError."""
    found = []
    for position, text in enumerate(fields.texts("diff_ids")):
        try:
            found.append(DiffID(parse_digest(text)))
        except InvalidDigest as error:
            raise IntegrityError(f"{fields.place('diff_ids')}[{position}]: {error}") from error
    return tuple(found)


def _told(values: Mapping[str, object]) -> dict[str, object]:
    """Return those values that say something."""
    return {key: value for key, value in values.items() if value}
