"""A program of an image, run here: natively or emulated, over a tree that is thrown away."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from polyarch.emulation.program import Surroundings, find_trouble
from polyarch.engine.engine import Engine
from polyarch.engine.programs import host_resolv_conf
from polyarch.errors import InputError, NotFound
from polyarch.graph.op import ImageOp
from polyarch.graph.vertex import make_vertex
from polyarch.oci.base import DEFAULT_PATH, BaseImage
from polyarch.oci.config import RunConfig
from polyarch.oci.media import is_index
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform, host, normalize
from polyarch.progress import CancelToken, Sink, ignore_events
from polyarch.record import frozen, replace
from polyarch.request.talk import SILENCE, Talk
from polyarch.runtime.step import Bind, Mount, Step
from polyarch.snapshot.stack import LayerStack
from polyarch.worker.source_image import ImageSource
from polyarch.worker.stepform import Process, make_step, network_mounts

__all__ = ["ProgramRefused", "RunRequest", "run_image"]

_HOSTNAME = "polyarch"


class ProgramRefused(InputError):
    """The program can't be started; the exit status is docker's, and that of shells."""

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why, hint=hint)
        if "not found" in why or "no such file" in why:
            self.exit_status = 127
        elif "permission denied" in why or "exec format error" in why:
            self.exit_status = 126
        else:
            self.exit_status = 125


@frozen
class RunRequest:
    """One run. `binds` are source, target and whether it is read-only; "" and None mean the image's own.

    `platform` None means this machine's, if the image has it, else whatever its manifest is for.
    """

    reference: str
    arguments: tuple[str, ...] = ()
    platform: Platform | None = None
    env: tuple[str, ...] = ()
    binds: tuple[tuple[str, str, bool], ...] = ()
    workdir: str = ""
    user: str = ""
    entrypoint: str | None = None
    network: str = "default"
    hostname: str = ""
    pull: bool = False


def _pulled(
    engine: Engine, request: RunRequest, sink: Sink, cancel: CancelToken
) -> tuple[BaseImage, Platform, LayerStack]:
    """Fetch and unpack the image, and keep its name in the store."""
    images = engine.images(sink)
    resolver = images.resolver(cancel, pull=request.pull)
    name = parse_reference(request.reference)
    wanted = request.platform or host()
    root = resolver.root(name, wanted)
    image = resolver.resolve(request.reference, wanted)
    found = wanted if is_index(root.media_type) else _platform_of(image)
    if request.platform is not None and not is_index(root.media_type) and found != wanted:
        raise NotFound(
            f"{request.reference} is for {found}, not for {wanted}",
            hint=f"run it as it is: --platform {found}",
        )
    stack = _unpack(images, image, found, cancel)
    if name.digest is None:
        engine.keep(name, root)
    return image, found, stack


def _unpack(
    images: ImageSource, image: BaseImage, platform: Platform, cancel: CancelToken
) -> LayerStack:
    shown = make_vertex(ImageOp.of(image, platform), name=f"pull {image.reference}")
    stack = LayerStack.of_image(image.diff_ids, image.blobs, image.source)
    images.ensure_unpacked(stack, shown, cancel)
    return stack


def _platform_of(image: BaseImage) -> Platform:
    told = image.config.platform
    return normalize(
        replace(
            told,
            os=told.os or "linux",
            architecture=told.architecture or host().architecture,
            # Nobody asks for those of a program that is to run here.
            os_version="",
            os_features=(),
        )
    )


def run_image(
    engine: Engine,
    request: RunRequest,
    *,
    on_output: Callable[[int, bytes], None],
    sink: Sink = ignore_events,
    cancel: CancelToken,
    talk: Talk = SILENCE,
) -> int:
    """Run the image's program, or another one in it; return its exit status.

    With a terminal all output is its first stream's. Raises NotFound, RegistryError, NoEmulator, InputError.
    """
    image, platform, stack = _pulled(engine, request, sink, cancel)
    if not engine.is_native(platform):
        engine.emulators(engine.images(sink), cancel).require(platform)
    with ExitStack() as resources:
        directory = engine.store.temporary("run")
        directory.mkdir()
        draft = resources.enter_context(engine.snapshotter.prepare(stack.snapshots))
        step = _step(engine, request, image.config.run, platform, draft.root, directory)
        if talk.terminal is not None and not any(each.startswith("TERM=") for each in step.env):
            step = replace(step, env=(*step.env, "TERM=xterm"))
        ended = engine.programs.get().runtime.run(
            step, directory=directory, on_output=on_output, cancel=cancel, talk=talk
        )
        if ended.refused:
            raise ProgramRefused(ended.refused, _reason(step, platform, draft.root))
    return ended.status


def _reason(step: Step, platform: Platform, root: Path) -> str:
    """Return what the program's file tells of why it couldn't be started, and what to do about it."""
    path = next((each[5:] for each in step.env if each.startswith("PATH=")), "")
    where = Surroundings(root=root, platform=platform, cwd=step.cwd, path=path)
    return str(find_trouble(step.argv[0], where) or "")


def _step(
    engine: Engine,
    request: RunRequest,
    config: RunConfig,
    platform: Platform,
    root: Path,
    directory: Path,
) -> Step:
    path = f"PATH={DEFAULT_PATH}"
    entries = (path, *config.env, *request.env)
    process = Process(
        argv=tuple(_command(request, config)),
        user=request.user or config.user,
        cwd=request.workdir or config.working_dir or "/",
        env=dict(entry.partition("=")[::2] for entry in entries),
        hostname=request.hostname or _HOSTNAME,
        network=request.network,
    )
    emulation = engine.programs.get().foreign.prepare(platform)
    return make_step(
        process,
        root,
        _mounts(request, directory, process.hostname),
        user_namespace=emulation.user_namespace,
    )


def _command(request: RunRequest, config: RunConfig) -> list[str]:
    """Return the argument vector as docker run puts it together."""
    if request.entrypoint is not None:
        head = [request.entrypoint] if request.entrypoint else []
        argv = [*head, *request.arguments]
    else:
        rest = request.arguments or config.cmd
        argv = [*config.entrypoint, *rest]
    if not argv:
        raise InputError(
            f"{request.reference} says of no program what to run",
            hint="name one behind the image",
        )
    return argv


def _mounts(request: RunRequest, directory: Path, hostname: str) -> list[Mount]:
    mounts = network_mounts(directory, hostname, resolv_conf=host_resolv_conf(), read_only=False)
    for source, target, read_only in request.binds:
        if not os.path.lexists(source):
            raise NotFound(f"{source}: no such file or directory to mount")
        mounts.append(Bind(source=os.path.realpath(source), target=target, read_only=read_only))
    return mounts
