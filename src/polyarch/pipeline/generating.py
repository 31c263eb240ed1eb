"""Lists of software that an image makes: `--sbom=generator=IMAGE`, by the protocol that BuildKit has for it.

The image's program runs as one more step of the build, on this machine's platform, over the result (read-only), and what it
is asked to list beside that. What it writes are statements. Source: BuildKit's documentation of SBOM scanners,
`frontend/attestations/sbom`, `exporter/attestation/unbundle.go`.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from polyarch import __version__
from polyarch.attest.options import SbomOptions
from polyarch.attest.sbom.tree import Tree
from polyarch.attest.statement import SPDX, Predicate
from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.dockerfile.lowering.lowering import BaseImages
from polyarch.errors import InputError
from polyarch.golang.json import read_json
from polyarch.graph.graph import GraphMaker
from polyarch.graph.op import BindMount, ExecMount, ExecOp, FileOp, ImageOp, MkdirAction, TmpfsMount
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import DEFAULT_PATH, BaseImage
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import host, normalize
from polyarch.record import frozen, replace

__all__ = ["Generator", "read_lists"]

_CORE = "/run/src/core/sbom"
_EXTRAS = "/run/src/extras"
_OUT = "/run/out"
_PREFIX = "BUILDKIT_SCAN_"
_LARGEST = 40 << 20
_HOSTNAME = "buildkitsandbox"


@frozen
class Generator:
    """The image that makes lists; its steps are made by `maker`, beside those of the build."""

    options: SbomOptions
    images: BaseImages
    maker: GraphMaker
    ignore_cache: bool = False

    def added(self, results: Sequence[Lowered]) -> list[Lowered]:
        """Return the results with the steps that list their software.

        Raises InvalidReference, NotFound, RegistryError; InputError for an image that starts nothing.
        """
        name = parse_reference(self.options.generator).canonical
        image = self.images.resolve(name, normalize(host()))
        run = image.config.run
        if not (*run.entrypoint, *run.cmd):
            raise InputError(
                f"scanner {name} does not have cmd",
                hint="name an image that lists software: its entrypoint is what is run",
            )
        return [replace(each, lister=self._step(each, image)) for each in results]

    def _step(self, result: Lowered, image: BaseImage) -> Vertex:
        platform = normalize(host())
        name = f"[{result.platform}] generating sbom using {self.options.generator}"
        root = self.maker.add(ImageOp.of(image, platform), name=f"[internal] {image.reference}")
        out = MkdirAction(path=_OUT, created=0)
        root = self.maker.add(FileOp(actions=(out,)), (root,), name=f"[internal] mkdir {_OUT}")
        extras = sorted(result.scanned.items())
        mounts: list[ExecMount] = [
            BindMount(target=_CORE, input=1),
            *(
                BindMount(target=f"{_EXTRAS}/sbom-{extra}", input=number)
                for number, (extra, _) in enumerate(extras, start=2)
            ),
            TmpfsMount(target="/tmp"),  # noqa: S108 - the step's own
        ]
        run = image.config.run
        op = ExecOp(
            argv=(*run.entrypoint, *run.cmd),
            env=tuple(self._environment(run.env, has_extras=bool(extras))),
            cwd=run.working_dir or "/",
            user="",
            platform=platform,
            hostname=_HOSTNAME,
            mounts=tuple(mounts),
        )
        inputs = (root, result.vertex, *(vertex for _, vertex in extras))
        return self.maker.add(op, inputs, name=name, ignore_cache=self.ignore_cache)

    def _environment(self, own: Sequence[str], *, has_extras: bool) -> Iterator[str]:
        if not any(each.startswith("PATH=") for each in own):
            yield f"PATH={DEFAULT_PATH}"
        yield from own
        yield f"{_PREFIX}DESTINATION={_OUT}/"
        yield f"{_PREFIX}SOURCE={_CORE}"
        if has_extras:
            yield f"{_PREFIX}SOURCE_EXTRAS={_EXTRAS}"
        for name, value in sorted(self.options.parameters.items()):
            yield f"{_PREFIX}{name}={value}"


def read_lists(root: Path, generator: str) -> tuple[Predicate, ...]:
    """Return the lists that a generator has left in its root, that of the result first.

    Raises InputError for what is no statement about software.
    """
    tree = Tree(root=root)
    names = sorted(_names(root), key=lambda name: (name.partition(".")[0] != "sbom", name))
    return tuple(
        _predicate(tree.read(f"run/out/{name}", _LARGEST), name, generator) for name in names
    )


def _names(root: Path) -> Iterator[str]:
    """Give the names of files in the directory; what leads out of the root by a link isn't followed."""
    place = root
    with suppress(FileNotFoundError, NotADirectoryError):
        for part in ("run", "out"):
            place /= part
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                return
        yield from os.listdir(place)


def _predicate(data: bytes, name: str, generator: str) -> Predicate:
    trouble = InputError(
        f"the sbom generator {generator} wrote {posixpath.join(_OUT, name)}, which is no statement of type {SPDX}",
        hint="use another generator, or none: --sbom=true",
    )
    try:
        statement = read_json(data)
    except ValueError as error:
        raise trouble from error
    if not isinstance(statement, dict) or statement.get("predicateType") != SPDX:
        raise trouble
    content = statement.get("predicate")
    if not isinstance(content, dict):
        raise trouble
    return Predicate(type=SPDX, content=_signed_off(content), filename=name)


def _signed_off(document: dict[str, object]) -> dict[str, object]:
    """Return a document that says that it went through here, as BuildKit's do."""
    info = document.get("creationInfo")
    known = dict(info) if isinstance(info, dict) else {}
    creators = known.get("creators")
    made = [*(creators if isinstance(creators, list) else ()), f"Tool: polyarch-{__version__}"]
    return {**document, "creationInfo": {**known, "creators": made}}
