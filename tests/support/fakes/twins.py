"""Base images with native variants whose twins are made of nothing: a store, and what fetches for it."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from pathlib import Path

from polyarch.digest import DiffID, sha256
from polyarch.graph.op import ExecOp, ImageOp
from polyarch.graph.vertex import Vertex, make_vertex
from polyarch.oci.descriptor import Descriptor
from polyarch.platforms import Platform, linux
from polyarch.progress import CancelToken
from polyarch.record import replace
from polyarch.snapshot.native import NativeSnapshotter
from polyarch.snapshot.stack import LayerStack
from polyarch.store.store import Store
from polyarch.twins.places import GIVEN_UP
from polyarch.twins.sets import NoTwins, Twin, TwinSet
from polyarch.worker.emulated.sets import TwinSets
from polyarch.worker.tree import SourceTree
from polyarch.worker.work import Work

__all__ = ["AMD64", "ARM64", "PROGRAM", "Images", "Sets", "image", "run_on", "work_of"]

ARM64 = linux("arm64")
AMD64 = linux("amd64")
PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(300)
"""The foreign /bin/sh of every image."""


def image(name: str, platform: Platform = ARM64, size: int = 1000) -> ImageOp:
    """Return an image of one layer, of `size` bytes."""
    digest = sha256(f"{name} {platform}".encode())
    return ImageOp(
        reference=name,
        digest=digest,
        platform=platform,
        diff_ids=(DiffID(sha256(f"diff {digest}".encode())),),
        blobs=(
            Descriptor(media_type="layer", digest=sha256(f"blob {digest}".encode()), size=size),
        ),
        source=name,
        root=sha256(name.encode()),
    )


def run_on(*bases: ImageOp, command: str = "make", security: str = "sandbox") -> Vertex:
    """Return a step of the platform of the first image, with the others as sources of mounts."""
    op = ExecOp(
        argv=(command,),
        env=(),
        cwd="/",
        user="",
        platform=bases[0].platform,
        security="insecure" if security == "insecure" else "sandbox",
    )
    return make_vertex(op, tuple(map(make_vertex, bases)), name=f"RUN {command}")


def work_of(vertex: Vertex, stack: LayerStack, cancel: CancelToken) -> Work:
    """Return the work of a step that reads none of its sources."""
    return Work(vertex=vertex, stack=stack, sources=(), reading=_read, cancel=cancel)


def _read(
    result: LayerStack | SourceTree, vertex: Vertex, cancel: CancelToken
) -> AbstractContextManager[SourceTree]:
    raise AssertionError(result, vertex, cancel)  # nothing is read


class Images:
    """Images of which `natives` have a variant for amd64; counts what is fetched and who is asked."""

    def __init__(self, root: Path, *natives: ImageOp) -> None:
        self.store = Store(root)
        self.snapshotter = NativeSnapshotter(self.store)
        self.fetched: list[str] = []
        self.asked: list[str] = []
        self.failure: Exception | None = None
        self._natives = {each.reference: each for each in natives}

    def sibling(self, op: ImageOp, platform: Platform, _cancel: CancelToken) -> ImageOp | None:
        self.asked.append(op.reference)
        if self.failure is not None:
            raise self.failure
        assert platform == AMD64
        return self._natives.get(op.reference)

    def missing_bytes(self, stack: LayerStack) -> int:
        return sum(
            layer.blob.size
            for layer in stack.layers
            if layer.blob is not None and not self.snapshotter.exists(layer.snapshot)
        )

    def ensure_unpacked(self, stack: LayerStack, _vertex: Vertex, cancel: CancelToken) -> None:
        cancel.check()
        for layer in stack.layers:
            if not self.snapshotter.exists(layer.snapshot):
                self.fetched.append(layer.sources[0])
                self.snapshotter.unpack(layer.snapshot, lambda path: (path / "there").touch())


class Sets(TwinSets):
    """Sets of which each has one program, unless there is a `reason`."""

    def __init__(self, images: Images, reason: str = "", *, rings: str = "abc") -> None:
        self.made = 0
        self.reason = reason
        super().__init__(
            images, rings=rings, make=self._make_set, load=self._load_set, machine=AMD64
        )

    def wait(self) -> None:
        """Wait for what is made beside the steps."""
        for thread in self._beside.values():
            thread.join()

    def renumber(self, number: int) -> None:
        """Give all sets that are known one number."""
        self._known = {
            snapshot: found and replace(found, twins=replace(found.twins, number=number))
            for snapshot, found in self._known.items()
        }

    def _make_set(
        self, foreign: Path, native: Path, platform: Platform, directory: Path, number: int
    ) -> TwinSet | NoTwins:
        self.made += 1
        assert (foreign / "there").exists()
        assert (native / "there").exists()
        if self.reason:
            return NoTwins(reason=self.reason)
        directory.mkdir()
        (directory / GIVEN_UP).touch()
        (directory / "platform").write_text(str(platform))
        found = self._load_set(directory)
        assert found is not None
        assert found.number == number
        return found

    def _load_set(self, directory: Path) -> TwinSet | None:
        if not directory.exists():
            return None
        twin = Twin(
            path="/bin/sh",
            header=PROGRAM[:256],
            digest=hashlib.sha256(PROGRAM).hexdigest(),
            ring="a",
            starts="/bin/sh",
        )
        return TwinSet(
            number=int(directory.name), directory=directory, platform=ARM64, twins=(twin,)
        )
